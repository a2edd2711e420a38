"""Seal a run, orchestrated or by hand, whatever it left behind."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.backtest.conventions import Conventions
from pipeline.digest import sha256_bytes
from pipeline.errors import (
    ArtifactError,
    EvidenceError,
    StorageError,
    VerificationError,
    as_evidence_error,
)
from pipeline.evidence.inputs import NOTEBOOK, keep_inputs
from pipeline.evidence.manifest import Outcome, build_manifest, collect_inputs, write_manifest
from pipeline.evidence.provenance import Environment, lock_files
from pipeline.evidence.recording import record_seal
from pipeline.evidence.unsealable import made_again, sentence, set_aside
from pipeline.file_names import refused_by_windows
from pipeline.files import read_json, write_atomic
from pipeline.inputs.completeness import Completeness
from pipeline.inputs.observed import Observed, read_observed
from pipeline.inputs.record import dependencies, files_to_keep
from pipeline.masking import masked
from pipeline.notebook.by_hand import TYPED, Session, executed_code
from pipeline.open_run import OpenRun, utc_now
from pipeline.results.boundary import Inputs
from pipeline.results.record import ResultRecord
from pipeline.robustness_record import LOOK_AHEAD, Robustness
from pipeline.rundir import RunDir


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
    run.log.end("FINISHED" if error is None else "FAILED", run.warnings, None if error is None else str(error))
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
        other = read_json(run.other_strategy)
        yield (
            f"ANOTHER STRATEGY: the notebook ran {other['ran']}, not {other['asked']}, which the spec names. "
            "What is said of the spec's strategy and params does not hold for the results."
        )
    found = Robustness.read(run).leakage
    if found is not None and (found.status == "leak" or (found.status == "unjudged" and found.reason != "constant")):
        yield f"{LOOK_AHEAD[found.status].upper()}: {found.sentence}"
    with contextlib.suppress(OSError, ValueError):
        if doubt := Conventions.from_dict(read_json(run.conventions)).doubt:
            yield doubt


def _boundary(run: OpenRun, observed: Observed) -> Mapping[str, list[str]] | None:
    """Return what of the result was checked, taken as given and not examined, with what is known of the inputs."""
    record = ResultRecord.read(run.dir)
    if record is None or record.boundary is None:
        return None
    named = tuple(masked(uri) for name, (uri, _) in run.inputs.items() if name != NOTEBOOK)
    read = [file for file in observed.files if file.declared is None]
    completeness = observed.completeness or Completeness()
    inputs = Inputs(
        digested=(*named, *(file.path for file in read if file.sha256 is not None)),
        unseen=tuple(file.path for file in read if file.sha256 is None),
        hosts=tuple(host.name for host in observed.hosts),
        children=observed.children,
        complete=tuple(completeness.checked() if observed.completeness else ()),
        incomplete=tuple(completeness.unexamined()),
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
