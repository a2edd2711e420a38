"""Make sealed runs by the hundred: real run directories with a curve, metrics and trades of a seeded random walk."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.backtest.metrics import compute_stats
from pipeline.digest import canonical_json, pretty_json, sha256_bytes
from pipeline.evidence.dsse import sign_manifest
from pipeline.evidence.manifest import Input, Outcome
from pipeline.rundir import RunDir
from pipeline.spec import ENGINE_SECTIONS, RunSpec
from tests.sealing import write_seal

STRATEGIES = ("ma_crossover", "rsi_reversion", "donchian", "buy_and_hold", "bollinger")
SYMBOLS = ("SPX", "NDX", "VIX", "WTI")


@dataclass(frozen=True)
class Planned:
    """One run to be made; the number makes its id, its random walk and its time."""

    number: int
    name: str = ""
    strategy: str = "ma_crossover"
    symbol: str = "SPX"
    experiment: str = "demo"
    tags: dict[str, str] = field(default_factory=dict)
    status: str = "FINISHED"
    error: dict[str, Any] | None = None
    warnings: tuple[str, ...] = ()
    bars: int = 300
    start: str = "2015-01-02"
    data: tuple[str, str] | None = ("sample:sp500", "ab" * 32)
    benchmark: tuple[str, str] | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=lambda: {"numpy": "2.0.0"})
    platform: str = "Linux"
    seal: bool = True
    files: dict[str, bytes] = field(default_factory=dict)
    read: tuple[Input, ...] = ()

    @property
    def run_id(self) -> str:
        digest = sha256_bytes(f"run {self.number}".encode())
        return f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"

    @property
    def started_at(self) -> str:
        when = pd.Timestamp("2026-01-01") + pd.Timedelta(minutes=7 * self.number)
        return f"{when.isoformat()}.000000Z"


def varied(number: int, **changes: Any) -> Planned:
    """Return a run that differs from its neighbours in every way the listing can tell."""
    facts: dict[str, Any] = {
        "name": f"Study {number % 40} variant {number}",
        "strategy": STRATEGIES[number % len(STRATEGIES)],
        "symbol": SYMBOLS[number // 3 % len(SYMBOLS)],
        "experiment": f"experiment {number % 12}",
        "tags": {"desk": ("alpha", "beta")[number % 2], "batch": str(number // 100)},
    }
    return Planned(number, **(facts | changes))


def make_run(results: Path, planned: Planned, signer: Any = None) -> RunDir:
    """Write a run directory and seal it, as the pipeline does, without its notebook and its ledger."""
    run = RunDir.create(results, planned.run_id)
    spec = RunSpec.from_mapping(_spec(planned)).asking(ENGINE_SECTIONS).model_dump(mode="json")
    _write(run, "config_snapshot.json", canonical_json(spec))
    if planned.status == "FINISHED":
        curve = walk(planned)
        _write(run, "equity.csv", _csv(curve))
        _write(run, "stats.json", pretty_json(_stats(curve, planned)))
        _write(run, "reports/trades_summary.json", b'{"all": {"trades": 3}}\n')
    for name, data in planned.files.items():
        _write(run, name, data)
    if planned.seal:
        _seal(run, planned, spec)
        if signer is not None:
            sign_manifest(run, signer)
        run.clear_scratch()
    return run


def make_runs(results: Path, runs: Sequence[Planned], signer: Any = None) -> list[RunDir]:
    """Make many runs."""
    return [make_run(results, planned, signer) for planned in runs]


def walk(planned: Planned) -> pd.DataFrame:
    """Return the curve of a run: a seeded random walk on business days."""
    random = np.random.default_rng(planned.number)
    index = pd.bdate_range(planned.start, periods=planned.bars, tz="UTC")
    equity = 100_000.0 * np.exp(np.cumsum(random.normal(0.0003, 0.011, planned.bars)))
    equity[0] = 100_000.0
    drawdown = equity / np.maximum.accumulate(equity) - 1.0
    return pd.DataFrame({"equity": equity, "drawdown": drawdown, "benchmark_equity": equity}, index=index)


def _spec(planned: Planned) -> dict[str, Any]:
    run = {"name": planned.name or f"Run {planned.number}", "experiment": planned.experiment, "tags": planned.tags}
    params = {"fast": 5 + planned.number % 20, "slow": 50 + planned.number % 7 * 10}
    return {
        "run": run,
        "strategy": {"name": planned.strategy, "params": params},
        **({"data": {"source": planned.data[0], "symbol": planned.symbol}} if planned.data else {}),
        **({"benchmark": {"source": planned.benchmark[0]}} if planned.benchmark else {}),
    }


def _stats(curve: pd.DataFrame, planned: Planned) -> dict[str, Any]:
    stats = compute_stats(curve["equity"], periods_per_year=252.0)
    return {**stats, "total_trades": 3 + planned.number % 50, "win_rate": None if planned.number % 9 == 0 else 0.5}


def _csv(curve: pd.DataFrame) -> bytes:
    text = io.StringIO()
    curve.to_csv(text, index_label="timestamp", date_format="%Y-%m-%dT%H:%M:%SZ", lineterminator="\n")
    return text.getvalue().encode()


def _write(run: RunDir, name: str, data: bytes) -> None:
    path = run.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _seal(run: RunDir, planned: Planned, spec: dict[str, Any]) -> None:
    named = {"data": planned.data, "benchmark": planned.benchmark}
    write_seal(
        run, spec, origin="evidence-run", overrides=planned.overrides, read=planned.read, platform=planned.platform,
        packages=planned.packages,
        files={name: known for name, known in named.items() if known is not None},
        outcome=Outcome(
            planned.status, planned.started_at, planned.started_at, error=planned.error, warnings=planned.warnings
        ),
    )  # fmt: skip


def describe(run: RunDir) -> dict[str, Any]:
    """Return the metrics a run sealed."""
    stats: dict[str, Any] = json.loads(run.stats.read_bytes())
    return stats
