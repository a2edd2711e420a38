"""Runs that a notebook started itself (`nested=True`), in the journal of its run.

    {"kind": "child", "data": {"run": "<key>", "kind": "metrics", "data": {…}}, …}

`key` names the child for ever: it is the tag evidence.child_id of the MLflow run. `kind` and `data` are those of an
ordinary entry; the first of a child is its start: name, time, tags, the parent (PARENT_IS_RUN, another key, or none)
and, when MLflow made the run there and then, its MLflow id.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pipeline.tracking.journal import JournalEntry

CHILD = "child"
CHILD_TAG = "evidence.child_id"
PARENT_TAG = "mlflow.parentRunId"
PARENT_IS_RUN = "run"


def child_entry(key: str, kind: str, data: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return (kind, data) of the journal entry that says `kind` and `data` about a child."""
    return CHILD, {"run": key, "kind": kind, "data": data}


def children_of(entries: Iterable[JournalEntry]) -> dict[str, list[JournalEntry]]:
    """Return the entries of each child as ordinary entries, children in the order they appeared."""
    found: dict[str, list[JournalEntry]] = {}
    for entry in entries:
        if entry.kind == CHILD:
            own = JournalEntry(entry.seq, entry.time, entry.data["kind"], entry.data["data"])
            found.setdefault(entry.data["run"], []).append(own)
    return found


def start_of(entries: Iterable[JournalEntry]) -> dict[str, Any]:
    """Return the start of a child; of one whose start was damaged, what can be said of it."""
    missing = {"name": "child", "time": 0, "tags": {}, "parent": PARENT_IS_RUN}
    return next(({**missing, "time": entry.time, **entry.data} for entry in entries if entry.kind == "start"), missing)
