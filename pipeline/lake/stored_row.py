"""A run's row as the lake keeps it: what `evidence list --json` prints, and what a row needs besides."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pipeline.run_record import GitCommit, ReadInput, RunError, RunRecord, Source
from pipeline.run_row import NAMED, Marks, Period, RunRow

OWN = ("inputs", "is_sweep")  # beside what to_dict gives


def to_json(row: RunRow) -> str:
    """Return a row as JSON; its packages, modules and boundary are left out, as in a listing."""
    own = {"inputs": [asdict(item) for item in row.record.inputs], "is_sweep": row.is_sweep}
    return json.dumps({**row.to_dict(), **own}, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def from_json(text: str) -> RunRow:
    """Return the row that was kept; raises ValueError for what is none."""
    try:
        return _row(json.loads(text))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the record of a run has another form: {error}") from None


def _row(values: Mapping[str, Any]) -> RunRow:
    from pipeline.results.contract import Engine
    from pipeline.results.what import WhatRan
    from pipeline.spec import recorded_spec

    what = dict(values["what"])
    engine = what["engine"]
    what |= {"symbols": tuple(what["symbols"]), "engine": None if engine is None else Engine(**engine)}
    return RunRow(
        record=_record(values),
        directory=values["directory"],
        report=values["report"],
        manifest_sha256=values["manifest_sha256"],
        spec_sha256=values["spec_sha256"],
        spec=recorded_spec(values["config"]),
        config=values["config"],
        what=WhatRan(**what),
        period=None if values["period"] is None else Period(**values["period"]),
        bars_sha256=values["bars_sha256"],
        stats=values["stats"],
        marks=Marks(**values["marks"]),
        sweep=values["sweep"],
        is_sweep=values["is_sweep"],
        conventions=_conventions(values["conventions"]),
        tracking=_tracking(values["tracking"]),
        tracking_pending=values["tracking_pending"],
    )


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


def _conventions(values: Any) -> Any:
    from pipeline.backtest.conventions import Conventions

    return None if values is None else Conventions.from_dict(values)


def _tracking(values: Any) -> Any:
    from pipeline.tracking.session import TrackingInfo

    return None if values is None else TrackingInfo(**values)
