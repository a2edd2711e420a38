"""Start, or join, the run of a notebook: under `evidence run` the one that executes it, by hand one of its own."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

from pipeline.artifacts import check_artifacts
from pipeline.card import show_card
from pipeline.errors import EvidenceError, SigningWarning, SpecError, as_evidence_error
from pipeline.files import read_json, write_json
from pipeline.notebook import inside
from pipeline.notebook.by_hand import Session, this_session
from pipeline.run import Run
from pipeline.rundir import RunDir
from pipeline.session import NotebookRun
from pipeline.settings import Settings
from pipeline.spec import RunSpec

if TYPE_CHECKING:
    from pipeline.inputs.watch import Watch
    from pipeline.open_run import OpenRun
    from pipeline.tracking.run_tracking import RunTracking

ORIGIN = "interactive"


def start_run(
    run_id: str | None = None,
    *,
    seed: int | None = None,
    data: Mapping[str, Any] | None = None,
    strategy: Mapping[str, Any] | None = None,
    backtest: Mapping[str, Any] | None = None,
    benchmark: Mapping[str, Any] | None = None,
    name: str | None = None,
    tracking: Mapping[str, Any] | None = None,
    settings: Settings | None = None,
) -> NotebookRun:
    """Start, or join, the run of this notebook.

    Under `evidence run` the notebook joins the run that executes it, whether it passes on the `run_id` it is given
    or none; the seed and the sections must then say what the run spec says. Opened by hand a new run is started from
    the sections (the seed is 0 unless given), and `finish()` seals it; that no key signs it where the trust file names
    some is a SigningWarning. Raises SpecError, RunExistsError, DataError.
    """
    if InteractiveRun.current is not None:
        InteractiveRun.current.leave_mlflow()
    settings = settings or Settings.load()
    sections: dict[str, Any] = {"data": data, "strategy": strategy, "backtest": backtest, "benchmark": benchmark}
    given = {key: dict(value) for key, value in sections.items() if value is not None}
    executing = os.environ.get(inside.RUN_ID)
    if executing and run_id in (None, executing):
        return _join(RunDir(settings.results, executing), given, seed, settings)
    session = this_session()
    file = None if session.file is None else settings.name_of(session.file)
    called = name or (None if session.file is None else session.file.stem)
    given["run"] = {"seed": seed or 0, "notebook": file, **({"name": called} if called else {})}
    given["tracking"] = dict(tracking or {})
    return _start_by_hand(RunSpec.from_mapping(given, where="the notebook"), session, run_id, settings)


class InteractiveRun(NotebookRun):
    """A run started by hand, without orchestration: `finish()` seals it.

    Raw MLflow calls lead to the run started last, until it is finished.
    """

    current: ClassVar[InteractiveRun | None] = None

    def __init__(self, opened: OpenRun, tracking: RunTracking, session: Session) -> None:
        from pipeline.inputs import doors, watch
        from pipeline.inputs.network import host_of
        from pipeline.tracking.in_kernel import kernel_tracker
        from pipeline.tracking.uri import store_files

        environment = tracking.environment()
        self._environment_before = {name: os.environ.get(name) for name in environment}
        os.environ.update(environment)
        InteractiveRun.current = self
        super().__init__(opened.dir, opened.spec, opened.settings, kernel_tracker(opened.dir))
        self._opened = opened
        self._tracking = tracking
        self._session = session
        doors.open_doors()
        store = tracking.info.tracking_uri
        apart = (*store_files(store), *(() if session.file is None else (session.file,)))
        self._watch = watch.start(opened.places(host_of(store), apart))

    def _watches(self) -> Sequence[Watch]:
        return (self._watch,)

    def finish(self) -> None:
        """Check the artifacts, seal the run directory, end the tracked run; a second call is refused.

        When something is wrong the run is sealed as FAILED, and the error is raised: what comes next is another run.
        What could not be tracked is a TrackingWarning.
        """
        self._require_open()
        error: EvidenceError | None = None
        try:
            check_artifacts(self.dir)
            self._opened.check_inputs()
        except Exception as failure:  # noqa: BLE001 - whatever it is, the run is sealed and says so
            error = as_evidence_error(failure, "while the artifacts were checked")
        error = self._close(error)
        if error is not None:
            raise error
        show_card(Run(self.dir))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish; after an exception, which goes on upwards, seal the run as FAILED with it."""
        if error is None:
            self.finish()
        elif isinstance(error, Exception) and not self.dir.manifest.is_file():
            self._close(as_evidence_error(error, "in the notebook"))

    def _close(self, error: EvidenceError | None) -> EvidenceError | None:
        """Seal the run as FINISHED, or FAILED; return the error its seal carries, or tracking's own in strict mode."""
        from pipeline.after_seal import end_tracking
        from pipeline.sealing import close_run
        from pipeline.tracking.of_run import read_datasets
        from pipeline.tracking.protocol import TrackingWarning

        try:
            self._gather()
            self._tracking.record_inputs(read_datasets(self._opened))
            self._tracking.before_seal()
        except Exception as failure:  # noqa: BLE001 - whatever it is, the run is sealed and says so
            error = error or as_evidence_error(failure, "before the seal")
        error = close_run(self._opened, error)
        untold = end_tracking(self._opened, self._tracking, "FAILED" if error else "FINISHED")
        self._opened.end()
        for text in self._tracking.warnings:
            warnings.warn(text, TrackingWarning, stacklevel=3)
        return error or untold

    def _gather(self) -> None:
        """Record the code and the modules that were used, and what speaks against the run; end its MLflow calls."""
        from pipeline.evidence.modules import changed_since_import, modules_of_this_process
        from pipeline.inputs.observed import write_observed
        from pipeline.inputs.watch import stop
        from pipeline.sealing import keep_code, notebook_warnings

        self.leave_mlflow()
        write_observed(self.dir.inputs, stop(self._watch))
        keep_code(self._opened, self._session)
        write_json(self.dir.modules, modules_of_this_process())
        self._opened.warnings += notebook_warnings(self.dir)
        if changed := changed_since_import():
            text = f"Edited since this kernel imported them: {', '.join(changed)}. The run used the earlier source."
            self._opened.warnings.append(f"{text} Restart the kernel to use the new one.")

    def leave_mlflow(self) -> None:
        """Lead no more raw MLflow calls into this run: it is over, or another one begins."""
        from pipeline.tracking.fluent import VARIABLE, end_active_runs

        if InteractiveRun.current is not self:
            return
        InteractiveRun.current = None
        end_active_runs(os.environ.get(VARIABLE, ""))
        for name, value in self._environment_before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _join(directory: RunDir, given: dict[str, Any], seed: int | None, settings: Settings) -> NotebookRun:
    from pipeline.tracking.in_kernel import kernel_tracker

    values = read_json(directory.config_json)
    spec = RunSpec.from_mapping(values, where=str(directory.config_json))
    if seed is not None and seed != spec.run.seed:
        raise SpecError(
            f"The notebook passes seed = {seed}, the run spec says {spec.run.seed}. Set run.seed in the spec, so that "
            "the evidence shows what was run."
        )
    for section, wanted in given.items():
        asked = RunSpec.from_mapping({**values, section: wanted}, where="the notebook")
        if getattr(spec, section) is None:
            spec = asked
        elif getattr(asked, section) != getattr(spec, section):
            raise SpecError(
                f"The notebook passes {section} = {wanted}, the run spec says {values[section]}. "
                "Set values in the spec, or with -p, so that the evidence shows what was run."
            )
    return NotebookRun(directory, spec, settings, kernel_tracker(directory))


def _start_by_hand(spec: RunSpec, session: Session, run_id: str | None, settings: Settings) -> InteractiveRun:
    from pipeline.backtest.from_spec import with_strategy_params
    from pipeline.backtest.strategies import is_meant
    from pipeline.evidence.keys import check_signer, load_signer
    from pipeline.evidence.modules import watch_imports
    from pipeline.lake.market_source import with_lake_data
    from pipeline.opening import data_inputs, open_run
    from pipeline.sealing import close_run
    from pipeline.tracking.of_run import track_run

    watch_imports()
    if spec.strategy is not None and is_meant(spec.strategy.name):
        spec = with_strategy_params(spec, settings.root)
    spec = with_lake_data(spec, settings)
    inputs = data_inputs(spec, settings)
    signer = load_signer()
    if unsigned := check_signer(signer, settings):
        warnings.warn(unsigned, SigningWarning, stacklevel=3)
    opened = open_run(spec, settings, origin=ORIGIN, inputs=inputs, run_id=run_id, signer=signer)
    try:
        tracking = track_run(opened)
    except Exception as failure:
        close_run(opened, as_evidence_error(failure, "while tracking was opened"))
        raise
    inside.seed_everything(spec.run.seed)
    return InteractiveRun(opened, tracking, session)
