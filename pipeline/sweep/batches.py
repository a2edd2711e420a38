"""The batches of a sweep in progress: what was proposed, and what became of each trial, safe against a kill.

results/.running/<sweep_id>/batches/
  000000.json   the trials proposed, written before the first of them starts
  000000.jsonl  one line for each that has ended, as they end
  000000.f8     their simple returns, one row of float64 for each such line whose trial has returns
  000000.told   empty; the ledger knows what came of them
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np

from pipeline.digest import sha256_file
from pipeline.files import append, write_json
from pipeline.sweep.trial import Proposal, Trial


class Batch:
    """One batch on disk."""

    def __init__(self, directory: Path, number: int) -> None:
        self.number = number
        self._plan = directory / f"{number:06}.json"
        self._ended = directory / f"{number:06}.jsonl"
        self._rows = directory / f"{number:06}.f8"
        self._told = directory / f"{number:06}.told"

    @property
    def planned(self) -> bool:
        """Say whether its trials were proposed."""
        return self._plan.is_file()

    @property
    def digest(self) -> str:
        """SHA-256 of the list of proposed trials."""
        return sha256_file(self._plan)

    @property
    def entered(self) -> bool:
        """Say whether the ledger was told what came of its trials."""
        return self._told.is_file()

    def mark_entered(self) -> None:
        """Write down that it was."""
        self._told.touch()

    def plan(self, proposals: list[Proposal]) -> None:
        """Write down what was proposed."""
        write_json(self._plan, [asdict(proposal) for proposal in proposals])

    def proposals(self) -> list[Proposal]:
        """Return what was proposed."""
        return [Proposal(**values) for values in json.loads(self._plan.read_bytes())]

    def record(self, trial: Trial, returns: np.ndarray | None) -> None:
        """Add a trial that has ended; raises StorageError. The returns go first: a line is there only with its row."""
        if returns is not None:
            append(self._rows, np.ascontiguousarray(returns, dtype="<f8").tobytes())
        line = json.dumps({**trial.to_dict(), "periods": None if returns is None else len(returns)}, allow_nan=False)
        append(self._ended, f"{line}\n".encode())

    def ended(self) -> list[tuple[Trial, np.ndarray | None]]:
        """Return the trials that have ended, in the order of their numbers; a torn last line is cut off."""
        return sorted(self._read(), key=lambda pair: pair[0].number)

    def _read(self) -> Iterator[tuple[Trial, np.ndarray | None]]:
        data = self._ended.read_bytes() if self._ended.is_file() else b""
        whole = data[: data.rfind(b"\n") + 1]
        rows = np.fromfile(self._rows, dtype="<f8", count=-1) if self._rows.is_file() else np.empty(0)
        at = 0
        for line in whole.splitlines():
            values = json.loads(line)
            periods = values.pop("periods")
            row = None if periods is None else rows[at : at + periods]
            at += periods or 0
            yield Trial.from_dict(values), row
        for path, size in ((self._ended, len(whole)), (self._rows, at * 8)):
            if path.is_file() and path.stat().st_size != size:  # what a killed process left behind the last whole line
                with path.open("r+b") as file:
                    file.truncate(size)


def batches(directory: Path) -> Iterator[Batch]:
    """Yield the batches that were proposed, in order."""
    number = 0
    while (batch := Batch(directory, number)).planned:
        yield batch
        number += 1
