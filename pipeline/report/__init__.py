"""The report of one run: one source (`reports/backtest_report.qmd`), two renderers, one self-contained HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.report.page import Page


def open_page(run_id: str = "last", *, results: str | Path | None = None) -> Page:
    """Open the page of a run of this project; plain `quarto render` starts here.

    `run_id` is an id, the start of one, or `last`; `results` another directory of runs. Raises RunNotFoundError.
    """
    from dataclasses import replace

    from pipeline.report.page import build_page
    from pipeline.run import load_run
    from pipeline.settings import Settings

    settings = Settings.load()
    if results is not None:
        settings = replace(settings, results=Path(results).resolve())
    return build_page(load_run(str(run_id), settings=settings), linked=False)
