"""Open a run directory and seal it: the two ends of every run, orchestrated or by hand."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.backtest.conventions import Conventions
from pipeline.digest import canonical_json, sha256_bytes, sha256_file
from pipeline.errors import (
    ArtifactError,
    DataError,
    EvidenceError,
    InputChangedError,
    StorageError,
    VerificationError,
    as_evidence_error,
)
from pipeline.evidence.inputs import NOTEBOOK, keep_inputs
from pipeline.evidence.keys import check_signer
from pipeline.evidence.manifest import RUN, Outcome, build_manifest, collect_inputs, write_manifest
from pipeline.evidence.provenance import Environment, GitState, git_state, lock_files
from pipeline.evidence.recording import checkpoint, record_seal, record_start
from pipeline.evidence.trial import scope_of
from pipeline.evidence.unsealable import made_again, sentence, set_aside
from pipeline.file_names import refused_by_windows
from pipeline.files import read_json, write_atomic, write_json
from pipeline.inputs.declared import PREFIX, declared_files
from pipeline.inputs.observed import Observed, read_observed
from pipeline.inputs.places import Known, Places, Stamp, name_of, stamp_of
from pipeline.inputs.record import FRAME, OBSERVED, dependencies, files_to_keep
from pipeline.masking import masked
from pipeline.notebook.by_hand import TYPED, Session, executed_code
from pipeline.report.escape import code_span
from pipeline.results.boundary import Inputs
from pipeline.results.record import ResultRecord
from pipeline.results.what import what_ran
from pipeline.robustness import LOOK_AHEAD, look_ahead_of, look_ahead_status
from pipeline.rundir import RunDir, new_run_id
from pipeline.running import read_state, write_state
from pipeline.secrets import Secrets, mask_parameters, masked_overrides, masked_toml, masked_values
from pipeline.settings import Settings
from pipeline.spec import RunSpec, json_values
from pipeline.tracking.datasets import file_dataset
from pipeline.tracking.store import CHECKPOINT_TAG, DATA_TAG, MANIFEST_TAG, RUN_ID_TAG
from pipeline.tracking.uri import artifact_url

if TYPE_CHECKING:
    from securesystemslib.signer import Signer  # type: ignore[attr-defined]

    from pipeline.tracking.protocol import Status
    from pipeline.tracking.session import RunTracking

DATA = ("data", "benchmark")
MOST_DATASETS = 100  # of one run, in MLflow
DESCRIBED = ("total_return", "cagr", "sharpe", "max_drawdown", "total_trades")
Progress = Callable[[str], None]


def silent(_stage: str) -> None:
    """Report no progress."""


def utc_now() -> str:
    """Return the time as ISO-8601 UTC text with microseconds."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass
class OpenRun:
    """A run between its first file and its seal.

    `asked` is what was asked for as the snapshot keeps it: the spec, or a sweep's. `inputs` maps a name to where it
    came from and its path; their digests are taken when the run is opened and compared before it is sealed. `contents`
    are the bytes of inputs that were read before that: these are digested then, whatever became of the file. `stages`
    are seconds, `warnings` sentences.
    """

    dir: RunDir
    spec: RunSpec
    settings: Settings
    origin: str
    inputs: dict[str, tuple[str, Path]]
    overrides: Mapping[str, Any] = field(default_factory=dict)
    progress: Progress = silent
    contents: Mapping[str, bytes] = field(default_factory=dict)
    started_at: str = field(default_factory=utc_now)
    git: GitState | None = None
    warnings: list[str] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    manifest_sha256: str | None = None
    signer: Signer | None = None
    asked: Mapping[str, Any] = field(default_factory=dict)
    build_type: str = RUN
    declared: dict[str, str] = field(default_factory=dict)
    stamps: dict[str, Stamp] = field(default_factory=dict)
    secrets: Secrets = field(default_factory=Secrets)
    masked: set[str] = field(default_factory=set)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Say which stage the run is in, and record how many seconds it took."""
        with contextlib.suppress(OSError):  # a terminal that is gone
            self.progress(name)
        self.write_state("RUNNING", name)
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.stages[name] = round(time.perf_counter() - begin, 4)

    def write_state(self, status: str, stage: str, **more: str) -> None:
        """Record the state beside the run directory, as long as the run is not sealed."""
        if self.manifest_sha256 is None:
            write_state(self.dir, status=status, stage=stage, started_at=self.started_at, origin=self.origin, **more)

    def mask_secrets(self) -> None:
        """Mask the secrets in what the run was asked for, and keep them to look for."""
        self.secrets = Secrets.of_run(self.spec, os.environ)
        self.masked = {*self.secrets.parameters}
        self.spec, _ = mask_parameters(self.spec)
        self.overrides, self.asked = masked_overrides(self.overrides), masked_values(self.asked)

    def take_digests(self) -> None:
        """Digest the inputs; raises DataError when one cannot be read."""
        of_spec = declared_files(self.spec.inputs, self.settings.root)
        places = {name: str(path) for name, (_, path) in self.inputs.items() if name.startswith(PREFIX)}
        self.declared = {name: of_spec[path][0] for name, path in places.items() if path in of_spec}
        for name, (uri, path) in self.inputs.items():
            try:
                content = self.contents.get(name)
                self.stamps[name] = stamp_of(path.stat())
                self.digests[name] = sha256_file(path) if content is None else sha256_bytes(content)
            except OSError as error:
                raise DataError(f"The input {uri} cannot be read: {error.strerror}.") from None

    def places(self, tracking_host: str | None = None) -> Places:
        """Return which files the run reads as inputs, and what is known of those that were declared."""
        declared = {
            str(path): Known(self.declared.get(name, name), self.digests.get(name), self.stamps.get(name))
            for name, (_, path) in self.inputs.items()
            if name != NOTEBOOK
        }
        hosts = (tracking_host,) if tracking_host else ()
        root, results = str(self.settings.root), str(self.settings.results)
        return Places(root, results, tuple(map(str, self.settings.watched)), declared, hosts)

    def check_inputs(self) -> None:
        """Raise InputChangedError when an input is no longer what it was at the start."""
        changed = [uri for name, (uri, path) in self.inputs.items() if _digest_now(path) != self.digests[name]]
        if changed:
            raise InputChangedError(
                f"Changed while the run was executing: {', '.join(changed)}. Run again on files at rest."
            )


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
    state = read_state(directory) or {}
    run = OpenRun(directory, spec, settings, origin, inputs, json_values(overrides or {}), progress, signer=signer)
    run.asked, run.build_type = asked, build_type
    run.mask_secrets()
    run.warnings += [unsigned] if unsigned else []
    run.started_at = state.get("started_at") or run.started_at
    run.take_digests()
    run.git = git_state(settings.root)
    return run


def _begin(run: OpenRun, given: bytes | None) -> None:
    directory, spec, settings, inputs = run.dir, run.spec, run.settings, run.inputs
    with run.stage("open"):
        write_atomic(directory.config_toml, masked_toml(given) if given is not None else spec.to_toml())
        write_atomic(directory.config_json, canonical_json(run.asked))
        run.take_digests()
        run.git = git_state(settings.root)
        files = {name: (path, run.digests[name]) for name, (_, path) in inputs.items()}
        run.warnings += keep_inputs(settings.results, files, contents=run.contents)
        scope = scope_of(spec, run.digests, settings.root, notebook=_called(run))
        record_start(directory, run.signer, scope=scope, origin=run.origin)
    if run.git is None:
        run.warnings.append(
            f"{settings.root} is not in a git work tree with a commit: the code's version is not recorded."
        )


def _called(run: OpenRun) -> str:
    """Return what counts the trials of a run that names no strategy."""
    return f"notebook:{run.spec.run.notebook}" if run.spec.run.notebook is not None else "by hand"


def keep_code(run: OpenRun, session: Session) -> None:
    """Keep the code of a run by hand as what it was made from, secrets masked; warn when there is none to keep."""
    code = executed_code(session)
    if code is None:
        run.warnings.append(TYPED)
        return
    run.warnings += code.notes
    text = code.content.decode("utf-8", errors="replace")
    content = code.content if (hidden := run.secrets.hidden(text)) == text else hidden.encode()
    path = write_atomic(run.dir.path / code.name, content)
    run.inputs[NOTEBOOK], run.digests[NOTEBOOK] = (code.name, path), sha256_bytes(content)
    run.contents = {**run.contents, NOTEBOOK: content}
    run.warnings += keep_inputs(
        run.settings.results, {NOTEBOOK: (path, run.digests[NOTEBOOK])}, contents={NOTEBOOK: content}
    )


def close_run(run: OpenRun, error: EvidenceError | None) -> EvidenceError | None:
    """Seal a run whatever it left behind; return the error that its seal carries, None for a finished run.

    What cannot be sealed is moved aside, and fails the run. When sealing itself fails, the run is sealed as FAILED
    without what its own records say (modules, lock files, tracking). Raises StorageError when the seal cannot be
    written, VerificationError when the ledger's end is damaged.
    """
    _keep_what_was_read(run)
    again = made_again(run.dir)
    found = set_aside(run.dir)
    for text in filter(None, (again, sentence(run.dir, found) if found else None)):
        if error is None:
            error = ArtifactError(text)
        else:
            run.warnings.append(text)
    try:
        seal_run(run, error=error)
    except (StorageError, VerificationError):
        raise
    except Exception as failure:
        if run.manifest_sha256 is not None and isinstance(failure, EvidenceError):
            raise
        if run.manifest_sha256 is not None:
            raise as_evidence_error(failure, "after the manifest was written") from failure
        error = error or as_evidence_error(failure, "while the run was sealed")
        run.warnings.append("The records of modules, lock files and tracking are not in the seal: it failed with them.")
        seal_run(run, error=error, records=False)
    return error


def _keep_what_was_read(run: OpenRun) -> None:
    """Keep the files that the run read, for replays, and say what speaks against them."""
    with contextlib.suppress(ArtifactError):  # the seal fails with it, too, and says so
        observed = read_observed(run.dir.inputs)
        run.warnings += observed.warnings()
        if unread := sorted({*run.declared.values()} - {file.declared for file in observed.files}):
            run.warnings.append(f"Declared as inputs, and not seen to be read: {', '.join(unread)}.")
        run.warnings += keep_inputs(run.settings.results, files_to_keep(observed, run.settings.root))


def seal_run(run: OpenRun, *, error: EvidenceError | None = None, records: bool = True) -> str:
    """Seal a run as FINISHED, or FAILED with its error; return the manifest's SHA-256.

    Without `records`, what the run's own files and the lock files say is left out of the manifest.
    """
    notes = [*refused_by_windows(run.dir.sealed_paths()), *_secrets_told(run)]
    run.warnings[:] = [run.secrets.hidden(text) for text in run.warnings]
    run.warnings += [text for text in notes if text not in run.warnings]
    error = None if error is None else run.secrets.hide_in_error(error)
    environment = Environment.of_this_process()
    observed = read_observed(run.dir.inputs) if records else Observed()
    files = {name: (uri, run.digests[name]) for name, (uri, _) in run.inputs.items()}
    inputs = collect_inputs(
        files={name: found for name, found in files.items() if name not in run.declared},
        git=run.git,
        environment=environment,
        modules=read_json(run.dir.modules) if records and run.dir.modules.is_file() else {},
        locks=lock_files(run.settings.root) if records else {},
        read=list(dependencies(observed, files, run.declared)),
    )
    manifest = build_manifest(
        run.dir,
        origin=run.origin,
        build_type=run.build_type,
        spec=run.asked,
        overrides=run.overrides,
        seed=run.spec.run.seed,
        inputs=inputs,
        environment=environment,
        outcome=_outcome(run, error, observed, records=records),
    )
    run.manifest_sha256 = write_manifest(run.dir, manifest)
    record_seal(run.dir, run.signer)
    run.dir.clear_scratch()
    return run.manifest_sha256


def _secrets_told(run: OpenRun) -> Iterator[str]:
    """Yield what the seal says of secrets: which were masked, which were not looked for, which files hold one."""
    if run.masked:
        yield f"Masked as ***: {', '.join(sorted(run.masked))}."
    if overlooked := run.secrets.overlooked():
        yield (
            f"Too short or too plain to be looked for in what the notebook printed: the value of "
            f"{', '.join(overlooked)}. It is masked in the spec and in the injected cell only."
        )
    files = {name: run.secrets.named_in_file(run.dir.path / name) for name in run.dir.sealed_paths()}
    read = {run.inputs[name][0]: run.secrets.named_in(content) for name, content in run.contents.items()}
    for name, found in {**files, **read}.items():
        if found:
            yield f"SECRET: {name} holds the value of {', '.join(found)}. It is kept as it is: do not pass it on."


def notebook_warnings(run: RunDir) -> Iterator[str]:
    """Yield what the run's own files say against it: its data, another strategy, look-ahead found or not judged."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        yield from map(str, read_json(run.data_facts)["warnings"])
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        found = read_json(run.other_strategy)
        yield (
            f"ANOTHER STRATEGY: the notebook ran {found['ran']}, not {found['asked']}, which the spec names. "
            "What is said of the spec's strategy and params does not hold for the results."
        )
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        leakage = read_json(run.robustness)["leakage"]
        status = look_ahead_status(leakage)
        if status == "leak" or (status == "unjudged" and leakage["reason"] != "constant"):
            yield f"{LOOK_AHEAD[status].upper()}: {leakage['sentence']}"
    with contextlib.suppress(OSError, ValueError):
        if doubt := Conventions.from_dict(read_json(run.conventions)).doubt:
            yield doubt


def run_tags(run: OpenRun) -> dict[str, str]:
    """Return the tags a tracked run carries: who it is, what it trades as far as that is known, which code made it."""
    data = {DATA_TAG: run.digests["data"]} if "data" in run.digests else {}
    git = {} if run.git is None else {"git_commit": run.git.commit, "git_dirty": str(run.git.dirty).lower()}
    return {
        **run.spec.run.tags,
        RUN_ID_TAG: run.dir.run_id,
        "run_id": run.dir.run_id,
        **_subject_tags(run),
        "origin": run.origin,
        **data,
        **git,
    }


def _subject_tags(run: OpenRun) -> dict[str, str]:
    """Return the tags that say what a run is about: before its end what was asked for, then what ran."""
    what = what_ran(run.spec.to_dict(), ResultRecord.read(run.dir))
    engine = "" if what.engine is None else f"{what.engine.name} {what.engine.version or ''}".rstrip()
    return {
        key: value
        for key, value in {"strategy": what.strategy, "symbol": what.symbol, "engine": engine}.items()
        if value
    }


def track_run(run: OpenRun, tags: Mapping[str, str] | None = None) -> RunTracking:
    """Open the tracking of a run, with its data as inputs, and write down where it is tracked.

    `tags` are set beside those every run has. Raises TrackingError in mode `strict`.
    """
    from pipeline.tracking.session import open_tracking

    tracking = open_tracking(
        run.spec.tracking,
        run=run.dir,
        spec=run.spec,
        settings=run.settings,
        tags={**run_tags(run), **(tags or {})},
        datasets=run_datasets(run),
    )
    write_json(run.dir.tracking, tracking.info.to_dict())
    return tracking


def run_datasets(run: OpenRun) -> list[dict[str, Any]]:
    """Return the data that goes into a run as MLflow describes it: what the spec names, by digest."""
    named = {name: run.declared.get(name, name) for name in run.inputs if name != NOTEBOOK}
    datasets = [file_dataset(masked(run.inputs[n][0]), run.digests[n], context=context) for n, context in named.items()]
    return datasets[:MOST_DATASETS]


def read_datasets(run: OpenRun) -> list[dict[str, Any]]:
    """Return what else a run was seen to read, or declared meanwhile, in the same way."""
    with contextlib.suppress(ArtifactError):  # the seal says so
        observed = read_observed(run.dir.inputs)
        known = {uri for uri, _ in run.inputs.values()}
        files = [
            (file.path, file.sha256, file.declared or OBSERVED) for file in observed.files if file.declared not in DATA
        ]
        found = [(f"{FRAME}{frame.name}", frame.sha256, frame.name) for frame in observed.frames] + files
        digested = [(name, sha, context) for name, sha, context in found if sha is not None and name not in known]
        return [file_dataset(name, sha, context=context) for name, sha, context in digested[:MOST_DATASETS]]
    return []


def finish_tracking(run: OpenRun, tracking: RunTracking, status: Status) -> None:
    """End the tracked run of a sealed run: its files as artifacts, the seal's digest as a tag, a description.

    Raises TrackingError in mode `strict`.
    """
    seal = [path.name for path in (run.dir.manifest, run.dir.signature) if path.is_file()]
    files = [Path(name) for name in (*run.dir.sealed_paths(), *seal)]
    tags = {
        MANIFEST_TAG: run.manifest_sha256 or "",
        CHECKPOINT_TAG: checkpoint(run.dir) or "",
        **_subject_tags(run),
    }
    tracking.finish(status, artifacts=files, tags=tags, description=_description(run, status, tracking.info.run_url))


def _description(run: OpenRun, status: str, run_url: str | None) -> str:
    """Return the text MLflow shows above the run: what ran, how it ended, where the report is, how to check it."""
    stats = read_json(run.dir.stats) if run.dir.stats.is_file() and status == "FINISHED" else {}
    found = {name: value for name in DESCRIBED if isinstance(value := stats.get(name), int | float)}
    lines = [f"{name}: {value:.4g}" for name, value in found.items()]
    lines += [LOOK_AHEAD[look_ahead_of(run.dir)]] if lines else []
    what = what_ran(run.spec.to_dict(), ResultRecord.read(run.dir))
    subject = " on ".join(code_span(part) for part in what.parts)
    text = [f"{subject}, {status}.", *lines]
    report = run.dir.report.relative_to(run.dir.path).as_posix()
    link = artifact_url(run_url, report)
    shown = f"[{report}]({link})" if link else f"artifact `{report}`"
    return "\n\n".join([*text, f"Report: {shown}", f"Check: `evidence verify {run.dir.run_id}`"])


def _boundary(run: OpenRun, observed: Observed) -> Mapping[str, list[str]] | None:
    """Return what of the result was checked, taken as given and not examined, with what is known of the inputs."""
    record = ResultRecord.read(run.dir)
    if record is None or record.boundary is None:
        return None
    named = tuple(masked(uri) for name, (uri, _) in run.inputs.items() if name != NOTEBOOK)
    read = [file for file in observed.files if file.declared is None]
    inputs = Inputs(
        digested=(*named, *(file.path for file in read if file.sha256 is not None)),
        unseen=tuple(file.path for file in read if file.sha256 is None),
        hosts=tuple(host.name for host in observed.hosts),
    )
    return record.boundary.with_inputs(inputs).to_dict()


def _outcome(run: OpenRun, error: EvidenceError | None, observed: Observed, *, records: bool) -> Outcome:
    return Outcome(
        boundary=_boundary(run, observed) if error is None else None,
        status="FINISHED" if error is None else "FAILED",
        started_at=run.started_at,
        finished_at=max(run.started_at, utc_now()),  # a clock that was set back must not contradict itself
        error=None if error is None else describe_error(error),
        warnings=tuple(_utf8(warning) for warning in run.warnings),
        stages=dict(run.stages),
        tracking=read_json(run.dir.tracking) if records and run.dir.tracking.is_file() else None,
        masked=tuple(sorted(run.masked)),
    )


def describe_error(error: EvidenceError) -> dict[str, Any]:
    """Return an error as the record keeps it: kind, message and, for a failed cell, where and what."""
    facts = {name: getattr(error, name, None) for name in ("cell", "ename", "evalue", "traceback")}
    described = {"kind": type(error).__name__, "message": str(error), **facts}
    return {name: _utf8(value) if isinstance(value, str) else value for name, value in described.items()}


def _utf8(text: str) -> str:
    """Return text as UTF-8 can say it: half of a surrogate pair is shown by its code point."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _digest_now(path: Path) -> str | None:
    try:
        return sha256_file(path)
    except OSError:
        return None
