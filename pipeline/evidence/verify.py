"""Verify a run directory: its files against the manifest, the manifest against signature, trust file and ledger."""

from __future__ import annotations

import datetime as dt
import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.digest import sha256_bytes, sha256_file
from pipeline.evidence.dsse import read_envelope
from pipeline.evidence.ledger import RUN_ADOPTED, SEALER, Entry
from pipeline.evidence.ledger_check import LedgerCheck, check_ledger
from pipeline.evidence.manifest import BUILD_TYPES, PREDICATE_TYPE, STATEMENT_TYPE
from pipeline.evidence.problem import Problem, Verification
from pipeline.evidence.statement import check_report
from pipeline.evidence.strict_json import parse_canonical
from pipeline.evidence.tombstone import ARTIFACTS, Tombstone
from pipeline.evidence.trust import Trust
from pipeline.file_names import is_plain_name, one_form
from pipeline.rundir import RunDir
from pipeline.telemetry import about

KNOWN_VERSIONS = frozenset({1})
SHA256 = re.compile(r"[0-9a-f]{64}")
LARGEST_SIZE = 2**53
STATUSES = ("FINISHED", "FAILED")
ADOPTED = "the ledger took the run up later, and says nothing of when it was sealed, or of runs that were left out"

__all__ = ["Problem", "Verification", "check_subjects", "verify_run"]


@about("verify")
def verify_run(
    run: RunDir,
    *,
    trust: Trust | None = None,
    ledger: LedgerCheck | Path | None = None,
    report: bool = True,
    tombstone: Tombstone | None = None,
) -> Verification:
    """Compare a run directory with its manifest, and the manifest with what is given. Reads only; never raises.

    `trust` checks signatures, and asks for them when its policy does. `ledger` is a ledger's path, which is checked
    too, or one that was checked before: for many runs check it once. `report=False` leaves the report out. Files that
    a tombstone of this ledger names, or without a ledger the `tombstone` given, are not missed.
    """
    try:
        chain = check_ledger(ledger, trust=trust) if isinstance(ledger, Path) else ledger
        tombstone = tombstone if chain is None else chain.tombstone_of(run.run_id)
        found = _verified(run, trust, chain, tombstone, report=report)
    except OSError as error:
        path = Path(os.fsdecode(error.filename or run.path))
        name = path.relative_to(run.path).as_posix() if path.is_relative_to(run.path) else path.name
        problem = Problem(name, "edited", f"it cannot be read ({error.strerror})")
        return Verification(run.run_id, (problem,))
    if chain is None or not isinstance(ledger, Path) or found.manifest_sha256 is None:
        return found
    return replace(found, problems=(*found.problems, *chain.problems), notes=(*found.notes, *chain.notes))


def _verified(
    run: RunDir, trust: Trust | None, ledger: LedgerCheck | None, tombstone: Tombstone | None, *, report: bool
) -> Verification:
    if run.path.is_symlink() or not run.manifest.is_file() or run.manifest.is_symlink():
        return Verification(run.run_id, (_unsealed(run),))
    notes: list[str] = []
    data = run.manifest.read_bytes()
    digest = sha256_bytes(data)
    dropped = _dropped(tombstone, digest, notes)
    try:
        manifest = parse_canonical(data)
        problems = [*_manifest_problems(run, manifest)]
        problems += _file_problems(run, manifest, dropped) if not problems else []
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        problems = [Problem("manifest.json", "edited", f"it cannot be read as a manifest ({error})")]
        return Verification(run.run_id, tuple(problems), manifest_sha256=digest)
    signer, found = _signature_problems(run, data, manifest, trust, notes)
    problems += found
    problems += check_report(run, digest, trust, notes) if report else []
    if ledger is not None and ledger.entries:
        said = {str(problem) for problem in (*problems, *ledger.problems)}
        told = _ledger_problems(run, digest, signer, ledger, trust)
        problems += [problem for problem in told if str(problem) not in said]
    adoption = ledger.adoption_of(run.run_id) if ledger is not None else None
    notes += [f"adopted, entry {adoption.seq}: {ADOPTED}"] if adoption else []
    known = trust.find(signer) if trust and signer else None
    name = known.name if known else signer
    files = len(manifest["subject"])
    trusted, adopted = known is not None and not found, adoption.seq if adoption else None
    return Verification(
        run.run_id, tuple(problems), files, digest, tuple(notes), name, trusted=trusted, adopted=adopted
    )


def _unsealed(run: RunDir) -> Problem:
    if run.path.is_symlink() or run.manifest.is_symlink():
        return Problem("manifest.json", "edited", "it is reached through a symbolic link, not part of the run")
    text = "there is no manifest: the run was never sealed (still running, or interrupted)"
    return Problem("manifest.json", "unsealed", text)


def _manifest_problems(run: RunDir, manifest: dict[str, Any]) -> Iterator[Problem]:
    predicate = manifest["predicate"]
    version = predicate["evidence_run"]["schema_version"]
    types = (manifest["_type"], manifest["predicateType"])
    build_type = predicate["buildDefinition"]["buildType"]
    known = type(version) is int and version in KNOWN_VERSIONS and build_type in BUILD_TYPES
    if types != (STATEMENT_TYPE, PREDICATE_TYPE) or not known:
        yield Problem(
            "manifest.json",
            "unknown schema",
            f"{(*types, build_type)}, version {version}; a newer evidence-chain may know it",
        )
    elif (sealed_id := predicate["runDetails"]["metadata"]["invocationId"]) != run.run_id:
        yield Problem("manifest.json", "renamed", f"it seals the run {sealed_id}")
    else:
        _check_dependencies(predicate["buildDefinition"]["resolvedDependencies"])
        yield from _outcome_problems(predicate)
        yield from check_subjects(manifest["subject"])


def _check_dependencies(items: Any) -> None:
    """Raise TypeError unless a run was made from a list of things with names, and digests by their kinds."""
    if not isinstance(items, list):
        raise TypeError("what it was made from is no list")
    for item in items:
        digest = item.get("digest", {})
        if not isinstance(item["name"], str) or not isinstance(digest, dict):
            raise TypeError("what it was made from has no name, or no digest")
        if not all(isinstance(value, str) for value in digest.values()):
            raise TypeError("a digest of what it was made from is no text")


def _outcome_problems(predicate: dict[str, Any]) -> Iterator[Problem]:
    """Yield what no run can say of itself, whoever signed it."""
    status, metadata = predicate["evidence_run"]["status"], predicate["runDetails"]["metadata"]
    if status not in STATUSES:
        yield Problem("manifest.json", "edited", f"its status is {str(status)[:60]!r}, not {' or '.join(STATUSES)}")
    started, finished = (dt.datetime.fromisoformat(metadata[name]) for name in ("startedOn", "finishedOn"))
    if finished < started:
        yield Problem("manifest.json", "edited", f"its run ended at {finished}, before it began at {started}")


def check_subjects(subjects: list[dict[str, Any]]) -> Iterator[Problem]:
    """Yield what no seal of ours lists: names that lead elsewhere, names said twice, digests that are none."""
    seen: dict[str, str] = {}
    for entry in subjects:
        name, digest, size = entry["name"], entry["digest"], entry["annotations"]["size"]
        if not is_plain_name(name):
            yield Problem("manifest.json", "unsafe name", f"{name!r} leads out of the run directory or is not plain")
        elif name in seen.values():
            yield Problem("manifest.json", "edited", f"it lists {name!r} twice")
        elif (form := one_form(name)) in seen:
            yield Problem("manifest.json", "twin name", f"{name!r} and {seen[form]!r} are one file on some systems")
        elif digest.keys() != {"sha256"} or not SHA256.fullmatch(digest["sha256"]):
            yield Problem("manifest.json", "edited", f"{name!r} has no SHA-256")
        elif type(size) is not int or not 0 <= size <= LARGEST_SIZE:
            yield Problem("manifest.json", "edited", f"{name!r} has no size")
        seen[one_form(str(name))] = name


def _dropped(tombstone: Tombstone | None, digest: str, notes: list[str]) -> Tombstone | None:
    """Return the tombstone that says which files of this very seal were dropped, and add to `notes` what it says."""
    if tombstone is None or tombstone.level != ARTIFACTS or tombstone.subject != digest:
        return None
    notes.append(f"{tombstone}, entry {tombstone.seq}: {tombstone.files} files, {', '.join(tombstone.dropped)}")
    return tombstone


def _file_problems(run: RunDir, manifest: dict[str, Any], dropped: Tombstone | None) -> Iterator[Problem]:
    sealed = {entry["name"]: entry for entry in manifest["subject"]}
    present = set(run.sealed_paths())
    added = sorted(present - sealed.keys())
    for name in sorted(sealed.keys() - present):
        if dropped is not None and dropped.covers(name):
            continue
        hint = _moved(run, sealed[name], name, added)
        yield Problem(name, "missing", f"the seal lists it, the directory does not have it{hint}")
    for name in added:
        yield Problem(name, "added", "the directory has it, the seal does not list it")
    for name in sorted(sealed.keys() & present):
        yield from _content_problem(run, name, sealed[name])


def _moved(run: RunDir, entry: dict[str, Any], name: str, added: list[str]) -> str:
    """Say where a missing file went, when an added one has its content, or its name in another Unicode form."""
    form = unicodedata.normalize("NFC", name)
    for other in added:
        if unicodedata.normalize("NFC", other) == form:
            return f"; {other!r} is the same name in another Unicode form"
        path = run.path / other
        regular = path.is_file() and not path.is_symlink() and path.stat().st_size == entry["annotations"]["size"]
        if regular and sha256_file(path) == entry["digest"]["sha256"]:
            return f"; it was renamed to {other!r}"
    return ""


def _content_problem(run: RunDir, name: str, entry: dict[str, Any]) -> Iterator[Problem]:
    path = run.path / PurePosixPath(name)
    try:
        if path.is_symlink() or not path.is_file():
            yield Problem(name, "edited", "it is not a regular file any more")
            return
        size, sealed_size = path.stat().st_size, entry["annotations"]["size"]
        if size != sealed_size:
            yield Problem(name, "edited", f"{size} bytes, the seal says {sealed_size}")
        elif sha256_file(path) != entry["digest"]["sha256"]:
            yield Problem(name, "edited", "its SHA-256 is not the sealed one")
    except OSError as error:
        yield Problem(name, "edited", f"it cannot be read ({error.strerror})")


def _signature_problems(
    run: RunDir, data: bytes, manifest: dict[str, Any], trust: Trust | None, notes: list[str]
) -> tuple[str | None, list[Problem]]:
    """Return the keyid that signed, None when nobody did, and what is wrong with the signature."""
    name = run.signature.name
    if not run.signature.is_file() and not run.signature.is_symlink():
        notes.append("the run is unsigned")
        required = trust is not None and trust.demands
        return None, [Problem(name, "unsigned", f"{trust.source} asks for a signature")] if required and trust else []
    try:
        signed = read_envelope(b"" if run.signature.is_symlink() else run.signature.read_bytes())
    except (OSError, ValueError) as error:
        return None, [Problem(name, "bad signature", f"it cannot be read as a signature ({error})")]
    if signed.payload != data:
        return signed.keyid, [Problem(name, "bad signature", "it signs another manifest than the one that is here")]
    if trust is None:
        notes.append(f"signed by the key {signed.keyid[:16]}…; not checked: there is no trust file")
        return signed.keyid, []
    when = manifest["predicate"]["runDetails"]["metadata"].get("finishedOn")
    return signed.keyid, [Problem(name, kind, message) for kind, message in trust.check(signed, when)]


def _ledger_problems(
    run: RunDir, digest: str, signer: str | None, ledger: LedgerCheck, trust: Trust | None
) -> Iterator[Problem]:
    seals, report = ledger.seals_of(run.run_id), ledger.report_of(run.run_id)
    for told in (told for told in (*seals, report) if told and told.signed and trust):
        yield from _entry_problems(told, trust)
    if not seals:
        text = "no entry says this run was sealed: it was added past the ledger, or its process was killed before"
        yield Problem("ledger.jsonl", "missing entry", f"{text} (then: `evidence ledger adopt {run.run_id}`)")
        return
    gone = ledger.tombstone_of(run.run_id)
    if gone is not None and gone.level is not None and gone.gone:
        text = (
            f"the ledger's entry {gone.seq} says {gone}, and here it is (`evidence prune` goes on with a removal that"
        )
        yield Problem("manifest.json", "added", f"{text} was interrupted; `evidence restore` brings an archive back)")
    others = [entry for entry in seals if entry.event.subject_sha256 != digest]
    for entry in others:
        text = f"the ledger's entry {entry.seq} recorded the manifest sha256:{entry.event.subject_sha256}"
        yield Problem("manifest.json", "edited", f"{text}, this one is another")
    if not others:
        yield from _sealer_problems(run, seals, signer)
        yield from _adoption_problems(run, seals, signer, trust)
    if report is not None and run.report.is_file():
        yield from _report_problems(run, report)


def _sealer_problems(run: RunDir, seals: list[Entry], signer: str | None) -> Iterator[Problem]:
    """Compare who signed with the last seal's entry that names somebody, and with who signed the entries.

    Who seals and signs a run signs its entry: without a signature there the ledger was written anew. An adopted run may
    have been signed by somebody else.
    """
    for entry in seals:
        if signer and entry.signed is None and entry.event.kind != RUN_ADOPTED:
            text = (
                f"entry {entry.seq}: the run it says was sealed is signed, so its entry was, too: it was written anew"
            )
            yield Problem("ledger.jsonl", "unsigned", text)
    said = [(entry.seq, str(keyid)) for entry in seals if (keyid := entry.event.details.get(SEALER))]
    for seq, sealer in said[-1:]:
        if not signer:
            yield Problem(run.signature.name, "missing", f"the ledger's entry {seq} says the run is signed")
        elif sealer != signer:
            text = f"signed by the key {signer[:16]}…, the ledger's entry {seq} says {sealer[:16]}…"
            yield Problem(run.signature.name, "wrong signer", text)


def _adoption_problems(run: RunDir, seals: list[Entry], signer: str | None, trust: Trust | None) -> Iterator[Problem]:
    """Ask for a signature on the adoption of a signed run, where keys are named: a new ledger is anybody's to write."""
    adopted = all(entry.event.kind == RUN_ADOPTED for entry in seals)
    if signer and trust and trust.keys and adopted and not any(entry.signed for entry in seals):
        text = (
            f"entry {seals[-1].seq} adopted the signed run, and nobody signed that: the ledger may be a new one, with "
        )
        remedy = f"other runs left out (with a key of {trust.source}: `evidence ledger adopt {run.run_id}`)"
        yield Problem("ledger.jsonl", "unsigned", text + remedy)


def _entry_problems(entry: Entry, trust: Trust | None) -> Iterator[Problem]:
    if entry.signed is not None and trust is not None:
        for kind, message in trust.check(entry.signed, entry.time):
            yield Problem("ledger.jsonl", kind, f"entry {entry.seq}: {message}")


def _report_problems(run: RunDir, entry: Entry) -> Iterator[Problem]:
    """Compare the report with the last one the ledger knows of."""
    name, statement = (path.relative_to(run.path).as_posix() for path in (run.report, run.report_statement))
    if sha256_file(run.report) != entry.event.subject_sha256:
        yield Problem(name, "edited", f"it is not the report of the ledger's entry {entry.seq}")
    if entry.event.details.get(SEALER) and not run.report_statement.is_file():
        yield Problem(statement, "missing", f"the ledger's entry {entry.seq} says the report is signed")
