"""Run a spec: RunSpec → RunDir → tracking → notebook → artifacts → manifest → tracking → report."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.after_seal import add_report, end_tracking, take_into_lake
from pipeline.artifacts import check_artifacts
from pipeline.backtest.from_spec import with_strategy_params
from pipeline.digest import canonical_json, pretty_json
from pipeline.errors import (
    ArtifactError,
    EvidenceError,
    NotebookError,
    SpecError,
    as_evidence_error,
)
from pipeline.evidence.keys import SECRETS, load_signer
from pipeline.evidence.recording import record_kill
from pipeline.files import move_into_place, write_atomic
from pipeline.inputs.network import host_of
from pipeline.lake.market_source import with_lake_data
from pipeline.notebook import inside
from pipeline.notebook.execute import execute_notebook
from pipeline.notebook.look import saves_nothing
from pipeline.notebook.masked import mask_notebook
from pipeline.notebook.request import KernelRequest
from pipeline.notebook.template import InputNotebook, check_parameters, read_notebook
from pipeline.open_run import OpenRun, Progress, silent
from pipeline.opening import data_inputs, open_run
from pipeline.run import Run
from pipeline.sealing import close_run, notebook_warnings
from pipeline.secrets import filled
from pipeline.settings import Settings
from pipeline.spec import ENGINE_SECTIONS, RunSpec, json_values
from pipeline.telemetry import forward_kernel, kernel_environment
from pipeline.template_files import template_path
from pipeline.tracking.of_run import read_datasets, track_run
from pipeline.tracking.run_tracking import RunTracking
from pipeline.tracking.uri import store_files

if TYPE_CHECKING:
    from pipeline.evidence.signer import Signer
    from pipeline.kernels import KernelSource
    from pipeline.report.record import RenderRecord

ORIGIN = "evidence-run"
THREE_LINES = """Three lines do it:
    run = pipeline.start_run()
    run.save(result)  # a returns or equity Series, weights with prices, or what an engine returned
    run.finish()
`--no-check` runs it as it is."""


@dataclass(frozen=True)
class Plan:
    """A spec, checked as far as it can be before anything starts, and what it takes."""

    spec: RunSpec
    notebook: InputNotebook
    parameters: dict[str, Any]
    inputs: dict[str, tuple[str, Path]]
    report_template: Path


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended: the run, its error (None when FINISHED), all warnings, seconds a stage."""

    run: Run
    error: EvidenceError | None
    warnings: tuple[str, ...]
    stages: dict[str, float]


def run_backtest(
    spec: RunSpec,
    *,
    settings: Settings | None = None,
    given: bytes | None = None,
    overrides: Mapping[str, Any] | None = None,
    run_id: str | None = None,
    origin: str = ORIGIN,
    progress: Progress = silent,
    signing_key: Callable[[], Signer | None] = load_signer,
    tracked_tags: Mapping[str, str] | None = None,
    kernels: KernelSource | None = None,
    check: bool = True,
) -> RunOutcome:
    """Execute a spec into a new, sealed run directory, and render its report.

    `settings` is the project, by default that of the current directory;
    `given` are the bytes the spec was read from, `overrides` what was laid over them, `origin` says who
    asked for the run; `progress` is called with the name of each stage as it begins; `signing_key` returns
    what signs, None for an unsigned run; `tracked_tags` are set on the MLflow run only; `kernels` starts the kernel,
    None is a fresh process. Raises UsageError before anything is started. A run that started and failed, by whatever
    exception, is sealed as FAILED and returned with its error; a SystemExit is raised again after that. A run that is
    interrupted (KeyboardInterrupt) before its seal stays unsealed (KILLED), and the interruption is raised; so does one
    whose seal cannot be written.
    """
    settings = settings or Settings.load()
    plan = plan_run(spec, settings, overrides, check=check)
    run = open_run(
        plan.spec,
        settings,
        origin=origin,
        inputs=plan.inputs,
        contents={"notebook": plan.notebook.content},
        given=given,
        overrides=overrides,
        run_id=run_id,
        progress=progress,
        signer=signing_key(),
    )
    run.secrets = run.secrets.with_defaults(plan.notebook.defaults)
    tracking: RunTracking | None = None
    caught = _Caught(run)
    try:
        with caught:
            with run.stage("tracking"):
                tracking = track_run(run, tracked_tags)
            with run.stage("notebook"):
                left_early = _execute(run, plan, tracking, kernels)
            with run.stage("artifacts"):
                _check_artifacts(run, left_early)
                run.check_inputs()
        error = _read_back(run, tracking, caught.error)
        with run.stage("seal"):
            error = close_run(run, error)
        with run.stage("tracking_end"):
            error = _end_tracking(run, tracking, error)
        if plan.spec.report.enabled and caught.leaving is None:
            with run.stage("report"):
                add_report(run, tracking, lambda: _render(run, plan))
        take_into_lake(run)
    except BaseException as failure:
        _stopped(run, tracking, failure)
        raise
    finally:
        run.end()
    if caught.leaving is not None:
        raise caught.leaving
    return RunOutcome(Run(run.dir), error, tuple(run.warnings), dict(run.stages))


class _Caught:
    """Keeps what its block raises, of whatever class, as the run's error; an interruption passes.

    `leaving` is what was raised to end this process: the run is sealed first.
    """

    def __init__(self, run: OpenRun) -> None:
        self.error: EvidenceError | None = None
        self.leaving: BaseException | None = None
        self._run = run

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, failure: BaseException | None, trace: object) -> bool:
        if failure is None or isinstance(failure, KeyboardInterrupt):
            return False
        error = as_evidence_error(failure, f"in the stage {_stage(self._run)}")
        self.error = self._run.secrets.hide_in_error(error)
        self.leaving = None if isinstance(failure, Exception) else failure
        return True


def plan_run(
    spec: RunSpec, settings: Settings, overrides: Mapping[str, Any] | None = None, *, check: bool = True
) -> Plan:
    """Check all that can be checked before anything starts; raises UsageError.

    With `check`, a notebook is refused in which plainly nothing saves a result.

    A notebook that declares a section as a parameter asks this package's engine by it: what the spec leaves out has
    its defaults there, and is unknown for every other notebook. A section that the spec sets and the notebook does not
    declare would be ignored silently, so it is refused, but for the name and the family of a strategy, which say what
    the run is about; and so is a value that the evidence cannot hold. Masked parameters get the values that the
    environment gives.
    """
    spec = with_lake_data(filled(spec, os.environ), settings)
    try:
        canonical_json([spec.to_dict(), json_values(overrides or {})])
    except ValueError as error:
        raise SpecError(f"The run spec holds a value that JSON has no canonical form for: {error}.") from None
    source = spec.run.notebook
    if source is None:
        raise SpecError("run.notebook names no notebook. Name one: a run started by hand has none to be executed.")
    notebook = read_notebook(template_path(settings, source, error=NotebookError))
    asked = [name for name in ENGINE_SECTIONS if notebook.takes_request(name)]
    spec = with_strategy_params(spec.asking(asked), settings.root) if "strategy" in asked else spec
    _check_label(spec, notebook)
    inputs = {
        **data_inputs(spec, settings),
        "notebook": (source, notebook.path),
    }
    template = template_path(settings, spec.report.template, error=SpecError) if spec.report.enabled else Path()
    told = [name for name in ("data", "backtest") if name not in asked and getattr(spec, name) is not None]
    check_parameters(notebook, [*spec.run.parameters, *told])
    if check and saves_nothing(notebook.path, notebook.content, settings.root):
        raise NotebookError(f"Nothing in {notebook.path} saves a result, so its run would fail. {THREE_LINES}")
    return Plan(spec, notebook, _parameters(spec, notebook, asked), inputs, template)


def _check_label(spec: RunSpec, notebook: InputNotebook) -> None:
    """Refuse params of a strategy for a notebook that would not see them."""
    if spec.strategy is not None and spec.strategy.params and not notebook.takes_request("strategy"):
        raise NotebookError(
            f"{notebook.path} has no parameter 'strategy' in a cell tagged `parameters`, so it would not see "
            f"strategy.params = {spec.strategy.params}. Give parameters of the notebook in [run.parameters], or with "
            "-p name=value."
        )


def _parameters(spec: RunSpec, notebook: InputNotebook, asked: list[str]) -> dict[str, Any]:
    """Return what the notebook is given, `run_id` apart: the seed and the sections it declares, and its own."""
    values = spec.to_dict()
    seed = {"seed": spec.run.seed} if notebook.tagged and "seed" in notebook.parameters else {}
    return {**seed, **{name: values[name] for name in asked}, **values["run"]["parameters"]}


def _execute(run: OpenRun, plan: Plan, tracking: RunTracking, kernels: KernelSource | None) -> str | None:
    """Execute the notebook; return a sentence when it ended before its last cell without an error."""
    request = KernelRequest(
        cwd=run.settings.root,
        log=run.dir.kernel_log_in_progress,
        environment={**_inherited(), **tracking.environment(), **_kernel_environment(run, tracking)},
        cell_timeout=run.spec.run.cell_timeout,
        timeout=run.spec.run.timeout,
    )
    own = {"run_id": run.dir.run_id} if plan.notebook.tagged and "run_id" in plan.notebook.parameters else {}
    parameters = {**own, **plan.parameters}
    try:
        target, root = run.dir.notebook_in_progress, run.settings.root
        executed = execute_notebook(plan.notebook, target, parameters, request, root=root, kernels=kernels)
    except BaseException:
        with contextlib.suppress(EvidenceError):
            _keep_notebook(run, parameters)
        raise
    _keep_notebook(run, parameters)
    run.warnings += executed.notes
    run.warnings += notebook_warnings(run.dir)
    return executed.left_early


def _check_artifacts(run: OpenRun, left_early: str | None) -> None:
    """Check what the notebook left; that it ended early is the reason when something is missing, else a warning."""
    try:
        check_artifacts(run.dir)
    except ArtifactError as failure:
        raise ArtifactError(f"{failure} {left_early}" if left_early else str(failure)) from failure
    run.warnings += [left_early] if left_early else []


def _stage(run: OpenRun) -> str:
    """Return the stage that ended last."""
    return next(reversed(run.stages), "open")


def _keep_notebook(run: OpenRun, parameters: Mapping[str, Any]) -> None:
    """Give the executed notebook its final name; what the kernel's process printed is kept when there is any.

    Secrets in both are masked before.
    """
    forward_kernel(run.log)
    shown = {**parameters, **run.spec.run.parameters}
    run.masked |= {*mask_notebook(run.dir.notebook_in_progress, run.secrets, shown)}
    move_into_place(run.dir.notebook_in_progress, run.dir.notebook)
    log = run.dir.kernel_log_in_progress
    if log.is_file() and log.stat().st_size:
        if found := run.secrets.named_in_file(log):
            write_atomic(log, run.secrets.hidden(log.read_text(encoding="utf-8", errors="replace")).encode())
            run.masked |= {*found}
        move_into_place(log, run.dir.kernel_log)


def _inherited() -> dict[str, str]:
    """Return this process's environment without the signing key and without the run another notebook logs to."""
    withheld = {"MLFLOW_RUN_ID", *SECRETS}
    return {name: value for name, value in os.environ.items() if name not in withheld}


def _kernel_environment(run: OpenRun, tracking: RunTracking) -> dict[str, str]:
    """Return what makes a kernel belong to this run, and its results independent of where it runs."""
    return {
        **run.secrets.for_the_kernel(),
        **kernel_environment(run.log.labels),
        inside.RUN_ID: run.dir.run_id,
        inside.SEED: str(run.spec.run.seed),
        inside.MODULES_FILE: str(run.dir.modules),
        inside.PLACES_FILE: str(_write_places(run, tracking)),
        "EVIDENCE_ROOT": str(run.settings.root),
        "EVIDENCE_RESULTS": str(run.settings.results),
        "PYTHONHASHSEED": "0",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline" if run.spec.run.figures else "agg",
        "TZ": "UTC",
    }


def _write_places(run: OpenRun, tracking: RunTracking) -> Path:
    """Write down, for the kernel, which files count as inputs, and which host and files do not."""
    places = run.places(host_of(tracking.info.tracking_uri), store_files(tracking.info.tracking_uri))
    run.dir.places.write_bytes(pretty_json(places.to_dict()))
    return run.dir.places


def _read_back(run: OpenRun, tracking: RunTracking | None, error: EvidenceError | None) -> EvidenceError | None:
    """Take what the notebook logged past the journal into it, before the seal; return the run's error."""
    if tracking is None:
        return error
    try:
        tracking.record_inputs(read_datasets(run))
        tracking.before_seal()
    except Exception as failure:  # noqa: BLE001 - whatever it is, the run is sealed and says so
        return error or as_evidence_error(failure, "while what the notebook logged was read back")
    return error


def _end_tracking(run: OpenRun, tracking: RunTracking | None, error: EvidenceError | None) -> EvidenceError | None:
    """Return the run's error, or what tracking raises at its end in strict mode."""
    if tracking is None:
        return error
    untold = end_tracking(run, tracking, "FAILED" if error else "FINISHED")
    return error or untold


def _render(run: OpenRun, plan: Plan) -> RenderRecord:
    from pipeline.report.render import render_run

    return render_run(
        Run(run.dir), renderer=run.spec.report.renderer, template=plan.report_template, settings=run.settings
    )


def _stopped(run: OpenRun, tracking: RunTracking | None, failure: BaseException) -> None:
    """Record an interruption as far as that is possible: nothing here may hide what was raised."""
    if run.manifest_sha256 is not None:
        return
    reason = {} if isinstance(failure, KeyboardInterrupt) else {"reason": run.secrets.hidden(str(failure))}
    with contextlib.suppress(Exception):
        run.write_state("KILLED", _stage(run), **reason)
        record_kill(run.dir, run.signer)
        if tracking is not None:
            tracking.finish("KILLED")
