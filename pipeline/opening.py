"""Open a run: its directory, its snapshots, its inputs, its first entry in the ledger."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.digest import exact_json
from pipeline.errors import (
    EvidenceError,
    as_evidence_error,
)
from pipeline.evidence.inputs import keep_inputs
from pipeline.evidence.keys import check_signer
from pipeline.evidence.manifest import RUN
from pipeline.evidence.provenance import git_state
from pipeline.evidence.recording import record_start
from pipeline.evidence.trial import counted_as, scope_of
from pipeline.files import write_atomic
from pipeline.inputs.declared import PREFIX, declared_files
from pipeline.inputs.places import name_of
from pipeline.open_run import OpenRun, Progress, silent
from pipeline.rundir import RunDir, new_run_id
from pipeline.running import NOBODY, read_state
from pipeline.secrets import masked_toml
from pipeline.settings import Settings
from pipeline.spec import RunSpec, json_values

if TYPE_CHECKING:
    from pipeline.evidence.signer import Signer


def data_inputs(spec: RunSpec, settings: Settings) -> dict[str, tuple[str, Path]]:
    """Return the data a spec names, its benchmark when that has data of its own, and its inputs; raises DataError."""
    from pipeline.backtest.data import source_path

    named = {"data": spec.data.source if spec.data else None, "benchmark": spec.benchmark.source}
    data = {name: (source, source_path(source, settings.root)) for name, source in named.items() if source}
    taken = {path for _, path in data.values()}
    files = [path for _, path in declared_files(spec.inputs, settings.root).values() if path not in taken]
    names = {path: name_of(str(path), str(settings.root)) for path in files}
    return data | {f"{PREFIX}{name}": (name, path) for path, name in names.items()}


def open_run(
    spec: RunSpec,
    settings: Settings,
    *,
    origin: str,
    inputs: dict[str, tuple[str, Path]],
    given: bytes | None = None,
    overrides: Mapping[str, Any] | None = None,
    run_id: str | None = None,
    contents: Mapping[str, bytes] | None = None,
    progress: Progress = silent,
    signer: Signer | None = None,
    asked: Mapping[str, Any] | None = None,
    build_type: str = RUN,
) -> OpenRun:
    """Make the run directory, write the config snapshots, keep the inputs, and enter the run into the ledger.

    With that entry, the last step, the run has started; when a step before it fails, the directory is removed again.
    `contents` are the bytes of inputs that were read already, see OpenRun. `asked` is kept as the snapshot instead of
    the spec, `build_type` says how to read it. `signer` signs the seal, the report's statement and the entries; None
    leaves them unsigned. Raises UsageError for a signer that the project's trust file does not allow, RunExistsError,
    StorageError, DataError, and VerificationError when the ledger's end is damaged.
    """
    unsigned = check_signer(signer, settings)
    directory = RunDir.create(settings.results, run_id or new_run_id())
    run = OpenRun(directory, spec, settings, origin, inputs, json_values(overrides or {}), progress, signer=signer)
    run.asked, run.build_type, run.contents = asked or spec.to_dict(), build_type, contents or {}
    run.mask_secrets()
    run.warnings += [unsigned] if unsigned else []
    try:
        _begin(run, given)
    except Exception as failure:
        shutil.rmtree(directory.path, ignore_errors=True)
        directory.clear_scratch()
        if isinstance(failure, EvidenceError):
            raise
        raise as_evidence_error(failure, "while the run was opened") from failure
    except BaseException:
        with contextlib.suppress(Exception):  # a full disk must not hide what was raised
            run.write_state("KILLED", "open")
        raise
    return run


def reopen_run(
    directory: RunDir,
    spec: RunSpec,
    settings: Settings,
    *,
    origin: str,
    inputs: dict[str, tuple[str, Path]],
    asked: Mapping[str, Any],
    build_type: str,
    overrides: Mapping[str, Any] | None = None,
    progress: Progress = silent,
    signer: Signer | None = None,
) -> OpenRun:
    """Take up a run whose process ended before the seal; its snapshots and its entry in the ledger are there.

    Raises UsageError for a signer that the project's trust file does not allow.
    """
    unsigned = check_signer(signer, settings)
    state = read_state(directory) or NOBODY
    run = OpenRun(directory, spec, settings, origin, inputs, json_values(overrides or {}), progress, signer=signer)
    run.asked, run.build_type = asked, build_type
    run.mask_secrets()
    run.warnings += [unsigned] if unsigned else []
    run.started_at = state.started_at or run.started_at
    run.take_digests()
    run.git = git_state(settings.root)
    return run


def _begin(run: OpenRun, given: bytes | None) -> None:
    directory, spec, settings, inputs = run.dir, run.spec, run.settings, run.inputs
    with run.stage("open"):
        write_atomic(directory.config_toml, masked_toml(given) if given is not None else spec.to_toml())
        write_atomic(directory.config_json, exact_json(run.asked))
        run.take_digests()
        run.git = git_state(settings.root)
        files = {name: (path, run.digests[name]) for name, (_, path) in inputs.items()}
        run.warnings += keep_inputs(settings.results, files, contents=run.contents)
        scope = scope_of(spec, run.digests, settings.root, notebook=counted_as(spec.run.notebook))
        record_start(directory, run.signer, scope=scope, origin=run.origin)
    if run.git is None:
        run.warnings.append(
            f"{settings.root} is not in a git work tree with a commit: the code's version is not recorded."
        )
