"""What a run directory has of a result beside its equity and its record, as far as it can be read."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.files import read_json
from pipeline.layout import Layout
from pipeline.objects import read_object
from pipeline.results.contract import Fold

if TYPE_CHECKING:
    import pandas as pd

PLOTLY = ".plotly.json"


class Kept:
    """Tables, folds, and the tables and figures of the user's own; what is damaged counts as missing."""

    def __init__(self, files: Layout) -> None:
        self.files = files

    def part(self, name: str) -> pd.DataFrame | None:
        """Return one of the tables that a result may have (Layout.part); None where there is none."""
        import pandas as pd

        path = self.files.part(name)
        try:
            return pd.read_parquet(path) if path.is_file() else None
        except (OSError, ValueError):
            return None

    @cached_property
    def folds(self) -> tuple[Fold, ...]:
        """The train and test windows in order."""
        try:
            found = read_json(self.files.folds) if self.files.folds.is_file() else {}
            return tuple(Fold(**fold) for fold in found.get("folds", ()))
        except (OSError, ValueError, TypeError, AttributeError):
            return ()

    @cached_property
    def tables(self) -> dict[str, Path]:
        """The files of the tables of the user's own, by name."""
        return _named(self.files.tables, ".csv")

    @cached_property
    def figures(self) -> dict[str, Path]:
        """The files of the interactive figures of the user's own, by name."""
        return _named(self.files.plots, PLOTLY)

    def table(self, name: str) -> pd.DataFrame:
        """Read a table of the user's own as text; empty when it cannot be read."""
        import pandas as pd

        try:
            return pd.read_csv(self.tables[name], dtype=str, keep_default_na=False)
        except (OSError, ValueError):
            return pd.DataFrame()

    def figure(self, name: str) -> dict[str, Any]:
        """Read a figure in plotly's schema; empty when it cannot be read."""
        try:
            return read_object(self.figures[name])
        except (OSError, ValueError):
            return {}


def _named(folder: Path, ending: str) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    found = sorted(path for path in folder.iterdir() if path.name.endswith(ending))
    return {path.name.removesuffix(ending): path for path in found if path.is_file() and not path.is_symlink()}
