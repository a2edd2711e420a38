"""Genuine files of each kind, the same bytes at every run: what mutations begin with."""

from __future__ import annotations

import base64
import functools
import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pipeline.digest import sha256_bytes
from pipeline.evidence.dsse import sign_detached
from pipeline.evidence.keys import signer_of, signer_pem
from pipeline.evidence.leaf import split
from pipeline.evidence.ledger import ENTRY_TYPE, START, line_of
from pipeline.evidence.strict_json import canonical
from tests.evidence.sealed_runs import trust_in

REPOSITORY = Path(__file__).parents[2]
SIGNER = signer_of(Ed25519PrivateKey.from_private_bytes(b"a" * 32))  # alice of docs/vectors
TRUST = trust_in(SIGNER)
BUNDLE = (REPOSITORY / "docs" / "vectors" / "leaves.zip").read_bytes()
PUBLIC = (REPOSITORY / "docs" / "vectors" / "public.zip").read_bytes()
RUN_IDS = [f"0000000{number}-0000-4000-8000-000000000000" for number in range(4)]

BOB = Ed25519PrivateKey.from_private_bytes(b"b" * 32).public_key().public_bytes_raw()

SPEC = b"""\
[run]
name = "demo"
seed = 7
tags = { purpose = "demo", desk = "a.b" }
cell_timeout = 60.0
parameters = { window = 3, names = ["a", "b"], deep = { x = { y = 1.5 } } }

[data]
source = "sample:sp500"
start = 1999-01-04
end = 2018-12-31
columns = { open = "Open", "close" = 'Close' }
timezone = "America/New_York"
periods_per_year = 252

[strategy]
name = "ma_crossover"
params.fast = 50
params.slow = 0xC8

[backtest]
initial_cash = 100_000.0
fee_bps = 1e0
stop_pct = 2.5
execution = "pipeline"

[benchmark]
source = "sample:sp500"
label = '''the index'''

[tracking]
mode = "off"

[report]
enabled = false
"""
SWEEP = b"""\
[run]
seed = 7

[strategy]
name = "ma_crossover"

[sweep]
name = "wide"
sampler = "grid"
trials = 40
objectives = ["sharpe", "max_drawdown"]
constraints = ["fast < slow"]

[space]
fast = [10, 20, 50]
slow = { low = 100, high = 200, step = 50 }
"backtest.stop_pct" = { low = 1.0, high = 8.0, log = true }

[validation]
walk_forward_windows = 4
folds = 6
"""
SITE = b"""\
title = "Open runs"
files = true
[public]
hide = ["ACME Capital", "build-host-7"]
patterns = ["ACC-[0-9]+", '(?i)acme']
hide_tags = ["client"]
files = ["stats.json", "plots/*.png"]
"""
TRUST_FILE = (
    b'require_signatures = true\n\n[[keys]]\nname = "alice"\nkeyid = "%s"\npublic_key = """\n%s"""\n'
    b'valid_from = 2026-01-01T00:00:00Z\nvalid_to = "2100-01-01"\n\n[[keys]]\nname = "bob"\npublic_key = "%s"\n'
    % (TRUST.keys[0].keyid.encode(), signer_pem(SIGNER).encode(), base64.b64encode(BOB))
)
NOTEBOOK = json.dumps(
    {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        "cells": [
            {"cell_type": "markdown", "id": "a", "metadata": {}, "source": ["# Title\n", "text"]},
            {
                "cell_type": "code", "id": "b", "metadata": {"tags": ["parameters"]}, "execution_count": None,
                "outputs": [], "source": "run_id = None\nseed: int = 0\ndata = {'source': 'x', 'n': [1, 2]}",
            },
            {
                "cell_type": "code", "id": "c", "metadata": {"collapsed": True}, "execution_count": 3,
                "outputs": [{"output_type": "stream", "name": "stdout", "text": ["x"]}], "source": ["print(1)\n"],
            },
            {"cell_type": "raw", "id": "d", "metadata": {"format": "text/html"}, "source": "<b>x</b>"},
        ],
    },
    indent=1,
).encode()  # fmt: skip


@functools.cache
def rows(count: int = 40) -> list[str]:
    """Lines of real daily bars, the header first."""
    import pipeline.backtest.data as data

    return data.source_path("sample:sp500").read_text(encoding="utf-8").splitlines()[: count + 1]


CSV = "\n".join(rows()).encode() + b"\n"


def columnar(suffix: str) -> bytes:
    """The same bars as Parquet or Feather."""
    import io

    import pandas as pd

    frame, out = pd.read_csv(io.BytesIO(CSV)), io.BytesIO()
    frame.to_parquet(out) if suffix == ".parquet" else frame.to_feather(out)
    return out.getvalue()


def ledger_line(entry: dict[str, Any], *, signed: bool = True, digest: str | None = None) -> bytes:
    """Return the line of an entry as the ledger has it: with its signature, and its digest unless another is given.

    An entry of version 2 is written in parts.
    """
    if entry["version"] == 2:
        parts = split(entry, ("a" * 32, "b" * 32))
        line = line_of(parts, sign_detached(canonical(parts), ENTRY_TYPE, SIGNER) if signed else [])
        return line if digest is None else line.replace(json.loads(line)["digest"].encode(), digest.encode(), 1)
    signatures = sign_detached(canonical(entry), ENTRY_TYPE, SIGNER) if signed else []
    body = canonical({"entry": entry, "signatures": signatures})
    return b'{"digest":"%s",%s\n' % ((digest or sha256_bytes(body)).encode(), body[1:])


def ledger_entries() -> list[dict[str, Any]]:
    """The entries of a small ledger, without what chains them: runs, a sweep's trials, a repair, a removal."""
    digest = "ab" * 32
    told = [
        ("run_started", RUN_IDS[0], {}),
        ("run_sealed", RUN_IDS[0], {"signature_keyid": TRUST.keys[0].keyid, "result": None}),
        ("report_rendered", RUN_IDS[0], {"manifest_sha256": digest}),
        ("run_started", RUN_IDS[1], {"origin": "sweep"}),
        ("trial_counted", RUN_IDS[1], {"batch": 0, "trials": 10}),
        ("trials_ended", RUN_IDS[1], {"batch": 0}),
        ("run_failed", RUN_IDS[1], {}),
        ("run_started", RUN_IDS[2], {"origin": f"replay:{RUN_IDS[0]}"}),
        ("run_killed", RUN_IDS[2], {}),
        ("run_adopted", RUN_IDS[3], {}),
        ("run_pruned", RUN_IDS[3], {}),
        ("ledger_repaired", None, {"bytes": 3, "file": "x"}),
    ]
    return [
        {
            "kind": kind, "run_id": run_id, "subject_sha256": digest, "strategy": "ma_crossover", "data_sha256": digest,
            "details": details, "version": 1, "seq": seq, "time": f"2026-01-01T00:00:{seq:02}.000000Z",
            "previous": START, "signer": TRUST.keys[0].keyid,
        }
        for seq, (kind, run_id, details) in enumerate(told)
    ]  # fmt: skip


def ledger_of(entries: list[dict[str, Any]], *, signed: bool = True) -> bytes:
    """Chain and sign entries."""
    previous, lines = START, []
    for entry in entries:
        line = ledger_line(
            {**entry, "previous": previous, "signer": entry["signer"] if signed else None}, signed=signed
        )
        previous = json.loads(line)["digest"]
        lines.append(line)
    return b"".join(lines)


LEDGER = ledger_of(ledger_entries())
LEDGER_2 = ledger_of([{**entry, "version": 2} for entry in ledger_entries()])
