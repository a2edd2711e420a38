"""The run directory of a sweep: a new one, or that of a sweep of the very same spec that was interrupted."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.backtest.strategies import get_strategy
from pipeline.digest import sha256_file
from pipeline.errors import InputChangedError, NotebookError
from pipeline.evidence.ledger import SWEEP
from pipeline.evidence.manifest import SWEEP as BUILD_TYPE
from pipeline.evidence.modules import modules_of_this_process, of_package
from pipeline.files import read_json, write_json
from pipeline.open_run import OpenRun, Progress
from pipeline.opening import data_inputs, open_run, reopen_run
from pipeline.rundir import RunDir, run_ids
from pipeline.running import NOBODY, read_state
from pipeline.secrets import masked_values
from pipeline.settings import Settings
from pipeline.sweep.spec import SweepSpec
from pipeline.template_files import template_path

if TYPE_CHECKING:
    from pipeline.evidence.signer import Signer

ORIGIN = SWEEP
PROGRAM = {"__main__", "__mp_main__"}  # the program of a process, and of the one that began it as a worker


def open_or_resume(
    spec: SweepSpec,
    settings: Settings,
    given: bytes | None,
    overrides: Mapping[str, Any] | None,
    *,
    resume: bool,
    progress: Progress,
    signer: Signer | None,
) -> tuple[OpenRun, bool]:
    """Open a new run directory, or the one of the same sweep that was interrupted; True says that it was.

    Raises InputChangedError when what trials depend on changed meanwhile.
    """
    base = spec.base
    inputs = data_inputs(base, settings)
    asked = spec.to_dict()
    interrupted = find_interrupted(spec, settings) if resume else None
    if interrupted is None:
        run = open_run(
            base, settings, origin=ORIGIN, inputs=inputs, given=given or spec.to_toml(), overrides=overrides,
            progress=progress, signer=signer, asked=asked, build_type=BUILD_TYPE,
        )  # fmt: skip
        write_json(run.dir.begun, _what_trials_depend_on(run))
        return run, False
    run = reopen_run(
        interrupted, base, settings, origin=ORIGIN, inputs=inputs, asked=asked, build_type=BUILD_TYPE,
        overrides=overrides, progress=progress, signer=signer,
    )  # fmt: skip
    before = read_json(run.dir.begun)
    for name, digest in _what_trials_depend_on(run).items():
        if before.get(name, digest) != digest:
            raise InputChangedError(
                f"{name} changed since the sweep {run.dir.run_id} began. Restore it, or start anew with --new."
            )
    run.warnings.append("The sweep was interrupted and resumed.")
    if run.masked:
        names = ", ".join(sorted(run.masked))
        run.warnings.append(f"Whether {names} had the same value before the interruption is not known.")
    run.write_state("RUNNING", "open")
    return run, True


def _what_trials_depend_on(run: OpenRun) -> dict[str, str]:
    """Return the digests of what must not change between two trials, by a name for the user.

    Which program executes the sweep is none of it: one that a script began, `evidence sweep` goes on with.
    """
    modules = modules_of_this_process().items()
    used = {f"the module {name}": sha for name, sha in modules if name not in PROGRAM and not of_package(name)}
    if run.spec.strategy is None:
        notebook = str(run.spec.run.notebook)
        file = template_path(run.settings, notebook, error=NotebookError)
        declared = {uri: run.digests[name] for name, (uri, _) in run.inputs.items()}
        return {**declared, notebook: sha256_file(file), **used}
    strategy = get_strategy(run.spec.bundled.strategy.name, search=run.settings.root)
    source = inspect.getsourcefile(inspect.unwrap(strategy.signal_fn))
    code = {} if source is None else {f"the source of {run.spec.bundled.strategy.name}": sha256_file(Path(source))}
    return {run.spec.bundled.data.source: run.digests["data"], **code, **used}


def find_interrupted(spec: SweepSpec, settings: Settings, *, sealed: bool = False) -> RunDir | None:
    """Return the sweep of the very same spec that was interrupted, the one started last.

    Interrupted before its seal; or `sealed` already, and not yet delivered and rendered.
    """
    wanted = masked_values(spec.to_dict())
    found = []
    for run_id in run_ids(settings.results):
        directory = RunDir(settings.results, run_id)
        begun = directory.config_json.is_file() and (sealed or directory.begun.is_file())
        if directory.manifest.exists() != sealed or not begun:
            continue
        state = read_state(directory) or NOBODY
        if state.origin == ORIGIN and not state.running and _kept(directory) == wanted:
            found.append((state.started_at, directory))
    return max(found, key=lambda pair: pair[0])[1] if found else None


def _kept(directory: RunDir) -> object:
    """Return the spec that a sweep keeps; None when it cannot be read."""
    try:
        return read_json(directory.config_json)
    except (OSError, ValueError):
        return None
