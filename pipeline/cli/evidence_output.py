"""How evidence looks on the terminal: what was verified, what the ledger adopted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.text import Text

from pipeline.cli.console import console
from pipeline.cli.plain import one_line, say, say_json

if TYPE_CHECKING:
    from pipeline.evidence.problem import Verification


def print_verifications(verifications: Sequence[Verification], *, as_json: bool) -> None:
    """Print one line a run, and one a problem or note."""
    if as_json:
        say_json([{**asdict(item), "ok": item.ok, "verdict": item.verdict} for item in verifications])
        return
    out = console()
    for verification in verifications:
        colour = {"NOT OK": "red", "consistent": "yellow"}.get(verification.verdict, "green")
        mark = (verification.verdict, colour)
        digest = f"manifest sha256:{verification.manifest_sha256}" if verification.manifest_sha256 else ""
        what = "entries" if verification.run_id.endswith(".jsonl") else "files"
        out.print(Text.assemble(verification.run_id, "  ", mark, f"  {verification.files} {what}  {digest}"))
        for problem in verification.problems:
            out.print(f"  {one_line(str(problem))}")
        for note in verification.notes:
            out.print(Text(f"  note: {one_line(note)}", style="dim"))
    if not verifications:
        out.print("There are no runs.")
    elif len(verifications) > 1:
        broken = sum(not verification.ok for verification in verifications)
        out.print(
            f"{len(verifications)} verified, {broken} NOT OK" if broken else f"{len(verifications)} verified, all ok"
        )


def print_adopted(adopted: dict[str, bool], *, as_json: bool) -> None:
    """Print which runs the ledger adopted, and which it knew."""
    if as_json:
        say_json([{"run_id": run_id, "adopted": new} for run_id, new in adopted.items()])
        return
    for run_id in (run_id for run_id, new in adopted.items() if new):
        say(f"{run_id}  adopted")
    say(f"{sum(adopted.values())} adopted, {len(adopted) - sum(adopted.values())} in the ledger already")
