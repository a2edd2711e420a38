"""Make the bundles of docs/vectors, once, not at every change: `python -m tests.evidence.make_vectors KIND`.

KIND is `format-1`, `leaves` or `public`.

The key is made from a seed that everybody knows, so that anybody can sign further vectors; it vouches for nothing.
"""

from __future__ import annotations

import base64
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pipeline.digest import sha256_bytes
from pipeline.evidence.bundle import PROGRAM, PUBLIC_REPORT, make_bundle
from pipeline.evidence.dsse import STATEMENT, make_envelope, read_envelope
from pipeline.evidence.keys import signer_of, signer_pem
from pipeline.evidence.leaves import LEAVES
from pipeline.evidence.luggage import NOTHING, LeftOut, Luggage
from pipeline.evidence.strict_json import canonical
from pipeline.rundir import RunDir
from tests.evidence.sealed_runs import World
from tests.evidence.test_bundle import repack, unpack
from tests.evidence.test_leaves import LIES, busy

VECTORS = Path(__file__).parents[2] / "docs" / "vectors"
DER = bytes.fromhex("302a300506032b6570032100")
SMALL_ORDER = (1).to_bytes(32, "little")
ANYBODYS = SMALL_ORDER + bytes(32)  # a signature that this key makes good for every message
Files = dict[str, bytes]

alice, mallory = (signer_of(Ed25519PrivateKey.from_private_bytes(seed * 32)) for seed in (b"a", b"m"))


def listed(files: Files, signer: Any = alice, **predicate: Any) -> None:
    """Write the list of the bundle's files again, signed by `signer`, or not at all."""
    old = read_envelope(files.pop("bundle.dsse.json")).payload
    statement = json.loads(old)
    digests = {name: sha256_bytes(data) for name, data in files.items() if name != "SHA256SUMS"}
    statement["subject"] = [{"name": name, "digest": {"sha256": digests[name]}} for name in sorted(digests)]
    statement["predicate"] |= predicate
    payload = canonical(statement)
    if signer is None:
        files["bundle.json"] = payload
    else:
        files["bundle.dsse.json"] = make_envelope(payload, STATEMENT, signer)


def without_program(files: Files) -> None:
    """Leave the program out, so that the vectors do not change with it."""
    del files[PROGRAM]
    listed(files)


def forged(files: Files, run_id: str) -> None:
    files[f"{run_id}/stats.json"] = b'{"sharpe": 2.61}\n'
    files[f"{run_id}/report/index.html"] = b"<!doctype html><title>Sharpe 2.61</title>"


def sealed_again(files: Files, run_id: str, signer: Any) -> None:
    """Forge as somebody can who has this project and a key of another name."""
    forged(files, run_id)
    manifest = json.loads(files[f"{run_id}/manifest.json"])
    stats = files[f"{run_id}/stats.json"]
    for subject in manifest["subject"]:
        if subject["name"] == "stats.json":
            subject |= {"digest": {"sha256": sha256_bytes(stats)}, "annotations": {"size": len(stats)}}
    files[f"{run_id}/manifest.json"] = canonical(manifest)
    files[f"{run_id}/manifest.dsse.json"] = make_envelope(files[f"{run_id}/manifest.json"], STATEMENT, signer)
    for name in [name for name in files if name.startswith((f"{run_id}/report/", "ledger/", "keys/"))]:
        del files[name]
    files["keys/alice.pem"] = signer_pem(signer).encode()
    listed(files, signer, manifest_sha256=sha256_bytes(files[f"{run_id}/manifest.json"]), ledger=None)


def signed_by_anybody(files: Files, run_id: str) -> None:
    """Seal a forgery again, under a key of small order, whose one signature is good for every message."""
    sealed_again(files, run_id, mallory)
    pem = base64.b64encode(DER + SMALL_ORDER)
    files["keys/alice.pem"] = b"-----BEGIN PUBLIC KEY-----\n%s\n-----END PUBLIC KEY-----\n" % pem
    signatures = [{"keyid": sha256_bytes(DER + SMALL_ORDER), "sig": base64.b64encode(ANYBODYS).decode()}]
    manifest = f"{run_id}/manifest.dsse.json"
    files[manifest] = canonical(json.loads(files[manifest]) | {"signatures": signatures})
    listed(files, mallory)
    files["bundle.dsse.json"] = canonical(json.loads(files["bundle.dsse.json"]) | {"signatures": signatures})


def signed_twice(files: Files, run_id: str) -> None:
    envelope = json.loads(files[f"{run_id}/manifest.dsse.json"])
    envelope["signatures"] *= 2
    files[f"{run_id}/manifest.dsse.json"] = canonical(envelope)
    listed(files)


CHANGES: dict[str, Callable[[Files, str], Any]] = {
    "good": lambda files, run_id: None,
    "unsigned": lambda files, run_id: listed(files, None),
    "forged": forged,
    "forged-listed-unsigned": lambda files, run_id: (forged(files, run_id), listed(files, None)),
    "signed-by-another": lambda files, run_id: sealed_again(files, run_id, mallory),
    "signed-twice": signed_twice,
    "small-order": signed_by_anybody,
}


def with_leaves(files: Files, lines: list[bytes]) -> None:
    """Replace the leaves of the ledger, and have alice sign the list of files again."""
    files[LEAVES] = b"".join(line + b"\n" for line in lines)
    listed(files)


LEAF_CHANGES: dict[str, Callable[[Files, str], Any]] = {
    "leaves": lambda files, run_id: None,
    "leaves-relabelled": lambda files, run_id: with_leaves(files, LIES["fewer trials of a batch"](leaves_in(files))),
    "leaves-hidden": lambda files, run_id: with_leaves(
        files, LIES["an entry that is hidden as an old one"](leaves_in(files))
    ),
    "leaves-left-out": lambda files, run_id: with_leaves(files, leaves_in(files)[1:]),
}


def left_out_in(files: Files) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(read_envelope(files["bundle.dsse.json"]).payload)["predicate"]["left_out"]
    return found


HERE = {"name": "stats.json", "why": "it is here", "sha256": "ab" * 32}
PUBLIC_CHANGES: dict[str, Callable[[Files, str], Any]] = {
    "public": lambda files, run_id: None,
    "public-edited": lambda files, run_id: files.update({f"{run_id}/stats.json": b'{"sharpe": 2.61}\n'}),
    "public-other-report": lambda files, run_id: files.update({PUBLIC_REPORT: b"<!doctype html><title>2.61</title>"}),
    "public-other-seal": lambda files, run_id: listed(files, manifest_sha256="ab" * 32),
    "public-here-and-left-out": lambda files, run_id: listed(files, left_out=[*left_out_in(files), HERE]),
}


def public_luggage(run: RunDir) -> Luggage:
    """Choose what a public bundle shows by hand, so that no rule of redaction changes the vectors."""
    shown = frozenset({"stats.json", "equity.csv"})
    left = [name for name in (*run.sealed_paths(), "manifest.json", "manifest.dsse.json") if name not in shown]
    left_out = tuple(LeftOut(name, "it is private", sha256_bytes((run.path / name).read_bytes())) for name in left)
    files = {PUBLIC_REPORT: b"<!doctype html><title>report</title>"}
    return Luggage(files, ("ledger",), left_out, frozenset({0, 1}), shown)


def leaves_in(files: Files) -> list[bytes]:
    return files[LEAVES].splitlines()


def main(which: str) -> None:
    """Write the vectors of one kind."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        world = World(work / "results", alice)
        run = world.run() if which == "format-1" else busy(world)
        world.run()
        leaves = Luggage({}, ("ledger",), scopes=frozenset({0, 1}))
        luggage = {"leaves": leaves, "public": public_luggage(run)}.get(which, NOTHING)
        make_bundle(run, work / "whole.zip", ledger=world.ledger, signer=alice, luggage=luggage)
        folder = unpack(work / "whole.zip", work / "whole")
        base = unpack(repack(folder, work / "base.zip", without_program), work / "base")
        for title, change in {"leaves": LEAF_CHANGES, "public": PUBLIC_CHANGES}.get(which, CHANGES).items():
            repack(base, VECTORS / f"{title}.zip", lambda files, change=change: change(files, run.run_id))
        if which == "format-1":
            good = (VECTORS / "good.zip").read_bytes()
            (VECTORS / "torn.zip").write_bytes(good[: len(good) * 2 // 3])
    (VECTORS / "alice.pem").write_text(signer_pem(alice), encoding="ascii")


if __name__ == "__main__":
    main(sys.argv[1])
