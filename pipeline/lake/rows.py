"""What one run is in the tables: rows made of its RunRow, in the order of the columns."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.backtest.catalogue import METRICS
from pipeline.files import number
from pipeline.lake.schema import TIMES, tables
from pipeline.lake.stored_row import to_json
from pipeline.listing.columns import COLUMNS
from pipeline.run_record import Artifact
from pipeline.run_row import RunRow

OF_RUNS = ("runs", "params", "metrics", "tags", "inputs", "artifacts", "records", "states")


@dataclass
class Rows:
    """Rows of the tables over runs, column by column, as they are gathered."""

    columns: dict[str, dict[str, list[Any]]] = field(default_factory=dict)

    def add(self, table: str, values: Mapping[str, Any]) -> None:
        """Add a row; a column without a value is unknown."""
        names = tables()[table].columns
        found = self.columns.setdefault(table, {name: [] for name in names})
        for name in names:
            found[name].append(values.get(name))

    def add_run(self, row: RunRow, artifacts: Sequence[Artifact], states: tuple[str, str]) -> None:
        """Add a run: its row in every table; `states` are those of its row and of its curves."""
        self.add("runs", run_values(row))
        for table, found in _of_run(row, artifacts):
            self.add(table, {"run_id": row.run_id, **found})
        self.add("records", {"run_id": row.run_id, "record": to_json(row), "state": states[0]})
        self.add("states", {"run_id": row.run_id, "state": states[0], "curves": states[1]})


def run_values(row: RunRow) -> dict[str, Any]:
    """Return what a run is in the table `runs`."""
    values = {name: _plain(column.of(row), is_time=name in TIMES) for name, column in COLUMNS.items()}
    metrics = {name: number(row.stats.get(name)) for name in METRICS}
    return {**values, "symbols": list(row.symbols), "is_sweep": row.is_sweep, "gone": False, **metrics}


def _of_run(row: RunRow, artifacts: Sequence[Artifact]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, value in row.params.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield "params", {"name": name, "value": text, "number": number(value)}
    for name, value in row.stats.items():
        yield "metrics", {"name": name, "value": number(value)}
    for name, text in row.tags.items():
        yield "tags", {"name": name, "value": text}
    for item in row.inputs:
        yield "inputs", {"name": item.name, "uri": item.uri, "sha256": item.sha256, "found": item.found}
    for file in artifacts:
        yield "artifacts", {"path": file.path, "size": file.size, "sha256": file.sha256}


def _plain(value: Any, *, is_time: bool) -> Any:
    if is_time:
        return instant(value)
    return ", ".join(value) if isinstance(value, tuple) else value


def instant(value: Any) -> dt.datetime | None:
    """Return a time as UTC without a zone, as the tables have it; None for what is no time."""
    try:
        found = dt.datetime.fromisoformat(value)
        return found.astimezone(dt.UTC).replace(tzinfo=None) if found.tzinfo else found
    except (ValueError, TypeError, OverflowError):
        return None
