"""The report of one run: one source (`reports/backtest_report.qmd`), two renderers, one self-contained HTML file.

    open_page      what a cell of the report asks for its numbers, tables and figures
    render_run     render the report of a run into `results/<run_id>/report/`
    choose_renderer, RenderRecord

Importing this package imports none of its modules; the first use of a name does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.report.page import Page, build_page, open_page
    from pipeline.report.record import RenderRecord
    from pipeline.report.render import render_run
    from pipeline.report.renderer import Renderer
    from pipeline.report.renderers import choose_renderer

__all__ = ["Page", "RenderRecord", "Renderer", "build_page", "choose_renderer", "open_page", "render_run"]

_HOMES = {
    "Page": "page",
    "build_page": "page",
    "open_page": "page",
    "RenderRecord": "record",
    "render_run": "render",
    "Renderer": "renderer",
    "choose_renderer": "renderers",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module at first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
