"""Where in a file a row stands, for messages: made into text only when somebody reads it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    import numpy as np

SHOWN = 3


class Places(Sequence[str]):
    """The places of rows, "line 2" or "row 1": a kind and one number a row."""

    def __init__(self, kind: str, numbers: np.ndarray) -> None:
        self.kind = kind
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> Places: ...
    def __getitem__(self, at: int | slice) -> str | Places:
        """Return the place of one row, or the places of some."""
        return Places(self.kind, self.numbers[at]) if isinstance(at, slice) else f"{self.kind} {self.numbers[at]}"

    def where(self, kept: np.ndarray) -> Places:
        """Return the places of the rows that a mask keeps."""
        return Places(self.kind, self.numbers[kept])


def rows_of(mask: Iterable[bool], places: Sequence[str]) -> str:
    """Return the first rows that a mask marks, and how many more: "line 2, line 3 and 5 more"."""
    hits = [at for at, hit in enumerate(mask) if hit]
    shown = ", ".join(places[at] if at < len(places) else f"row {at + 1}" for at in hits[:SHOWN])
    return shown + (f" and {len(hits) - SHOWN:,} more" if len(hits) > SHOWN else "")
