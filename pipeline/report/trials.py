"""How many trials the run shown was chosen from: earlier ones of the same strategy on the same data in `results/`.

A run is one trial, a sweep as many as it tried. Of each run two small files are read, and of the manifest only the
parts needed: thousands of runs take seconds, and what was read of a sealed run is kept for the other reports of the
same process.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.backtest.conventions import per_period_rate
from pipeline.digest import canonical_json, sha256_bytes
from pipeline.rundir import RunDir, read_json, read_state, run_ids

if TYPE_CHECKING:
    from pipeline.run import Run

SPEC, AFTER_SPEC = b'"externalParameters":', b',"internalParameters":'
STARTED = b'"startedOn":"'
SWEEP = "sweep"
CONVENTIONS = (("data", "periods_per_year"), ("backtest", "risk_free_rate"))
REPLAY = b'"builder":{"id":"urn:evidence-chain:builder:replay:'
DATA = re.compile(rb'\{"sha256":"([0-9a-f]{64})"\},"name":"data"')
KEPT = 20_000
Search = tuple[str, str]
Found = tuple[tuple[Search, "Trial"], ...]


@dataclass(frozen=True)
class Trial:
    """One trial: when it or its sweep started, its configuration as text, its Sharpe ratio per bar (None: it has none).

    The ratio is without a risk-free rate, whatever the trial's own one is; `deviation` (ddof 1, per bar) takes it to
    the rate of another run. `sweep` is the run_id of the sweep whose list it was read from.
    """

    run_id: str
    started_at: str
    configuration: str
    sharpe: float | None
    sweep: str | None = None
    deviation: float | None = None

    def at_rate(self, rate: float) -> float | None:
        """Return the ratio with a risk-free rate per bar taken off the returns; None without one."""
        if self.sharpe is None or not rate:
            return self.sharpe
        return self.sharpe - rate / self.deviation if self.deviation else None


@dataclass(frozen=True)
class Trials:
    """The trial shown and the earlier ones, oldest first; all of them count, finished or not.

    `sharpes` holds one ratio per bar for each configuration, all at the risk-free rate of the trial shown: a run made
    twice says nothing new about the spread.
    """

    count: int
    configurations: int
    sharpes: tuple[float, ...]
    unfinished: int

    @property
    def applicable(self) -> bool:
        """Say whether there was something to choose from: two ratios of different configurations at least."""
        return self.count > 1 and len(self.sharpes) > 1

    @property
    def sha256(self) -> str:
        """Return one digest over all of it: a page made with other trials says something else."""
        return sha256_bytes(canonical_json(asdict(self)))


class TrialIndex:
    """The trials of one `results/` by what they searched, read once for many reports."""

    def __init__(self, results: Path) -> None:
        found = [pair for run_id in run_ids(results) for pair in _read(RunDir(results, run_id))]
        listed = {trial.run_id for _, trial in found if trial.sweep is not None}
        self.searches: dict[Search, list[Trial]] = {}
        for search, trial in found:
            if trial.sweep is not None or trial.run_id not in listed:
                self.searches.setdefault(search, []).append(trial)

    def trials_of(self, run: Run) -> Trials:
        """Return the trials up to and including `run`: those that started no later; of its own sweep, all.

        The same strategy means the same name; the same data, the same digest (the same source, for a run that was
        never sealed). Replays repeat a run on purpose and are no trials; a run that is damaged is left out.
        """
        strategy, digest, source = _wanted(run)
        known = self.searches.get((strategy, digest), []) if digest else []
        known = [*known, *self.searches.get((strategy, f"source:{source}"), [])]
        own = next((trial for trial in known if trial.run_id == run.run_id), None)
        if own is None:
            return Trials(1, 1, (), 0)
        found = [trial for trial in known if trial.started_at <= own.started_at]
        found.sort(key=lambda trial: (trial.started_at, trial.run_id))
        rate = run.conventions.rate_per_period
        ratios = [(trial.configuration, trial.at_rate(rate)) for trial in found]
        spread = {configuration: ratio for configuration, ratio in ratios if ratio is not None}
        unfinished = sum(ratio is None for _, ratio in ratios)
        return Trials(len(found), len({trial.configuration for trial in found}), tuple(spread.values()), unfinished)


def count_trials(run: Run) -> Trials:
    """Return the trials of one run, as its `results/` is now."""
    return TrialIndex(run.dir.results).trials_of(run)


def _wanted(run: Run) -> tuple[str, str, str]:
    """Return strategy, digest of the data and source of the data that make a run a trial of the same search."""
    strategy, data = run.config.get("strategy"), run.config.get("data")
    name = strategy.get("name") if isinstance(strategy, dict) else None
    source = data.get("source") if isinstance(data, dict) else None
    return str(name or ""), str((run.record.data or {}).get("sha256") or ""), str(source or "")


def _read(directory: RunDir) -> Found:
    try:
        stamp = directory.manifest.stat().st_mtime_ns
    except OSError:
        return _unsealed(directory)
    return _sealed(directory.path.parent, directory.run_id, stamp)


@lru_cache(maxsize=KEPT)
def _sealed(results: Path, run_id: str, _stamp: int) -> Found:
    """Read a sealed run; `_stamp` is when its manifest was written."""
    directory = RunDir(results, run_id)
    try:
        raw = directory.manifest.read_bytes()
        data = DATA.search(raw)
        if data is None or REPLAY in raw:
            return ()
        start = raw.index(SPEC) + len(SPEC)
        spec = json.loads(raw[start : raw.index(AFTER_SPEC, start)])["spec"]
        at = raw.rindex(STARTED) + len(STARTED)
        started = raw[at : raw.index(b'"', at)].decode()
        search = str(spec["strategy"]["name"]), data[1].decode()
        if SWEEP in spec:
            return tuple((search, trial) for trial in _of_sweep(directory.trials, spec, run_id, started))
        ratio, deviation = _sharpe(_stats(directory.stats), spec)
        return ((search, Trial(run_id, started, _configuration(spec), ratio, deviation=deviation)),)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ()


def _of_sweep(path: Path, spec: dict[str, Any], sweep: str, started: str) -> Iterator[Trial]:
    """Yield the trials in a file of a sweep."""
    for line in path.read_bytes().splitlines():
        trial = json.loads(line)
        varied = {"strategy": {**spec["strategy"], "params": trial["params"]}}
        ratio, deviation = _sharpe(trial["stats"], spec)
        yield Trial(trial["run_id"], started, _configuration({**spec, **varied}), ratio, sweep, deviation)


def _unsealed(directory: RunDir) -> Found:
    try:
        spec = read_json(directory.config_json)
        search = str(spec["strategy"]["name"]), f"source:{spec['data']['source']}"
        started = str((read_state(directory) or {}).get("started_at", ""))
        if SWEEP in spec:
            files = sorted((directory.scratch / "batches").glob("*.jsonl"))
            found = (trial for path in files for trial in _of_sweep(path, spec, directory.run_id, started))
            return tuple((search, trial) for trial in found)
        return ((search, Trial(directory.run_id, started, _configuration(spec), None)),) if started else ()
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ()


def _configuration(spec: dict[str, Any]) -> str:
    """Return what makes a trial another one; the conventions of its figures do not, as its returns stay the same."""
    chosen = {key: spec.get(key) for key in ("data", "strategy", "backtest")}
    for section, name in CONVENTIONS:
        if isinstance(values := chosen[section], dict):
            chosen[section] = {key: value for key, value in values.items() if key != name}
    return json.dumps(chosen | {"run": _code(spec.get("run"))}, sort_keys=True)


def _code(run: Any) -> Any:
    return {key: run.get(key) for key in ("notebook", "parameters", "seed")} if isinstance(run, dict) else None


def _stats(path: Path) -> dict[str, Any]:
    try:
        stats = read_json(path)
    except (OSError, ValueError):
        return {}
    return stats if isinstance(stats, dict) else {}


def _sharpe(stats: dict[str, Any], spec: dict[str, Any]) -> tuple[float | None, float | None]:
    """Return the Sharpe ratio per bar without a risk-free rate, and the deviation per bar; None for none."""
    try:
        per_year = float(stats["periods_per_year"])
        ratio = float(stats["sharpe"]) / math.sqrt(per_year)
        deviation = float(stats.get("annual_volatility") or 0.0) / math.sqrt(per_year)
        rate = per_period_rate(float((spec.get("backtest") or {}).get("risk_free_rate") or 0.0), per_year)
        ratio += rate / deviation if rate else 0.0
    except (ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError):
        return None, None
    return (ratio, deviation) if math.isfinite(ratio) else (None, None)
