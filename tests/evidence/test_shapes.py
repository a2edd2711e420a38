"""Verification answers whatever the shape of what it reads: no crash, no silence."""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pipeline.digest import sha256_bytes
from pipeline.errors import ArtifactError
from pipeline.evidence.dsse import STATEMENT, make_envelope
from pipeline.evidence.ledger import head, line_of
from pipeline.evidence.ledger_check import check_ledger
from pipeline.evidence.strict_json import LONGEST_READ, canonical
from pipeline.evidence.timestamp import attach_anchor, checkpoint_bytes
from pipeline.evidence.verify import verify_run
from pipeline.evidence.verify_all import verify_ledger
from pipeline.rundir import RunDir
from tests.evidence.sealed_runs import FILES, World, kinds

ODD: tuple[Any, ...] = (None, True, -1, 2**53 - 1, "x", "", [], {}, [[]], {"x": {}})
GONE = object()


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def odd_versions(value: Any) -> Iterator[Any]:
    """Yield `value` with each value in it replaced by odd ones, or taken away."""
    for path in places(value):
        for odd in (*ODD, GONE):
            changed = copy.deepcopy(value)
            holder = changed
            for key in path[:-1]:
                holder = holder[key]
            if odd is GONE:
                del holder[path[-1]]
            elif holder[path[-1]] == odd:
                continue
            else:
                holder[path[-1]] = odd
            yield changed


@pytest.mark.slow
def test_a_manifest_of_any_shape_is_answered(world: World, signed: RunDir) -> None:
    """Any part of it replaced or gone, signed anew by the right key or not: found, by name."""
    key = dataclasses.replace(world.trust.keys[0], valid_to=dt.datetime(2100, 1, 1, tzinfo=dt.UTC))
    trust = dataclasses.replace(world.trust, keys=(key,))
    ledger = check_ledger(world.ledger)
    manifest = json.loads(signed.manifest.read_bytes())
    for number, odd in enumerate(odd_versions(manifest)):
        data = canonical(odd)
        signed.manifest.write_bytes(data)
        if number % 5 == 0:
            signed.signature.write_bytes(make_envelope(data, STATEMENT, world.signer))
        assert verify_run(signed, trust=trust, ledger=ledger).problems, odd
        verify_run(signed)


@pytest.mark.slow
def test_a_report_s_statement_of_any_shape_is_answered(world: World, signed: RunDir) -> None:
    """Signed by the right key, whatever it says: no crash, and without the key it is always found."""
    signed.report_statement.rename(signed.report_statement_unsigned)
    from pipeline.evidence.statement import report_statement

    for odd in odd_versions(report_statement(signed)):
        signed.report_statement_unsigned.write_bytes(canonical(odd))
        verify_run(signed, trust=world.trust)
        assert verify_run(signed, trust=world.trust, ledger=check_ledger(world.ledger)).problems


@pytest.mark.slow
def test_a_ledger_s_entry_of_any_shape_is_answered(world: World, signed: RunDir, tmp_path: Any) -> None:
    """Any part of the last entry replaced or gone, its digest made to fit: found, without a crash."""
    kept = head(world.ledger)
    assert kept is not None
    (tmp_path / "token.ots").write_bytes(bytes.fromhex(sha256_bytes(checkpoint_bytes(kept))))
    attach_anchor(world.ledger, kept, tmp_path / "token.ots", world.signer)
    checkpoint = head(world.ledger)
    *before, last = world.ledger.read_bytes().splitlines(keepends=True)
    value = json.loads(last)
    for odd in odd_versions({"entry": value["entry"], "signatures": value["signatures"]}):
        try:
            line = line_of(odd["entry"], odd["signatures"])
        except (KeyError, TypeError):
            line = canonical({"digest": "0" * 64, **odd}) + b"\n"
        world.ledger.write_bytes(b"".join([*before, line]))
        check, verification = verify_ledger(world.results, trust=world.trust, checkpoint=checkpoint)
        assert verification.problems, odd
        verify_run(signed, trust=world.trust, ledger=check)


def test_names_that_are_one_on_other_systems_are_not_sealed(world: World) -> None:
    """`A.csv` beside `a.csv` is one file on macOS and Windows: the copy that arrives there would not verify."""
    with pytest.raises(ArtifactError, match=r"'A\.csv' and 'a\.csv'"):
        world.run(files=FILES | {"A.csv": b"1", "a.csv": b"2"})


CONTRADICTIONS: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "a version that is no number": (lambda p: p["evidence_run"].update(schema_version=True), "unknown schema"),
    "a status of one's own": (lambda p: p["evidence_run"].update(status="banana"), "edited"),
    "what it was made from is no list": (lambda p: p["buildDefinition"].update(resolvedDependencies={}), "edited"),
    "a digest that is no text": (
        lambda p: p["buildDefinition"]["resolvedDependencies"][0].update(digest={"sha256": []}),
        "edited",
    ),
    "an end before the beginning": (
        lambda p: p["runDetails"]["metadata"].update(finishedOn="2019-01-01T00:00:00.000000Z"),
        "edited",
    ),
}


@pytest.mark.parametrize(("change", "kind"), CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
def test_a_signed_contradiction_is_one(world: World, signed: RunDir, change: Any, kind: str) -> None:
    """The right key makes nothing true that no run can say of itself."""
    manifest = json.loads(signed.manifest.read_bytes())
    change(manifest["predicate"])
    signed.manifest.write_bytes(canonical(manifest))
    signed.signature.write_bytes(make_envelope(signed.manifest.read_bytes(), STATEMENT, world.signer))
    assert ("manifest.json", kind) in kinds(verify_run(signed, trust=world.trust, report=False).problems)


def test_signed_twins_are_named(world: World, signed: RunDir) -> None:
    """A seal that lists both `stats.json` and `STATS.json` cannot be checked where they are one."""
    manifest = json.loads(signed.manifest.read_bytes())
    subject = next(item for item in manifest["subject"] if item["name"] == "stats.json")
    manifest["subject"].append(subject | {"name": "STATS.json"})
    signed.manifest.write_bytes(canonical(manifest))
    (signed.path / "STATS.json").write_bytes(signed.stats.read_bytes())
    assert ("manifest.json", "twin name") in kinds(verify_run(signed, report=False).problems)


def test_a_manifest_that_is_too_long_to_check_is_refused_at_once(world: World, signed: RunDir) -> None:
    """A stranger's seal of 45 MB is a problem, not minutes of parsing; ours are never that long."""
    signed.manifest.write_bytes(b"[" + b"0," * LONGEST_READ + b"0]")
    assert kinds(verify_run(signed, report=False).problems) == [("manifest.json", "edited")]


def test_times_that_run_backwards_deserve_a_note(world: World, signed: RunDir) -> None:
    """A clock can be set back, so it is no problem; who reads the times is told."""
    entries = check_ledger(world.ledger).entries
    times = iter(["2026-01-02T00:00:00.000000Z", "2026-01-01T00:00:00.000000Z", "2026-01-03T00:00:00.000000Z"])
    previous, lines = "0" * 64, []
    for entry in entries:
        value = {**entry.event.__dict__, "version": 1, "seq": entry.seq, "previous": previous, "signer": None}
        body = canonical({"entry": value | {"time": next(times)}, "signatures": []})
        previous = sha256_bytes(body)
        lines.append(b'{"digest":"%s",%s\n' % (previous.encode(), body[1:]))
    world.ledger.write_bytes(b"".join(lines))
    found = check_ledger(world.ledger)
    assert found.ok
    assert "the times of 1 entries lie before those of the entries before them, the first is 1" in found.notes
