"""Make sealed, signed, chained runs in a moment, for the tests of the evidence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.digest import canonical_json, sha256_bytes
from pipeline.evidence import events
from pipeline.evidence.dsse import sign_detached, sign_manifest
from pipeline.evidence.keys import signer_of, signer_pem
from pipeline.evidence.ledger import ENTRY_TYPE, START, Event, append
from pipeline.evidence.manifest import Outcome
from pipeline.evidence.statement import write_report_statement
from pipeline.evidence.strict_json import canonical
from pipeline.evidence.trust import Trust, trusted
from pipeline.files import write_atomic
from pipeline.rundir import RunDir, new_run_id
from pipeline.running import write_aside
from tests.sealing import BEGAN, ENDED, write_seal

SPEC = {"run": {"name": "x"}, "strategy": {"name": "ma_crossover", "params": {"fast": 20}}}
DATA_SHA256 = "ab" * 32
FILES = {
    "config_snapshot.json": canonical_json(SPEC),
    "stats.json": b'{"sharpe": 1.0}\n',
    "equity.csv": b"timestamp,equity\n2020-01-01T00:00:00Z,100000.0\n",
    "plots/equity_curve.png": b"\x89PNG\r\n" + bytes(range(64)),
    "reports/trades_summary.json": b'{"total_trades": 3}\n',
    "debug/empty": b"",
}
REPORT = b"<!doctype html><title>report</title>"


def new_signer() -> Any:
    """Return a signer with a new key."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return signer_of(Ed25519PrivateKey.generate())


def trust_in(*signers: Any, names: tuple[str, ...] = ("alice", "bob"), **policy: Any) -> Trust:
    """Return a trust file's content that allows these signers."""
    keys = tuple(trusted(signer_pem(signer), name) for signer, name in zip(signers, names, strict=False))
    return Trust(keys, source="trusted_keys.toml", **policy)


def seal(run: RunDir, status: str = "FINISHED", warnings: tuple[str, ...] = ()) -> str:
    """Write the manifest of what is in the run directory."""
    return write_seal(run, SPEC, outcome=Outcome(status, BEGAN, ENDED, stages={"notebook": 1.25}, warnings=warnings))


@dataclass(frozen=True)
class World:
    """A results directory with a ledger and the key that signs everything in it."""

    results: Path
    signer: Any

    @property
    def ledger(self) -> Path:
        return self.results / "ledger.jsonl"

    @property
    def trust(self) -> Trust:
        return trust_in(self.signer)

    def run(
        self,
        *,
        report: bytes | None = REPORT,
        files: dict[str, bytes] | None = None,
        warnings: tuple[str, ...] = (),
    ) -> RunDir:
        """Make a run as the pipeline does: started, sealed, signed, in the ledger, with a report."""
        run = RunDir.create(self.results, new_run_id())
        for name, data in (files or FILES).items():
            write_atomic(run.path / name, data)
        append(self.ledger, events.started(run, strategy="ma_crossover", data_sha256=DATA_SHA256), self.signer)
        seal(run, warnings=warnings)
        run.clear_scratch()
        sign_manifest(run, self.signer)
        append(self.ledger, events.sealed(run), self.signer)
        if report is not None:
            write_aside(run, run.report, report)
            write_aside(run, run.report.with_name("render.json"), b"{}\n")
            write_report_statement(run, self.signer)
            append(self.ledger, events.rendered(run), self.signer)
        return run


def kinds(problems: Any) -> list[tuple[str, str]]:
    """Return path and kind of each problem."""
    return [(problem.path, problem.kind) for problem in problems]


def line_of_format_1(event: Event, *, seq: int = 0, previous: str = START, signer: Any = None) -> bytes:
    """Return a line of a ledger as versions before 0.2 wrote it."""
    entry = {
        **event.__dict__, "version": 1, "seq": seq, "time": "2026-01-01T00:00:00.000000Z", "previous": previous,
        "signer": signer.public_key.keyid if signer else None,
    }  # fmt: skip
    signatures = sign_detached(canonical(entry), ENTRY_TYPE, signer) if signer else []
    body = canonical({"entry": entry, "signatures": signatures})
    return b'{"digest":"%s",%s\n' % (sha256_bytes(body).encode(), body[1:])
