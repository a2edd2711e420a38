"""One run as a row: what listings show of it, and what `--json` prints of it. Made here only."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.results.what import WhatRan
from pipeline.run import UNREADABLE, Artifact, Run, RunRecord

BULKY = ("packages", "modules", "inputs")


@dataclass(frozen=True)
class RunRow:
    """What is known of one run, without reading its tables.

    `report` is the path of its report, None without one; `conventions` are those it recorded, None without a record;
    `tracking` is None for a run that is not tracked, or that cannot be read; `tracking_pending` counts what has not
    reached MLflow yet.
    """

    record: RunRecord
    directory: str
    report: str | None
    manifest_sha256: str | None
    config: dict[str, Any]
    what: WhatRan
    stats: dict[str, float | int | None]
    look_ahead: str | None
    conventions: dict[str, Any] | None
    tracking: dict[str, Any] | None
    tracking_pending: int

    @classmethod
    def of(cls, run: Run) -> RunRow:
        """Read the row of a run; one that cannot be read is a row with the status UNREADABLE, never an error."""
        readable = run.status != UNREADABLE
        return cls(
            record=run.record,
            directory=str(run.dir.path),
            report=str(run.dir.report) if _is_file(run.dir.report) else None,
            manifest_sha256=run.manifest_digest,
            config=run.config,
            what=run.what,
            stats=run.stats,
            look_ahead=run.look_ahead,
            conventions=run.conventions.to_dict() if _is_file(run.dir.conventions) else None,
            tracking=run.tracking if readable else None,
            tracking_pending=run.pending if readable else 0,
        )

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.record.run_id

    @property
    def status(self) -> str:
        """RUNNING, FINISHED, FAILED, KILLED or UNREADABLE."""
        return self.record.status

    @property
    def strategy(self) -> str:
        """Name of the strategy; empty when it is unknown."""
        return self.what.strategy

    @property
    def symbol(self) -> str:
        """The instruments, for people; empty when they are unknown."""
        return self.what.symbol

    @property
    def params(self) -> dict[str, Any]:
        """The params of the strategy, or of a notebook whose strategy is unknown."""
        return dict(self.what.params)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON values that `evidence list --json` prints: the record's fields and the row's own."""
        values = asdict(self)
        record = values.pop("record")
        return {**{name: value for name, value in record.items() if name not in BULKY}, **values}


@dataclass(frozen=True)
class RunDetails:
    """All that `evidence show` prints of one run: its row, packages, modules, inputs, sealed files with URLs."""

    row: RunRow
    artifacts: tuple[tuple[Artifact, str | None], ...]

    @classmethod
    def of(cls, run: Run) -> RunDetails:
        """Read the details of a run."""
        from pipeline.tracking import artifact_url

        row = RunRow.of(run)
        url = (row.tracking or {}).get("run_url")
        return cls(row, tuple((artifact, artifact_url(url, artifact.path)) for artifact in run.artifacts))

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON values that `evidence show --json` prints."""
        bulky = {name: getattr(self.row.record, name) for name in BULKY}
        artifacts = [{**asdict(artifact), "url": url} for artifact, url in self.artifacts]
        return {**self.row.to_dict(), **bulky, "artifacts": artifacts}


def _is_file(path: os.PathLike[str]) -> bool:
    return os.path.isfile(path)  # noqa: PTH113 - a Path raises where the directory may not be read
