"""The command `evidence`: parse, call one function, print. The only package that prints."""

import sys
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command line; the console script `evidence`. Ctrl-C ends it from its first moment on without a word."""
    try:
        from pipeline.cli.edge import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)
