"""The tracking of one orchestrated run: its owner opens it, delivers the journal, and finishes it.

tracking = open_tracking(spec.tracking, run=run, spec=spec, settings=settings, tags={…}, datasets=[…])
environ |= tracking.environment()          # the notebook's raw `mlflow.log_metric` lands in the same run
…                                          # the notebook logs through kernel_tracker(run)
tracking.before_seal()                     # reads back what was logged past the journal
tracking.finish("FINISHED", artifacts=[…], tags={…}, description="…")
tracking.attach_report(Path("report/index.html"), {…})
"""

from __future__ import annotations

import getpass
import os
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import EvidenceError, TrackingError, TrackingNotInstalledError
from pipeline.layout import JOURNAL_FILES, MANIFEST
from pipeline.masking import masked
from pipeline.rundir import RunDir
from pipeline.settings import Settings
from pipeline.spec import RunSpec
from pipeline.spec_sections import TrackingSection
from pipeline.telemetry import step
from pipeline.tracking import limits
from pipeline.tracking.delivery import deliver
from pipeline.tracking.fluent import VARIABLE
from pipeline.tracking.in_kernel import JOURNAL_VARIABLE, MODE_VARIABLE, RUN_ID_VARIABLE, STORE_VARIABLE
from pipeline.tracking.journal import JournalWriter
from pipeline.tracking.journal_tracker import JournalTracker
from pipeline.tracking.outbox import Home, State
from pipeline.tracking.protocol import Mode, Status, TrackingWarning
from pipeline.tracking.readback import StandIn, read_back
from pipeline.tracking.store import RUN_ID_TAG, Store
from pipeline.tracking.uri import HTTP, LOCAL_UI, absolute_uri, run_url, scheme

NOTE_TAG = "mlflow.note.content"
VIEWER_LIMIT = 2_000_000
PAUSE_AFTER_FAILURE = 30.0
KEPT_FILES = f"debug/{JOURNAL_FILES}/"


@dataclass(frozen=True)
class TrackingInfo:
    """Where a run is tracked. `status`: tracked, pending (not created in the store yet) or off."""

    tracking_uri: str | None = None
    experiment_name: str | None = None
    experiment_id: str | None = None
    mlflow_run_id: str | None = None
    run_url: str | None = None
    artifact_uri: str | None = None
    status: str = "off"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)


def open_tracking(
    section: TrackingSection,
    *,
    run: RunDir,
    spec: RunSpec,
    settings: Settings,
    tags: Mapping[str, str] | None = None,
    datasets: Sequence[Mapping[str, Any]] = (),
) -> RunTracking:
    """Open the tracking of a new run and create its MLflow run.

    In mode `warn` a store that fails leaves the run pending and a sentence in `.warnings`; in mode `strict`
    it raises TrackingError. `tags` and `datasets` (of `datasets.file_dataset`) are on the MLflow run from its start.
    """
    uri = absolute_uri(section.uri or settings.default_tracking_uri, settings.root)
    ui_url = section.ui_url or (None if scheme(uri) in HTTP else LOCAL_UI)
    tracking = RunTracking(Home.of_run(run), uri, section.mode, spec.run.experiment, ui_url)
    if section.mode != "off":
        tracking.start(spec, tags or {}, datasets, artifact_root=settings.root / "mlartifacts")
    return tracking


def reopen_tracking(section: TrackingSection, *, run: RunDir, spec: RunSpec, settings: Settings) -> RunTracking:
    """Take up the tracking of a run whose process ended before it was sealed; raises as open_tracking does."""
    uri = absolute_uri(section.uri or settings.default_tracking_uri, settings.root)
    ui_url = section.ui_url or (None if scheme(uri) in HTTP else LOCAL_UI)
    tracking = RunTracking(Home.of_run(run), uri, section.mode, spec.run.experiment, ui_url)
    if section.mode != "off":
        tracking.resume(artifact_root=settings.root / "mlartifacts")
    return tracking


class RunTracking:
    """The one writer of a run's tracking. Its methods raise TrackingError in mode `strict` only."""

    def __init__(self, home: Home, uri: str, mode: Mode, experiment: str, ui_url: str | None) -> None:
        self.home = home
        self.uri = uri
        self.mode: Mode = mode
        self.experiment = experiment
        self.ui_url = ui_url
        self.warnings: list[str] = []
        self._state = State()
        self._store: Store | None = None
        self._late = JournalWriter(home.late)
        self._exact = True
        self._failed_at: float | None = None
        self._stand_in: StandIn | None = None
        self._executed = False

    @property
    def info(self) -> TrackingInfo:
        """Where the run is tracked now."""
        if self.mode == "off":
            return TrackingInfo()
        state = self._state
        url = None
        if state.experiment_id and state.mlflow_run_id:
            url = run_url(self.uri, self.ui_url, state.experiment_id, state.mlflow_run_id)
        status = "tracked" if state.mlflow_run_id else "pending"
        place = masked(self.uri)
        return TrackingInfo(
            place, self.experiment, state.experiment_id, state.mlflow_run_id, url, state.artifact_uri, status
        )

    @property
    def pending(self) -> int:
        """How many journal entries have not reached the store."""
        return 0 if self.mode == "off" else self.home.pending()

    def start(
        self, spec: RunSpec, tags: Mapping[str, str], datasets: Sequence[Mapping[str, Any]], *, artifact_root: Path
    ) -> None:
        """Begin the journal with the spec as params and the data as inputs, then create the MLflow run."""
        with self._guarded():
            start = {
                "name": spec.run.name,
                "experiment": self.experiment,
                "uri": masked(self.uri),
                "ui_url": self.ui_url,
                "tags": {**_source_tags(spec), **spec.run.tags, **tags, RUN_ID_TAG: self.home.run_id},
            }
            JournalWriter(self.home.journal).append("start", start)
            self._record_given(spec, datasets)
            self._store = Store(self.uri, artifact_root=artifact_root)
        self.deliver()

    def resume(self, *, artifact_root: Path) -> None:
        """Go on with a journal that was begun by another process."""
        self._exact = False
        with self._guarded():
            self._state = self.home.load()
            self._store = Store(self.uri, artifact_root=artifact_root)
        self.deliver()

    def _record_given(self, spec: RunSpec, datasets: Sequence[Mapping[str, Any]]) -> None:
        tracker = JournalTracker(self.home, mode=self.mode)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TrackingWarning)  # they go to the run's record instead
            tracker.start_run()
            tracker.log_params(_params(spec))
            if datasets:
                tracker.record("inputs", {"items": [dict(item) for item in datasets]})
        self.warnings += tracker.warnings

    def environment(self) -> dict[str, str]:
        """Return the environment variables the notebook's kernel needs.

        With them raw MLflow calls land in this run; while the store is away, in a stand-in which `deliver`
        empties into the journal.
        """
        self._executed = True
        values = {MODE_VARIABLE: self.mode, RUN_ID_VARIABLE: self._state.mlflow_run_id or "", VARIABLE: ""}
        if self.mode == "off":
            return values
        values[JOURNAL_VARIABLE] = str(self.home.journal)
        uri, run_id, experiment_id = self.uri, self._state.mlflow_run_id, self._state.experiment_id
        if run_id is None and self._store is not None:
            with self._guarded():
                self._stand_in = StandIn.create(self.home)
                stand_in = self._stand_in
                uri, run_id, experiment_id = stand_in.store.uri, stand_in.mlflow_run_id, stand_in.experiment_id
        if run_id and experiment_id:
            values |= {"MLFLOW_TRACKING_URI": uri, STORE_VARIABLE: uri}
            values |= {VARIABLE: run_id, "MLFLOW_EXPERIMENT_ID": experiment_id}
            values |= {name: os.environ.get(name, value) for name, value in limits.variables(uri, retries=2).items()}
        return values

    def deliver(self) -> bool:
        """Send what the journal holds to the store; returns whether everything arrived.

        Before the run is sealed, what the notebook logged past the journal is read back into it first.
        """
        self._read_back()
        if self._store is None or self._resting():
            return False
        with self._guarded(), step("delivery"):
            exact, self._exact = self._exact, False
            known = self._state.rejected
            self._state = deliver(self.home, self._store, exact=exact)
            self._exact = True
            self._failed_at = None
            self.warnings += [*self._store.notes, *self._state.rejected[len(known) :]]
            self._store.notes.clear()
            return True
        return False

    def record_inputs(self, datasets: Sequence[Mapping[str, Any]]) -> None:
        """Record what the run was seen to read, before the seal; it is delivered with the rest."""
        if datasets and not self._sealed:
            tracker = JournalTracker(self.home, mode=self.mode)
            with self._guarded():
                tracker.record("inputs", {"items": [dict(item) for item in datasets]})
            self.warnings += tracker.warnings

    def before_seal(self) -> None:
        """Take what the notebook logged past the journal into it.

        The rest is delivered with the end of the run; in mode `strict` now, since a store that does not take it is to
        be seen in the seal.
        """
        if self.mode == "strict":
            self.deliver()
        else:
            self._read_back()

    def _read_back(self) -> None:
        if self._sealed or not self._executed:
            return
        with self._guarded():
            left_out: list[str] = []
            if self._stand_in is not None:
                lost = self._stand_in.take(self.home)
                self._stand_in = None
                if lost:
                    self.warnings.append(f"The store was away, and these could not be kept for it: {', '.join(lost)}.")
            elif self._store is not None and self._state.mlflow_run_id and not self._resting():
                left_out = read_back(self.home, self._store, self._state.mlflow_run_id)
            if left_out:
                names = ", ".join(left_out)
                self.warnings.append(f"Too large for a copy in the run directory, so in MLflow only: {names}.")

    @property
    def _sealed(self) -> bool:
        return (self.home.base / MANIFEST).exists()

    def finish(
        self,
        status: Status,
        *,
        artifacts: Iterable[Path] = (),
        tags: Mapping[str, str] | None = None,
        description: str | None = None,
        end_time: int | None = None,
    ) -> None:
        """Record files (paths relative to the run directory), tags, description and end, then deliver."""
        labels = dict(tags or {})
        if description is not None:
            labels[NOTE_TAG] = description
        self._log_late(artifacts, labels)
        if self.mode != "off":
            with self._guarded():
                self._late.append("end", {"status": status}, at=end_time)
            self.deliver()

    def attach_report(self, path: Path, tags: Mapping[str, str] | None = None) -> None:
        """Record the report (a path relative to the run directory) and tags on the MLflow run."""
        self._log_late([path], dict(tags or {}))
        if self.mode != "off":
            with self._guarded():
                size = (self.home.base / path).stat().st_size
                if size > VIEWER_LIMIT:
                    text = f"The report has {size / 1e6:.1f} MB; MLflow's artifact viewer may not show more than 2 MB."
                    self.warnings.append(text)
            self.deliver()

    def _log_late(self, artifacts: Iterable[Path], tags: dict[str, str]) -> None:
        if self.mode == "off":
            return
        with self._guarded():
            if tags:
                self._late.append("tags", {"items": {name: str(value) for name, value in tags.items()}})
            for relative in (path.as_posix() for path in artifacts):
                if relative.startswith(KEPT_FILES):
                    continue  # recorded under its own name already
                self._late.append("artifact", {"path": relative, "file": relative})

    def _resting(self) -> bool:
        """Return whether the store failed so recently that waiting for it again would hold up the run."""
        return self._failed_at is not None and time.monotonic() - self._failed_at < PAUSE_AFTER_FAILURE

    def _guarded(self) -> _Guard:
        return _Guard(self)

    def failed(self, error: Exception) -> None:
        """Take note of a failure: a warning, or TrackingError in mode `strict`."""
        if not isinstance(error, TrackingNotInstalledError):
            self._failed_at = time.monotonic()
        if self.mode == "strict":
            if isinstance(error, TrackingError):
                raise error
            raise TrackingError(str(error)) from error
        hint = "" if isinstance(error, TrackingNotInstalledError) else " The run goes on."
        text = f"{error}{hint} `evidence sync {self.home.run_id}` delivers later what is tracked now."
        if text not in self.warnings:
            self.warnings.append(text)


class _Guard:
    """Keeps a tracking failure from the run in mode `warn`."""

    def __init__(self, tracking: RunTracking) -> None:
        self._tracking = tracking

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, (EvidenceError, OSError)):
            self._tracking.failed(error)
            return True
        return False


def _params(spec: RunSpec) -> dict[str, Any]:
    values = {name: section for name, section in spec.to_dict().items() if section is not None}
    if values["tracking"]["uri"]:
        values["tracking"]["uri"] = masked(values["tracking"]["uri"])
    return values


def _source_tags(spec: RunSpec) -> dict[str, str]:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "unknown"
    source = {} if spec.run.notebook is None else {"mlflow.source.name": spec.run.notebook}
    return {"mlflow.user": user, **source, "mlflow.source.type": "NOTEBOOK"}
