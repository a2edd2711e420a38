"""How reports look on the terminal: where they are, and what made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from rich.text import Text

from pipeline.cli.console import console
from pipeline.cli.failure import error_facts
from pipeline.cli.plain import one_line, say, say_json

if TYPE_CHECKING:
    from pipeline.report.bulk import Rendered


def print_rendered(rendered: Sequence[Rendered], *, as_json: bool) -> None:
    """Print where the reports are and what made them, or why there is none."""
    if as_json:
        say_json([_rendered_facts(item) for item in rendered])
        return
    from pipeline.evidence.verify import verify_run

    errors = console(stderr=True)
    for item in rendered:
        if item.record is None:
            errors.print(Text(f"Error: {item.run.run_id}: {item.error}", style="red"))
            continue
        say(f"{item.run.dir.report}\nrendered by {item.record.version}")
        for name, file in item.record.files.items():
            say(f"{item.run.dir.report.with_name(name)}\nmade by {file['made_by']}")
        if item.record.note:
            errors.print(Text(f"Warning: {item.record.note}", style="yellow"))
        if item.run.manifest_digest and (problems := verify_run(item.run.dir, report=False).problems):
            text = f"{item.run.run_id} does not match its seal, and its report says so: {problems[0]}"
            errors.print(Text(f"Warning: {one_line(text)}", style="yellow"))
    if not rendered:
        say("No report is stale.")


def _rendered_facts(item: Rendered) -> dict[str, Any]:
    from pipeline.report.record import RenderRecord

    record: dict[str, Any] = dict.fromkeys(field.name for field in fields(RenderRecord))
    record |= {} if item.record is None else asdict(item.record)
    report = None if item.record is None else str(item.run.dir.report)
    return {**record, "run_id": item.run.run_id, "report": report, "error": error_facts("RenderError", item.error)}
