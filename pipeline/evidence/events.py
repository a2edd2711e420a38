"""The ledger's events about a run, read from what the run directory says."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.backtest.span import span_text
from pipeline.digest import sha256_bytes, sha256_file
from pipeline.errors import VerificationError
from pipeline.evidence.dsse import read_envelope
from pipeline.evidence.inputs import NOTEBOOK
from pipeline.evidence.ledger import (
    ORIGIN,
    REPORT_RENDERED,
    RUN_ADOPTED,
    RUN_FAILED,
    RUN_SEALED,
    RUN_STARTED,
    SEALER,
    SWEEP,
    Entry,
    Event,
    append_many,
)
from pipeline.evidence.ledger_check import LedgerCheck, check_ledger
from pipeline.evidence.ledger_trials import counted_event, ended_events
from pipeline.evidence.manifest import BUILDER, read_manifest
from pipeline.evidence.manifest import SWEEP as SWEEP_BUILD
from pipeline.evidence.strict_json import parse_canonical
from pipeline.evidence.trial import RESULT, SCOPE, Scope, TrialResult, configuration, counted_as, rate_of
from pipeline.evidence.verify import verify_run
from pipeline.files import read_json
from pipeline.objects import read_object
from pipeline.results.record import ResultRecord
from pipeline.rundir import RunDir

if TYPE_CHECKING:
    from pipeline.evidence.signer import Signer

MOST_INSTRUMENTS = 2_000  # that an entry names; a run on more counts as one on unknown ones


def started(
    run: RunDir, *, strategy: str, data_sha256: str | None, origin: str = "", scope: Scope | None = None
) -> Event:
    """Return run_started: written when a run is opened, it makes the run count as a trial whatever becomes of it.

    `origin` says who asked for the run; that of a replay begins with `replay:`, and a replay is no new trial. `scope`
    says what it is a trial of; without one it counts for its strategy and its data alone.
    """
    details: dict[str, Any] = {ORIGIN: origin} if origin else {}
    details |= {SCOPE: scope.to_details()} if scope is not None else {}
    return Event(RUN_STARTED, run.run_id, sha256_file(run.config_json), strategy, data_sha256, details)


def sealed(run: RunDir) -> Event:
    """Return run_sealed or run_failed, as the manifest says, for a run that is signed already if anybody signs.

    Raises VerificationError when the manifest or its signature cannot be read.
    """
    data = run.manifest.read_bytes()
    try:
        predicate = parse_canonical(data)["predicate"]
        kind = RUN_SEALED if predicate["evidence_run"]["status"] == "FINISHED" else RUN_FAILED
        definition = predicate["buildDefinition"]
        spec, inputs = definition["externalParameters"]["spec"], _data(definition)
        details = {**_signer(run.signature), **_result(run, definition, inputs), **_scope(run, definition)}
        return Event(kind, run.run_id, sha256_bytes(data), (spec.get("strategy") or {}).get("name"), inputs, details)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise VerificationError(f"The manifest {run.manifest} cannot be read: {error}.") from None


def _result(run: RunDir, definition: dict[str, Any], data_sha256: str | None) -> dict[str, Any]:
    """Return what a seal says of a run's result, so that it outlasts the directory; of a sweep nothing."""
    if definition["buildType"] == SWEEP_BUILD:
        return {}
    try:
        stats = read_object(run.stats)
    except (OSError, ValueError):
        stats = {}
    spec = definition["externalParameters"]["spec"]
    found = TrialResult.of_stats(stats, rate_of(spec), configuration(spec, data_sha256))
    return {RESULT: None if found is None else found.to_row()}


def _scope(run: RunDir, definition: dict[str, Any]) -> dict[str, Any]:
    """Return what a run of a notebook that names no strategy turned out to be a trial of; nothing of any other run."""
    spec = definition["externalParameters"]["spec"]
    record = None if spec.get("strategy") or definition["buildType"] == SWEEP_BUILD else ResultRecord.read(run)
    if record is None or not 0 < len(record.symbols) <= MOST_INSTRUMENTS:
        return {}
    digests = (item["digest"]["sha256"] for item in definition["resolvedDependencies"] if item["name"] == NOTEBOOK)
    family = counted_as((spec.get("run") or {}).get("notebook"))
    first, last = _span(run)
    return {SCOPE: Scope(None, None, family, record.symbols, first, last, next(digests, None)).to_details()}


def _span(run: RunDir) -> tuple[str | None, str | None]:
    """Return the first and the last time of a result, None where its metrics do not tell."""
    try:
        stats = read_json(run.stats)
        first, last = (span_text(dt.datetime.fromisoformat(stats[name])) for name in ("start", "end"))
    except (OSError, ValueError, KeyError, TypeError):
        return None, None
    return first, last


def asked(run: RunDir) -> Event:
    """Return an event that says which strategy on which data a run is about: its seal's, else the one of its start.

    Raises VerificationError when there is neither.
    """
    if run.manifest.is_file():
        return sealed(run)
    told = [entry.event for entry in check_ledger(run.ledger).runs.get(run.run_id, []) if entry.event.strategy]
    if not told:
        raise VerificationError(f"The run {run.run_id} was never sealed, and the ledger does not know its start.")
    return told[0]


def rendered(run: RunDir) -> Event:
    """Return report_rendered, for a report that has its statement: its digest, the manifest's, who signed it."""
    details = {"manifest_sha256": sha256_file(run.manifest), **_signer(run.report_statement)}
    return Event(REPORT_RENDERED, run.run_id, sha256_file(run.report), details=details)


def adopt_run(run: RunDir, signer: Signer | None = None, *, ledger: LedgerCheck | None = None) -> Entry | None:
    """Add a run that was sealed without an entry (before there was a ledger, or by a process killed in between).

    The entry says run_adopted, not run_sealed: it proves the run from now on only. Of a sweep whose trials were not
    counted, they are now. An adoption that nobody signed is entered again, signed, for a `signer`. Returns None when
    the ledger has the run already; raises VerificationError for a run that does not verify. `ledger` is one that was
    read before.
    """
    known = ledger or check_ledger(run.ledger)
    adoption = known.adoption_of(run.run_id)
    to_be_signed = adoption is not None and adoption.signed is None and signer is not None
    if known.seal_of(run.run_id) is not None and not to_be_signed:
        return None
    verify_run(run).raise_for_problems()
    seal = sealed(run)
    origin = read_manifest(run)["predicate"]["runDetails"]["builder"]["id"].removeprefix(BUILDER)
    adopted = replace(seal, kind=RUN_ADOPTED, details={**seal.details, ORIGIN: origin})
    counted = any(one.run_id == run.run_id for one in known.trials.counted)
    tried = _tried(run, seal) if origin == SWEEP and not counted else []
    return append_many(run.ledger, [adopted, *tried], signer)[0]


def _tried(run: RunDir, seal: Event) -> list[Event]:
    """Return the entries that count the trials of a sweep, as its sealed list has them, and tell their results."""
    subject, scope = sha256_file(run.trials), Scope(seal.strategy, seal.data_sha256)
    trials = [json.loads(line) for line in run.trials.read_bytes().splitlines()]
    if not trials:
        return []
    rate = rate_of(read_manifest(run)["predicate"]["buildDefinition"]["externalParameters"]["spec"])
    results = [TrialResult.of_stats(trial["stats"], rate) if trial["state"] == "COMPLETE" else None for trial in trials]
    counted = counted_event(run.run_id, subject, scope, batch=0, trials=len(trials))
    return [counted, *ended_events(run.run_id, subject, scope, batch=0, results=results)]


def _signer(envelope: Path) -> dict[str, str]:
    return {SEALER: read_envelope(envelope.read_bytes()).keyid} if envelope.is_file() else {}


def _data(definition: dict[str, Any]) -> str | None:
    found = [item["digest"]["sha256"] for item in definition["resolvedDependencies"] if item["name"] == "data"]
    return found[0] if found else None
