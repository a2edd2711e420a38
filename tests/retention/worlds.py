"""Projects with runs that can be removed: sealed, in the ledger, with kept inputs, an outbox, a site."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.digest import sha256_bytes
from pipeline.evidence import events
from pipeline.evidence.keys import signer_pem
from pipeline.evidence.ledger import ORIGIN, RUN_STARTED, Event, append
from pipeline.evidence.manifest import Input
from pipeline.evidence.problem import Problem
from pipeline.evidence.statement import write_report_statement
from pipeline.evidence.trust import TRUST_FILE, project_trust
from pipeline.evidence.verify_all import verify_all
from pipeline.files import list_files, write_atomic
from pipeline.retention.kept_inputs import inputs_of
from pipeline.rundir import INPUTS_DIR, LEDGER, PRUNING_DIR, RunDir, new_run_id, run_ids
from pipeline.running import write_state
from pipeline.settings import Settings
from tests.site.site_runs import Planned, make_run

BULK = {
    "notebook.ipynb": b'{"cells": []}\n',
    "plots/equity_curve.png": bytes(range(256)),
    "trades.csv": b"side\nlong\n",
    "debug/modules.json": b"{}\n",
}
SHARED = b"timestamp,close\n2020-01-01,1\n"
LATER = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True)
class World:
    """A project whose runs are signed by `signer`, as its trust file has it; None signs nothing."""

    settings: Settings
    signer: Any

    @classmethod
    def at(cls, root: Path, signer: Any = None) -> World:
        if signer is not None:
            key = f'[[keys]]\nname = "alice"\npublic_key = """{signer_pem(signer)}"""\n'
            write_atomic(root / TRUST_FILE, f"require_signatures = true\n{key}".encode())
        (root / "results").mkdir(parents=True, exist_ok=True)
        return cls(Settings(root, root / "results"), signer)

    @property
    def results(self) -> Path:
        return self.settings.results

    @property
    def ledger(self) -> Path:
        return self.results / LEDGER

    def run(self, number: int, *, origin: str = "", report: bool = True, **facts: Any) -> RunDir:
        """Make a run of its own kept input and of one that all runs share."""
        own = f"own {number}".encode()
        read = (Input("input:own", f"own{number}", {"sha256": keep(self.results, own)}, {"found": "observed"}),)
        facts = {"bars": 40, "files": BULK, "data": ("bars.csv", keep(self.results, SHARED)), "read": read} | facts
        planned = Planned(number, **facts)
        run = make_run(self.results, planned, self.signer)
        start = {ORIGIN: origin} if origin else {}
        append(
            self.ledger,
            Event(RUN_STARTED, run.run_id, sha256_bytes(run.config_json.read_bytes()), planned.strategy,
                  planned.data[1], start),
            self.signer,
        )  # fmt: skip
        append(self.ledger, events.sealed(run), self.signer)
        if report:
            write_atomic(run.report, b"<!doctype html><title>report</title>")
            write_report_statement(run, self.signer)
        return run

    def runs(self, count: int) -> list[RunDir]:
        return [self.run(number) for number in range(count)]

    def interrupted(self) -> RunDir:
        """Make a run whose process is gone."""
        run = RunDir.create(self.results, new_run_id())
        write_atomic(run.config_json, b"{}")
        write_state(run, status="RUNNING", stage="notebook", started_at="2026-01-01T00:00:00Z", origin="evidence-run")
        facts = run.state.read_text()
        run.state.write_text(facts.replace('"pid":', '"pid": 0, "was":'))
        append(self.ledger, Event(RUN_STARTED, run.run_id, sha256_bytes(b"{}"), "ma_crossover", "ab" * 32), self.signer)
        return run

    def problems(self) -> list[str]:
        return [str(problem) for problem in self._problems()]

    def _problems(self) -> Iterator[Problem]:
        for found in verify_all(self.results, trust=project_trust(self.settings)):
            yield from found.problems

    def kept(self) -> set[str]:
        """Return the digests of the kept inputs."""
        return {path.name[:64] for path in (self.results / INPUTS_DIR).iterdir()}

    def used(self) -> set[str]:
        """Return the digests of what the runs that are there were made from."""
        return {digest for run_id in run_ids(self.results) for digest in inputs_of(RunDir(self.results, run_id))}

    def unfinished(self) -> list[str]:
        """Return what lies in the way of those that are removed."""
        place = self.results / PRUNING_DIR
        return [name for name in list_files(place) if name != "lock"] if place.is_dir() else []


def keep(results: Path, data: bytes) -> str:
    digest = sha256_bytes(data)
    write_atomic(results / INPUTS_DIR / f"{digest}.csv", data)
    return digest


def contents(directory: Path) -> Mapping[str, bytes]:
    """Return all files below a directory."""
    return {name: (directory / name).read_bytes() for name in list_files(directory)}
