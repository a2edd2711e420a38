"""Run a sweep: SweepSpec → run directory → search → statistics → best runs → manifest → tracking → report.

A sweep is a run of its own kind: it has a run_id, a directory in `results/`, a seal, an entry in the ledger, an
MLflow run that is the parent of its trials' runs, and a report.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from threading import Event
from typing import TYPE_CHECKING, Any

from pipeline.after_seal import add_report, end_tracking
from pipeline.backtest.spacing import examine_spacing
from pipeline.digest import sha256_file
from pipeline.errors import EvidenceError, SpecError, UsageError, as_evidence_error
from pipeline.evidence.keys import load_signer
from pipeline.evidence.ledger import SEALS
from pipeline.evidence.ledger_check import check_ledger
from pipeline.evidence.manifest import SWEEP as BUILD_TYPE
from pipeline.evidence.modules import changed_since_import, modules_of_this_process, watch_imports
from pipeline.evidence.recording import record_seal
from pipeline.files import read_json, write_json
from pipeline.lake.market_source import with_lake_data
from pipeline.open_run import OpenRun, Progress, silent
from pipeline.opening import data_inputs, reopen_run
from pipeline.report.trials import count_trials
from pipeline.run import Run
from pipeline.rundir import RunDir
from pipeline.runner import plan_run
from pipeline.running import write_state
from pipeline.sealing import close_run
from pipeline.settings import Settings
from pipeline.sweep.artifacts import param_importances, returns_table, write_artifacts
from pipeline.sweep.best import run_best_trials
from pipeline.sweep.evaluate import Work, bars_of, conventions_of, read_bars
from pipeline.sweep.executor import Executor
from pipeline.sweep.forward import ForwardSearch
from pipeline.sweep.judge import sweep_statistics
from pipeline.sweep.objectives import directions
from pipeline.sweep.of_notebook import conventions_of_runs, returns_of_runs
from pipeline.sweep.opening import ORIGIN, find_interrupted, open_or_resume
from pipeline.sweep.repeats import leading
from pipeline.sweep.search import OnTrial, Search
from pipeline.sweep.space import SearchSpace, search_space
from pipeline.sweep.spec import SweepSpec
from pipeline.sweep.statistics import SweepStatistics
from pipeline.sweep.study import KeptStudy, Proposer, open_storage, study_name
from pipeline.sweep.trial import Trial
from pipeline.tracking.of_run import track_run
from pipeline.tracking.run_tracking import RunTracking, reopen_tracking

if TYPE_CHECKING:
    from pipeline.evidence.signer import Signer
    from pipeline.report.record import RenderRecord
    from pipeline.tracking.protocol import Status


@dataclass(frozen=True)
class SweepOutcome:
    """How a sweep ended. `finished` is False when it was stopped: it is not sealed, and can be resumed."""

    run: Run
    finished: bool
    resumed: bool
    statistics: SweepStatistics | None
    trials: tuple[Trial, ...]
    best_runs: tuple[str, ...]
    error: EvidenceError | None
    warnings: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Judged:
    """What the trials are worth (None when that could not be said), they themselves, and the best ones' runs."""

    statistics: SweepStatistics | None
    trials: tuple[Trial, ...]
    best_runs: tuple[str, ...]


@dataclass(frozen=True)
class Hooks:
    """What a caller wants to hear: the stages as they begin, and each trial as it ends."""

    stage: Progress = silent
    trial: OnTrial = lambda _: None


def run_sweep(
    spec: SweepSpec,
    *,
    settings: Settings,
    executor: Executor,
    given: bytes | None = None,
    overrides: Mapping[str, Any] | None = None,
    resume: bool = True,
    stop: Event | None = None,
    hooks: Hooks | None = None,
    signing_key: Callable[[], Signer | None] = load_signer,
) -> SweepOutcome:
    """Search the space of a sweep and judge what was found.

    With `resume`, a sweep of the very same spec that was interrupted is taken up again. Setting `stop` ends the search
    after the trials that run; the sweep can then be resumed. Raises UsageError before anything is started, and
    what ended the search: a strategy or a worker that fails only fails its trials.
    """
    watch_imports()
    spec = replace(spec, base=with_lake_data(spec.base, settings))
    space = plan_sweep(spec, settings)
    hooks = hooks or Hooks()
    sealed = find_interrupted(spec, settings, sealed=True) if resume else None
    if sealed is not None:
        return _finish_sealed(sealed, spec, settings, overrides, hooks=hooks, signer=signing_key())
    run, resumed = open_or_resume(
        spec, settings, given, overrides, resume=resume, progress=hooks.stage, signer=signing_key()
    )
    run.warnings += space.remarks()
    stop = stop or Event()
    tracking = _track(run, resumed=resumed)
    try:
        parent = tracking.info.mlflow_run_id
        search = _search(spec, run, parent, executor, space=space, stop=stop, on_trial=hooks.trial)
        with run.stage("search"):
            finished = search.run()
        forward = ForwardSearch(search) if spec.validation.walk_forward_trials else None
        if finished and forward is not None:
            with run.stage("walk_forward"):
                finished = forward.run()
        if not finished:
            run.write_state("KILLED", next(reversed(run.stages)))
            return _stopped(run, search, resumed=resumed)
        return _conclude(run, tracking, search, forward, resumed=resumed)
    except BaseException:
        with contextlib.suppress(Exception):  # a full disk must not hide what was raised
            _write_state(run, "KILLED", next(reversed(run.stages), "open"))
        raise
    finally:
        run.end()


def plan_sweep(spec: SweepSpec, settings: Settings) -> SearchSpace:
    """Check all that can be checked before anything starts; raises UsageError."""
    missing = [name for name in ("optuna", "scipy") if find_spec(name) is None]
    if missing:
        raise UsageError(f"A sweep needs {missing[0]}, which is not installed: pip install 'evidence-chain[sweep]'.")
    directions(spec.sweep.objectives)
    spec.check_kept()
    space = search_space(spec, search=settings.root)
    params = next(space.grid() if spec.sweep.sampler == "grid" else space.some(), None)
    if params is None:
        raise SpecError("[space] holds no combination that keeps the rules. Make it and sweep.constraints agree.")
    one = spec.trial_spec(params, tags={}, chosen=False)
    if not spec.of_notebook:
        read_bars(one.bundled.data, settings.root)
    Proposer(spec.sweep, space).propose(0, 1)
    if spec.sweep.mode == "full" or spec.sweep.best:
        plan_run(one, settings)
    if spec.sweep.storage is not None:
        KeptStudy(open_storage(spec.sweep, settings.root), spec.sweep, name=spec.sweep.name).check(space)
    return space


def _track(run: OpenRun, *, resumed: bool) -> RunTracking:
    with run.stage("tracking"):
        if resumed and run.dir.tracking.is_file():
            return reopen_tracking(run.spec.tracking, run=run.dir, spec=run.spec, settings=run.settings)
        return track_run(run)


def _search(
    spec: SweepSpec,
    run: OpenRun,
    parent: str | None,
    executor: Executor,
    *,
    space: SearchSpace,
    stop: Event,
    on_trial: OnTrial,
) -> Search:
    digest = run.digests.get("data", "")
    work = Work(spec, run.settings, run.dir.run_id, digest, parent, run.whole.traceparent)
    name = study_name(spec.sweep, run.dir.run_id)
    kept = KeptStudy(open_storage(spec.sweep, run.dir.study_journal), spec.sweep, name=name)
    return Search(
        work=work,
        directory=run.dir,
        executor=executor,
        proposer=Proposer(spec.sweep, space),
        kept=kept,
        stop=stop,
        signer=run.signer,
        on_trial=on_trial,
    )


def _stopped(run: OpenRun, search: Search, *, resumed: bool) -> SweepOutcome:
    seconds = sum(run.stages.values())
    return SweepOutcome(Run(run.dir), False, resumed, None, tuple(search.told), (), None, tuple(run.warnings), seconds)


def _conclude(
    run: OpenRun, tracking: RunTracking, search: Search, forward: ForwardSearch | None, *, resumed: bool
) -> SweepOutcome:
    """Judge the trials, make the best ones whole runs, seal, deliver, render.

    Whatever is raised between the search and the seal, the sweep is sealed as FAILED, and says why.
    """
    error: EvidenceError | None = None
    judged: Judged | None = Judged(None, tuple(search.told), ())
    try:
        judged = _judge(run, tracking, search, forward)
    except Exception as failure:  # noqa: BLE001 - of whatever class, it is in the seal
        error = as_evidence_error(failure, f"in the stage {next(reversed(run.stages), 'open')}")
    if judged is None:
        run.write_state("KILLED", "best")
        return _stopped(run, search, resumed=resumed)
    with run.stage("seal"):
        error = close_run(run, error)
    untold = _finish(run, tracking, "FAILED" if error else "FINISHED")
    seconds = sum(run.stages.values())
    return SweepOutcome(
        Run(run.dir), True, resumed, judged.statistics, judged.trials, judged.best_runs, error or untold,
        tuple(run.warnings), seconds,
    )  # fmt: skip


def _judge(run: OpenRun, tracking: RunTracking, search: Search, forward: ForwardSearch | None) -> Judged | None:
    """Return what the trials are worth, with all that the sweep leaves written; None when it was stopped meanwhile."""
    spec, trials = search.work.spec, tuple(search.told)
    with run.stage("statistics"):
        notes: list[str] = []
        if spec.of_notebook:
            returns, used = returns_of_runs(search, notes), conventions_of_runs(search)
        else:
            returns, used = returns_table(search), conventions_of(search.work)
            run.warnings += examine_spacing(bars_of(search.work)).sentences()
        write_json(run.dir.conventions, used.to_dict())
        run.warnings += [used.doubt] if used.doubt else []
        searched = forward.found(notes) if forward else None
        statistics = sweep_statistics(
            spec,
            trials,
            returns,
            dimensions=dict(search.proposer.space.dimensions),
            counted=count_trials(Run(run.dir)),
            importances=param_importances(search.proposer.study, search.told, spec.sweep.objectives[0]),
            risk_free_rate=used.rate,
            searched=searched,
            notes=notes,
        )
    best_runs: tuple[str, ...] = ()
    if spec.sweep.mode == "fast" and spec.sweep.best:
        with run.stage("best"):
            chosen = leading(trials, statistics.ranking, spec.sweep.best)
            best_runs = run_best_trials(run, search, chosen)
        if len(best_runs) < len(chosen) and search.stop.is_set():
            return None
        trials = tuple(search.told)
    with run.stage("artifacts"):
        write_artifacts(run, search, returns, statistics, best_runs, forward=forward)
    _log_metrics(run, tracking)
    write_json(run.dir.modules, modules_of_this_process())
    if changed := changed_since_import():
        run.warnings.append(
            f"Edited while the sweep ran: {', '.join(changed)}. Trials and best runs that began after it may have "
            "used the new source."
        )
    return Judged(statistics, trials, best_runs)


def _finish(run: OpenRun, tracking: RunTracking, status: Status) -> EvidenceError | None:
    """Deliver and render a sealed sweep; until that is done, its state stays beside it. Return tracking's error."""
    _write_state(run, "RUNNING", "tracking_end")
    with run.stage("tracking_end"):
        error = end_tracking(run, tracking, status)
    if run.spec.report.enabled and run.dir.statistics.is_file():
        with run.stage("report"):
            add_report(run, tracking, lambda: _render(run))
    run.dir.clear_scratch()
    return error


def _write_state(run: OpenRun, status: str, stage: str) -> None:
    """Record the state of a sweep, sealed or not: it has not ended before it is delivered and rendered."""
    write_state(run.dir, status=status, stage=stage, started_at=run.started_at, origin=run.origin)


def _finish_sealed(
    directory: RunDir,
    spec: SweepSpec,
    settings: Settings,
    overrides: Mapping[str, Any] | None,
    *,
    hooks: Hooks,
    signer: Signer | None,
) -> SweepOutcome:
    """Do what was left to do when a sweep was interrupted after its manifest was written."""
    from pipeline.sweep.stored import Sweep

    run = reopen_run(
        directory, spec.base, settings, origin=ORIGIN, inputs=data_inputs(spec.base, settings), asked=spec.to_dict(),
        build_type=BUILD_TYPE, overrides=overrides, progress=hooks.stage, signer=signer,
    )  # fmt: skip
    run.manifest_sha256 = sha256_file(directory.manifest)
    entries = check_ledger(directory.ledger).runs.get(directory.run_id, [])
    if not any(entry.event.kind in SEALS for entry in entries):
        record_seal(directory, signer)
    status: Status = "FINISHED" if Run(directory).status == "FINISHED" else "FAILED"
    error = _finish(run, _track(run, resumed=True), status)
    run.log.status = status
    run.end()
    sweep, seconds = Sweep(Run(directory)), sum(run.stages.values())
    return SweepOutcome(
        sweep.run, True, True, sweep.statistics, sweep.trials, sweep.best_runs, error, tuple(run.warnings), seconds
    )


def _render(run: OpenRun) -> RenderRecord:
    from pipeline.sweep.report.render import render_sweep

    return render_sweep(Run(run.dir), renderer=run.spec.report.renderer, settings=run.settings)


def _log_metrics(run: OpenRun, tracking: RunTracking) -> None:
    """Record what was searched and found on the parent run in MLflow."""
    from pipeline.tracking.journal_tracker import JournalTracker

    if tracking.mode == "off" or not run.dir.stats.is_file():
        return
    tracker = JournalTracker(tracking.home, mode=tracking.mode)
    tracker.start_run()
    tracker.log_params({name: run.asked[name] for name in ("sweep", "space")})
    tracker.log_metrics({name: value for name, value in read_json(run.dir.stats).items() if value is not None})
