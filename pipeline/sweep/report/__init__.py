"""The report of a sweep: what was searched, what was found, and what the best of so many trials is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.sweep.report.page import SweepPage, build_sweep_page, open_sweep
    from pipeline.sweep.report.render import render_sweep, why_sweep_stale

_PAGE = ("SweepPage", "build_sweep_page", "open_sweep")
__all__ = ["SweepPage", "build_sweep_page", "open_sweep", "render_sweep", "why_sweep_stale"]


def __getattr__(name: str) -> Any:
    """Import what is asked for at its first use: a page needs no renderer."""
    if name not in __all__:
        raise AttributeError(name)
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{'page' if name in _PAGE else 'render'}"), name)
