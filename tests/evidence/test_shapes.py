"""Verification answers whatever the shape of what it reads: no crash, no silence."""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.digest import sha256_bytes
from pipeline.evidence.dsse import STATEMENT, make_envelope
from pipeline.evidence.ledger import head
from pipeline.evidence.ledger_check import check_ledger
from pipeline.evidence.strict_json import canonical
from pipeline.evidence.timestamp import attach_anchor, checkpoint_bytes
from pipeline.evidence.verify import verify_run
from pipeline.evidence.verify_all import verify_ledger
from pipeline.rundir import RunDir
from tests.evidence.sealed_runs import World

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
        body = canonical(odd)
        line = b'{"digest":"%s",%s\n' % (sha256_bytes(body).encode(), body[1:])
        world.ledger.write_bytes(b"".join([*before, line]))
        check, verification = verify_ledger(world.results, trust=world.trust, checkpoint=checkpoint)
        assert verification.problems, odd
        verify_run(signed, trust=world.trust, ledger=check)
