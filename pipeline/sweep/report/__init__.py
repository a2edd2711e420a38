"""The report of a sweep: what was searched, what was found, and what the best of so many trials is worth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.sweep.report.page import SweepPage


def open_sweep(run_id: str = "last", *, results: str | Path | None = None) -> SweepPage:
    """Open the page of a sweep of this project; plain `quarto render` starts here.

    `run_id` is an id, the start of one, a sweep's name, or `last`; `results` another directory of runs. Raises
    RunNotFoundError.
    """
    from dataclasses import replace

    from pipeline.settings import Settings
    from pipeline.sweep.report.page import build_sweep_page
    from pipeline.sweep.stored import load_sweep

    settings = Settings.load()
    if results is not None:
        settings = replace(settings, results=Path(results).resolve())
    return build_sweep_page(load_sweep(str(run_id), settings=settings).run, linked=False)
