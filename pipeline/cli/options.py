"""The arguments and options that several commands have, and the example that ends each help text."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import UsageError

LAST = "last"

RunId = Annotated[str, typer.Argument(metavar="RUN_ID", help="A run_id, the start of one, or `last`.")]
RunOrAll = Annotated[
    str | None, typer.Argument(metavar="RUN_ID", help="A run_id, the start of one, or `last`; default: `last`.")
]
Which = Annotated[str, typer.Argument(metavar="SWEEP", help="A sweep's name, its id, the start of it, or `last`.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
OutputFile = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it to this file instead.")
]
TrustFile = Annotated[
    Path | None, typer.Option("--trust", metavar="FILE", help="Allowed keys, instead of config/trusted_keys.toml.")
]
Tolerance = Annotated[
    float | None,
    typer.Option(
        metavar="REL", help="Let numbers differ by this much of the larger one; images are then not compared."
    ),
]
CORES = os.cpu_count() or 1
EACH_CORE = "one each core"


def example(command: str) -> str:
    """Return how a help text ends: with a command that can be typed as it stands."""
    return f"\b\nExample:\n  {command}"


def one_or_all(run_id: str | None, *, every: bool) -> str | None:
    """Return the run that is meant, `last` when none is named; None means all. Raises UsageError for both."""
    if run_id and every:
        raise UsageError("Give either a RUN_ID or --all.")
    return None if every else run_id or LAST


def sent_path(target: str) -> Path | None:
    """Return the bundle or directory that is meant; None when a run is named. Raises UsageError for no such file."""
    path = Path(target)
    if path.is_dir() and (os.sep in target or "/" in target or any(path.glob("bundle*.json"))):
        return path
    if not target.endswith(".zip"):
        return None
    if not path.is_file():
        raise UsageError(f"The bundle {path} does not exist.")
    return path
