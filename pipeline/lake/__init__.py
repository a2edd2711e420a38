"""The lake: SQL over all runs and over market data. A view, which `results/` makes again; see docs/lake.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.lake.connection import Lake
    from pipeline.settings import Settings

__all__ = ["connect"]


def connect(settings: Settings | None = None) -> Lake:
    """Open the lake of a project to ask it in SQL, as `connect().sql("SELECT …").df()`; nothing can be written.

    Without `settings` the project is found as everywhere. Raises LakeError without DuckDB, or without a lake.
    """
    from pipeline.lake.connection import Lake
    from pipeline.settings import Settings

    return Lake.open(settings or Settings.load())
