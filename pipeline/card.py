"""What a notebook shows when its run by hand is sealed: how it ended, where it is, how to check it."""

from __future__ import annotations

import html
import sys
from typing import TYPE_CHECKING, Any

from pipeline.robustness_record import LOOK_AHEAD

if TYPE_CHECKING:
    from pipeline.run import Run


def show_card(run: Run) -> None:
    """Show the card of a sealed run in a notebook; in a plain script nothing is printed."""
    ipython: Any = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if shell is not None:
        ipython.display.display(Card(run))


class Card:
    """The card of a sealed run, as HTML for notebooks and as text for consoles."""

    def __init__(self, run: Run) -> None:
        self.rows = list(_rows(run))

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th><td>{_linked(value)}</td></tr>"
            for name, value in self.rows
        )
        return f"<table>{cells}</table>"

    def __repr__(self) -> str:
        width = max(len(name) for name, _ in self.rows)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in self.rows)


def _rows(run: Run) -> list[tuple[str, str]]:
    marks = [run.status, "SIGNED" if run.dir.signature.is_file() else "NOT SIGNED"]
    if run.look_ahead:
        marks.append(LOOK_AHEAD[run.look_ahead].upper())
    if run.result is not None and run.result.reconciliation is not None:
        marks.append(run.result.reconciliation.mark)
    rows = [("run", run.run_id), ("marks", " · ".join(marks)), ("directory", str(run.dir.path))]
    if run.tracking is not None and run.tracking.run_url:
        rows.append(("MLflow run", run.tracking.run_url))
    rows += [("check it", f"evidence verify {run.run_id}"), ("its report", f"evidence render {run.run_id}")]
    return rows


def _linked(value: str) -> str:
    shown = html.escape(value)
    return f'<a href="{shown}">{shown}</a>' if value.startswith(("http://", "https://")) else shown
