"""Make the lake again of nothing but the results: python scripts/build_lake_from_results.py [--json].

The same as `evidence lake ingest --rebuild`, with its options and exit codes.
"""

from __future__ import annotations

import sys

from pipeline.cli import main as evidence


def main() -> None:
    """Hand all arguments to `evidence lake ingest --rebuild`; ends the process with its exit code."""
    sys.argv = ["evidence", "lake", "ingest", "--rebuild", *sys.argv[1:]]
    evidence()


if __name__ == "__main__":
    main()
