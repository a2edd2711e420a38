"""What a stretch of journal comes to, ready to be sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pipeline.tracking.journal import JournalEntry
from pipeline.tracking.values import MAX_TAG, shorten

SKIPPED_TAG = "evidence.skipped_metrics"
Point = tuple[str, float, int, int]  # name, value, timestamp in ms, step


@dataclass
class Load:
    """One value for each param and tag, all points, all datasets, all files, the end."""

    params: dict[str, str] = field(default_factory=dict)
    points: dict[Point, None] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    datasets: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)  # by name and digest
    files: dict[str, str] = field(default_factory=dict)  # path in the store -> path below the home's base
    end: tuple[str, int] | None = None

    def add(self, entry: JournalEntry, mlflow_run_id: str | None) -> None:
        """Add one entry; what came from this very MLflow run needs no sending."""
        if mlflow_run_id is not None and entry.data.get("from") == mlflow_run_id:
            return
        if entry.kind == "params":
            for name, value in entry.data["items"].items():
                self.params.setdefault(name, value)
        elif entry.kind == "metrics":
            self.points.update(dict.fromkeys(points_of(entry)))
        elif entry.kind == "tags":
            self.tags.update(entry.data["items"])
        elif entry.kind == "skipped":
            self._skipped(entry.data["items"])
        elif entry.kind == "inputs":
            self._given(entry.data["items"])
        elif entry.kind == "artifact":
            self.files[entry.data["path"]] = entry.data["file"]
        elif entry.kind == "end":
            self.end = (entry.data["status"], entry.data.get("time", entry.time))

    def _given(self, items: list[dict[str, Any]]) -> None:
        self.datasets = {(item["name"], item["digest"]): item for item in items} | self.datasets

    def _skipped(self, items: dict[str, str]) -> None:
        told = ", ".join(f"{name} = {value}" for name, value in items.items())
        text = f"{self.tags[SKIPPED_TAG]}, {told}" if SKIPPED_TAG in self.tags else told
        self.tags[SKIPPED_TAG] = text if len(text) <= MAX_TAG else shorten(text, MAX_TAG, "debug/tracking.jsonl")


def points_of(entry: JournalEntry) -> list[Point]:
    """Return the points of a `metrics` entry; without a step it is 0, as in MLflow."""
    rows = entry.data["items"]
    step = entry.data.get("step") or 0
    if isinstance(rows, dict):
        return [(name, float(value), entry.time, step) for name, value in rows.items()]
    return [(name, float(value), int(time), int(at)) for name, value, time, at in rows]


def load_of(entries: Iterable[JournalEntry], mlflow_run_id: str | None = None) -> Load:
    """Return what `entries` come to."""
    load = Load()
    for entry in entries:
        load.add(entry, mlflow_run_id)
    return load
