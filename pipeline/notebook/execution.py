"""What happened while a notebook was executed, as its client saw it."""

from __future__ import annotations

import signal
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from pipeline.telemetry import Step, step

LISTED = 10  # cells named one by one
LONGEST_ERROR = 500  # characters in the log


@dataclass(frozen=True)
class CellError:
    """The error that ended a notebook: the cell's index in what is executed, and the kernel's reply."""

    index: int
    ename: str
    evalue: str
    traceback: str

    @property
    def short(self) -> str:
        """Return the error in one line."""
        return f"{self.ename}: {self.evalue}"[:LONGEST_ERROR]


@dataclass
class Execution:
    """Collected by the engine: notes for the run's record; the error that ended the notebook; the cell that ended it
    on purpose, and with which call; what became of a kernel that died. `places` are those of the cells in the input
    notebook, None for one that was added.
    """

    notes: list[str] = field(default_factory=list)
    error: CellError | None = None
    left_at: int | None = None
    left_by: str = ""
    kernel_exit: int | None = None
    places: tuple[int | None, ...] = ()

    def cell(self, index: int) -> AbstractContextManager[Step]:
        """Take note of a cell: its place in the input notebook; that of the cell that sets the parameters is -1."""
        place = self.places[index] if index < len(self.places) else None
        return step("cell", index=-1 if place is None else place)


def in_cell(place: int | None) -> str:
    """Return where something happened, for a sentence; `place` is that in the input notebook."""
    return "before the first cell" if place is None else f"in cell {place} of the notebook, counted from 0"


def listed_cells(places: list[int]) -> str:
    """Return cells for a sentence, the first ten by their number."""
    named = ", ".join(str(place) for place in places[:LISTED])
    more = len(places) - LISTED
    return f"cell{'s' if len(places) > 1 else ''} {named}{f' and {more} more' if more > 0 else ''}"


def how_it_ended(code: int | None) -> str:
    """Return how a kernel's process ended, for a sentence."""
    if code is None:
        return "It may have run out of memory or been killed."
    if code >= 0:
        return f"Its process ended by itself, with exit code {code}."
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"Its process was ended by {name}. It may have run out of memory, crashed or been killed."
