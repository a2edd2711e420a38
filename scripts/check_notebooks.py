"""Check that notebooks hold no outputs: python scripts/check_notebooks.py [NOTEBOOK …]; default: all below notebooks/.

Outputs in a committed notebook hide what changed, and may hold data that was not meant to be shared. Exit code 1
names the notebooks; `--clear` removes outputs and execution counts instead.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: list[str]) -> int:
    """Check or clear the notebooks; return 1 when one held outputs and was not cleared."""
    if any(argument.startswith("-") and argument != "--clear" for argument in arguments):
        print(__doc__)
        return 0 if arguments in (["-h"], ["--help"]) else 2
    clear = "--clear" in arguments
    named = [Path(argument) for argument in arguments if argument != "--clear"]
    used = [path for path in named or sorted((ROOT / "notebooks").rglob("*.ipynb")) if _clean(path, write=clear)]
    for path in used:
        print(f"{path}: {'cleared' if clear else 'holds outputs: python scripts/check_notebooks.py --clear'}")
    return int(bool(used) and not clear)


def _clean(path: Path, *, write: bool) -> bool:
    """Return whether the notebook held outputs or execution counts; remove them when `write`."""
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    used = False
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code" and (cell["outputs"] or cell["execution_count"] is not None):
            used = True
            cell["outputs"], cell["execution_count"] = [], None
    if used and write:
        text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
        path.write_text(text, encoding="utf-8", newline="\n")
    return used


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
