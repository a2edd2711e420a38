"""Remove old runs: python scripts/cleanup_artifacts.py --keep-last 200 --max-age 30d [--dry-run …].

The same as `evidence prune`, with its options and exit codes; without any, the policy of config/settings.toml. Uses the
project's .venv when the Python that was called does not have the package.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INTERPRETERS = (ROOT / ".venv" / "bin" / "python", ROOT / ".venv" / "Scripts" / "python.exe")


def main() -> None:
    """Hand all arguments to `evidence prune`; ends the process with its exit code."""
    if importlib.util.find_spec("pipeline") is None:
        own = next((path for path in INTERPRETERS if path.exists()), None)
        if own is None or Path(sys.prefix) == own.parent.parent:
            sys.exit(f"evidence-chain is not installed. Run `make demo` in {ROOT} once, or pip install evidence-chain.")
        os.execv(own, [str(own), *sys.argv])
    from pipeline.cli import main as evidence

    sys.argv = ["evidence", "prune", *sys.argv[1:]]
    evidence()


if __name__ == "__main__":
    main()
