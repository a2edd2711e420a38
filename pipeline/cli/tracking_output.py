"""How tracking looks on the terminal: what was delivered, and what waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.text import Text

from pipeline.cli.console import console
from pipeline.cli.failure import error_facts
from pipeline.cli.plain import one_line, say_json

if TYPE_CHECKING:
    from pipeline.tracking import SyncResult


def print_synced(results: Sequence[SyncResult], *, as_json: bool) -> None:
    """Print what came of delivering to MLflow, one line a run."""
    if as_json:
        say_json([{**asdict(item), "error": error_facts("TrackingError", item.error)} for item in results])
        return
    out = console()
    for result in results:
        mark = ("failed", "red") if result.error else ("ok", "green")
        facts = f"  delivered {result.delivered}, pending {result.pending}  mlflow run {result.mlflow_run_id or '–'}"
        out.print(Text.assemble(result.run_id, "  ", mark, facts))
        for rejected in result.rejected:
            out.print(f"  refused by the store: {one_line(rejected)}")
        if result.error:
            out.print(f"  {one_line(result.error)}")
    if not results:
        out.print("Nothing is pending.")
