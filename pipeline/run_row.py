"""One run as a row: what every listing shows of it, and what `--json` prints of it. Made here only."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.evidence.ledger import OF_SWEEP
from pipeline.files import open_file
from pipeline.results.what import WhatRan
from pipeline.run import Run
from pipeline.run_record import UNREADABLE, Artifact, Json, RunRecord, Source
from pipeline.rundir import RunDir

if TYPE_CHECKING:
    from pipeline.backtest.conventions import Conventions
    from pipeline.results.contract import Engine
    from pipeline.results.identity import Mark
    from pipeline.spec import RunSpec
    from pipeline.tracking.run_tracking import TrackingInfo

BULKY = ("packages", "modules", "inputs", "boundary")
DECLARED = "declared"
NAMED = ("data", "benchmark", "notebook")
ENDS = 4096  # bytes at the start and at the end of the equity that hold its first and its last label


@dataclass(frozen=True)
class Period:
    """The first and the last label of a result, else of the bars it was made from; ISO-8601 UTC text."""

    first: str
    last: str

    def __str__(self) -> str:
        return f"{_shown(self.first)} – {_shown(self.last)}"


@dataclass(frozen=True)
class Marks:
    """What was checked of a run, and what it says of itself; None where there is nothing to check.

    `signed` says that a signature lies there: `evidence verify` says whose it is, and whether it holds.
    """

    sealed: bool
    signed: bool
    look_ahead: str | None
    reconciled: Mark | None


@dataclass(frozen=True)
class DataInput:
    """Something that a run was made from: its name, where it came from, the SHA-256 of its bytes (None: unknown).

    `found` is declared, in the spec or by the notebook, or observed.
    """

    name: str
    uri: str
    sha256: str | None
    found: str


@dataclass(frozen=True)
class RunRow:
    """What is known of one run, without reading its tables; None is unknown.

    `report` is the path of its report, None without one; `conventions` are those it recorded, None without a record;
    `tracking` is None for a run that is not tracked, or that cannot be read; `tracking_pending` counts what has not
    reached MLflow yet. `bars_sha256` is the digest of the bars themselves, whatever file they were in. `sweep` is the
    run_id of the sweep that the run is a trial of. `config` is the spec as the run kept it, secrets masked.
    """

    record: RunRecord
    directory: str
    report: str | None
    manifest_sha256: str | None
    spec_sha256: str | None
    spec: RunSpec | None
    config: Mapping[str, Json]
    what: WhatRan
    period: Period | None
    bars_sha256: str | None
    stats: Mapping[str, float | int | None]
    marks: Marks
    sweep: str | None
    is_sweep: bool
    conventions: Conventions | None
    tracking: TrackingInfo | None
    tracking_pending: int

    @classmethod
    def of(cls, run: Run) -> RunRow:
        """Read the row of a run; one that cannot be read is a row with the status UNREADABLE, never an error."""
        readable = run.status != UNREADABLE
        data = run.data_facts
        reconciliation = None if run.result is None else run.result.reconciliation
        return cls(
            record=run.record,
            directory=str(run.dir.path),
            report=str(run.dir.report) if _is_file(run.dir.report) else None,
            manifest_sha256=run.manifest_digest,
            spec_sha256=run.spec_digest,
            spec=run.spec,
            config=run.config,
            what=run.what,
            period=_equity_period(run.dir) or (None if data is None else Period(data.spacing.first, data.spacing.last)),
            bars_sha256=None if data is None else data.bars_sha256,
            stats=run.stats,
            marks=Marks(
                sealed=run.manifest_digest is not None,
                signed=_is_file(run.dir.signature),
                look_ahead=run.look_ahead,
                reconciled=None if reconciliation is None else reconciliation.mark,
            ),
            sweep=_sweep_of(run.record.origin),
            is_sweep=run.is_sweep,
            conventions=run.conventions if _is_file(run.dir.conventions) else None,
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
    def name(self) -> str:
        """The run's name; empty when it is unknown."""
        return self.record.name

    @property
    def experiment(self) -> str | None:
        """The experiment that the run belongs to."""
        return None if self.spec is None else self.spec.run.experiment

    @property
    def tags(self) -> Mapping[str, str]:
        """The labels that the run was given."""
        return {} if self.spec is None else self.spec.run.tags

    @property
    def engine(self) -> Engine | None:
        """What made the result."""
        return self.what.engine

    @property
    def strategy(self) -> str | None:
        """Name of the strategy."""
        return self.what.strategy or None

    @property
    def family(self) -> str | None:
        """What the ledger counts the run's trials by."""
        return None if self.spec is None else self.spec.counted_as

    @property
    def symbols(self) -> tuple[str, ...]:
        """The instruments; empty when they are unknown."""
        return self.what.symbols

    @property
    def params(self) -> Mapping[str, Json]:
        """The params of the strategy, or of a notebook whose strategy is unknown."""
        return self.what.params

    @cached_property
    def inputs(self) -> tuple[DataInput, ...]:
        """What the run was made from: data, benchmark and notebook that its spec names, and what else it read."""
        return tuple(_inputs(self.record))

    @property
    def digests(self) -> Mapping[str, str | None]:
        """The SHA-256 of every input by its name."""
        return {item.name: item.sha256 for item in self.inputs}

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON values that `evidence list --json` prints: the record's fields and the row's own."""
        record = {name: value for name, value in self.record.to_dict().items() if name not in BULKY}
        return {
            **record,
            "directory": self.directory,
            "report": self.report,
            "manifest_sha256": self.manifest_sha256,
            "spec_sha256": self.spec_sha256,
            "config": dict(self.config),
            "what": asdict(self.what),
            "experiment": self.experiment,
            "tags": dict(self.tags),
            "family": self.family,
            "period": None if self.period is None else asdict(self.period),
            "bars_sha256": self.bars_sha256,
            "digests": dict(self.digests),
            "stats": dict(self.stats),
            "look_ahead": self.marks.look_ahead,
            "marks": asdict(self.marks),
            "sweep": self.sweep,
            "conventions": None if self.conventions is None else self.conventions.to_dict(),
            "tracking": None if self.tracking is None else self.tracking.to_dict(),
            "tracking_pending": self.tracking_pending,
        }


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
        url = None if row.tracking is None else row.tracking.run_url
        return cls(row, tuple((artifact, artifact_url(url, artifact.path)) for artifact in run.artifacts))

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON values that `evidence show --json` prints."""
        record = self.row.record.to_dict()
        artifacts: list[Json] = [{**asdict(artifact), "url": url} for artifact, url in self.artifacts]
        return {**self.row.to_dict(), **{name: record[name] for name in BULKY}, "artifacts": artifacts}


def _inputs(record: RunRecord) -> Iterator[DataInput]:
    sources: Mapping[str, Source | None] = {name: getattr(record, name) for name in NAMED}
    yield from (DataInput(name, item.uri, item.sha256, DECLARED) for name, item in sources.items() if item is not None)
    yield from (DataInput(item.input or item.uri, item.uri, item.sha256, item.found) for item in record.inputs)


def _sweep_of(origin: str) -> str | None:
    return next((origin.removeprefix(word) for word in OF_SWEEP if origin.startswith(word)), None)


def _equity_period(directory: RunDir) -> Period | None:
    """Read the first and the last label of the equity, without what is between them; None without any."""
    try:
        with open_file(directory.equity) as file:
            head = file.read(ENDS).split(b"\n")
            file.seek(max(0, file.seek(0, os.SEEK_END) - ENDS))
            tail = file.read().split(b"\n")
    except OSError:
        return None
    first, last = (_label(line) for line in (head[1] if len(head) > 1 else b"", tail[-2] if len(tail) > 1 else b""))
    return Period(first, last) if first and last else None


def _label(line: bytes) -> str | None:
    return _moment(line.partition(b",")[0].decode("utf-8", errors="replace"))


def _moment(text: object) -> str | None:
    """Return a time that is one; None for anything else."""
    try:
        return text if isinstance(text, str) and dt.datetime.fromisoformat(text) else None
    except ValueError:
        return None


def _shown(label: str) -> str:
    """Return a label for people: a day alone where it is midnight UTC."""
    day, _, time = label.replace("+00:00", "Z").partition("T")
    return day if time in ("", "00:00:00Z", "00:00:00") else f"{day} {time}"


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113 - a Path raises where the directory may not be read
