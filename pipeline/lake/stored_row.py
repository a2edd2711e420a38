"""A run's row as the lake keeps it: what `evidence list --json` prints, and what a row needs besides."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from pipeline.run_record import GitCommit, ReadInput, RunError, RunRecord, Source
from pipeline.run_row import NAMED, Marks, Period, RunRow

if TYPE_CHECKING:
    from pipeline.backtest.conventions import Conventions
    from pipeline.spec import RunSpec


def to_json(row: RunRow) -> str:
    """Return a row as JSON; its packages, modules and boundary are left out, as in a listing."""
    own = {"inputs": [asdict(item) for item in row.record.inputs], "is_sweep": row.is_sweep}
    return json.dumps({**row.to_dict(), **own}, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class StoredRow(RunRow):
    """A row out of the lake. What takes time to make of it (its spec, conventions, tracking) is made when asked for."""

    _kept: Mapping[str, Any]

    @cached_property
    def spec(self) -> RunSpec | None:
        """What the run was asked to do."""
        from pipeline.spec import recorded_spec

        return recorded_spec(self.config)

    @cached_property
    def conventions(self) -> Conventions | None:
        """The conventions that the run recorded."""
        from pipeline.backtest.conventions import Conventions

        values = self._kept["conventions"]
        return None if values is None else Conventions.from_dict(values)

    @property
    def tags(self) -> Mapping[str, str]:
        """The labels that the run was given."""
        tags: Mapping[str, str] = self._kept["tags"]
        return tags

    @property
    def experiment(self) -> str | None:
        """The experiment that the run belongs to."""
        return cast("str | None", self._kept["experiment"])

    @property
    def family(self) -> str | None:
        """What the ledger counts the run's trials by."""
        return cast("str | None", self._kept["family"])


PLAIN = (
    "directory", "report", "manifest_sha256", "spec_sha256", "config", "bars_sha256", "stats", "sweep", "is_sweep",
    "tracking_pending",
)  # fmt: skip


def from_json(text: str) -> RunRow:
    """Return the row that was kept; raises ValueError for what is none."""
    values = json.loads(text)
    try:
        row = object.__new__(StoredRow)  # what `spec` and `conventions` need is made later
        row.__dict__.update({name: values[name] for name in PLAIN}, _kept=values, **_parts(values))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the record of a run has another form: {error}") from None
    return row


def _parts(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a row that have classes of their own."""
    from pipeline.results.contract import Engine
    from pipeline.results.what import WhatRan
    from pipeline.tracking.run_tracking import TrackingInfo

    what, tracking = dict(values["what"]), values["tracking"]
    what |= {"symbols": tuple(what["symbols"]), "engine": None if what["engine"] is None else Engine(**what["engine"])}
    return {
        "record": _record(values),
        "what": WhatRan(**what),
        "period": None if values["period"] is None else Period(**values["period"]),
        "marks": Marks(**values["marks"]),
        "tracking": None if tracking is None else TrackingInfo(**tracking),
    }


def _record(values: Mapping[str, Any]) -> RunRecord:
    plain = ("run_id", "status", "name", "started_at", "finished_at", "origin", "stages", "seed", "python", "platform")
    sources: dict[str, Any] = {name: None if values[name] is None else Source(**values[name]) for name in NAMED}
    return RunRecord(
        **{name: values[name] for name in (*plain, "locks", "overrides")},
        **sources,
        error=None if values["error"] is None else RunError(**values["error"]),
        warnings=tuple(values["warnings"]),
        git=None if values["git"] is None else GitCommit(**values["git"]),
        inputs=tuple(ReadInput(**item) for item in values["inputs"]),
    )
