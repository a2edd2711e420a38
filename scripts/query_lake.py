"""Ask the lake: python scripts/query_lake.py --sql "SELECT COUNT(*) AS n FROM runs" [--format csv --output n.csv …].

The same as `evidence lake query`, with its options and exit codes.
"""

from __future__ import annotations

import sys

from pipeline.cli import main as evidence


def main() -> None:
    """Hand all arguments to `evidence lake query`; what follows `--sql` is the query. Ends the process."""
    words = sys.argv[1:]
    if "--sql" in words:
        words.remove("--sql")
    sys.argv = ["evidence", "lake", "query", *words]
    evidence()


if __name__ == "__main__":
    main()
