"""How many runs the one shown was chosen from: earlier runs of the same strategy on the same data in `results/`.

Of each run two small files are read, and of the manifest only the parts needed: thousands of runs take seconds, and
what was read of a sealed run is kept for the other reports of the same process.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.rundir import RunDir, read_json, read_state, run_ids

if TYPE_CHECKING:
    from pipeline.run import Run

SPEC, AFTER_SPEC = b'"externalParameters":', b',"internalParameters":'
STARTED = b'"startedOn":"'
REPLAY = b'"builder":{"id":"urn:evidence-chain:builder:replay:'
KEPT = 20_000


@dataclass(frozen=True)
class Trial:
    """One run as a trial: when it started, its configuration as text, its Sharpe ratio per bar (None: it has none)."""

    run_id: str
    started_at: str
    configuration: str
    sharpe: float | None


@dataclass(frozen=True)
class Trials:
    """The run shown and the earlier ones, oldest first; all of them count, finished or not.

    `sharpes` holds one ratio per bar for each configuration: a run made twice says nothing new about the spread.
    """

    count: int
    configurations: int
    sharpes: tuple[float, ...]
    unfinished: int

    @property
    def applicable(self) -> bool:
        """Say whether there was something to choose from: two ratios of different configurations at least."""
        return self.count > 1 and len(self.sharpes) > 1


def count_trials(run: Run) -> Trials:
    """Return the trials up to and including `run`: runs in its `results/` that started no later.

    The same strategy means the same name; the same data, the same digest (the same source, for a run that was never
    sealed). Replays repeat a run on purpose and are no trials; a run that is damaged is left out.
    """
    own = _trial(run.dir, *_wanted(run))
    if own is None:
        return Trials(1, 1, (), 0)
    found = [own]
    for run_id in run_ids(run.dir.results):
        trial = _trial(RunDir(run.dir.results, run_id), *_wanted(run)) if run_id != run.run_id else None
        if trial is not None and (trial.started_at, trial.run_id) < (own.started_at, own.run_id):
            found.append(trial)
    found.sort(key=lambda trial: (trial.started_at, trial.run_id))
    spread = {trial.configuration: trial.sharpe for trial in found if trial.sharpe is not None}
    unfinished = sum(trial.sharpe is None for trial in found)
    return Trials(len(found), len({trial.configuration for trial in found}), tuple(spread.values()), unfinished)


def _wanted(run: Run) -> tuple[str, str, str]:
    """Return strategy, digest of the data and source of the data that make a run a trial of the same search."""
    strategy, data = run.config.get("strategy"), run.config.get("data")
    name = strategy.get("name") if isinstance(strategy, dict) else None
    source = data.get("source") if isinstance(data, dict) else None
    return str(name or ""), str((run.record.data or {}).get("sha256") or ""), str(source or "")


def _trial(directory: RunDir, strategy: str, digest: str, source: str) -> Trial | None:
    try:
        stamp = directory.manifest.stat().st_mtime_ns
    except OSError:
        return _unsealed(directory, strategy, source)
    return _sealed(directory, stamp, strategy, digest)


@lru_cache(maxsize=KEPT)
def _sealed(directory: RunDir, _stamp: int, strategy: str, digest: str) -> Trial | None:
    """Read a sealed run; `_stamp` is when its manifest was written."""
    try:
        raw = directory.manifest.read_bytes()
        if not digest or REPLAY in raw or f'{{"sha256":"{digest}"}},"name":"data"'.encode() not in raw:
            return None
        start = raw.index(SPEC) + len(SPEC)
        spec = json.loads(raw[start : raw.index(AFTER_SPEC, start)])["spec"]
        if spec["strategy"]["name"] != strategy:
            return None
        at = raw.rindex(STARTED) + len(STARTED)
        started = raw[at : raw.index(b'"', at)].decode()
        return Trial(directory.run_id, started, _configuration(spec), _sharpe(directory.stats))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _unsealed(directory: RunDir, strategy: str, source: str) -> Trial | None:
    try:
        spec = read_json(directory.config_json)
        same = spec["strategy"]["name"] == strategy and spec["data"]["source"] == source
        started = str((read_state(directory) or {}).get("started_at", ""))
        return Trial(directory.run_id, started, _configuration(spec), None) if same and started else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _configuration(spec: dict[str, Any]) -> str:
    chosen = {key: spec.get(key) for key in ("data", "strategy", "backtest")}
    return json.dumps(chosen | {"run": _code(spec.get("run"))}, sort_keys=True)


def _code(run: Any) -> Any:
    return {key: run.get(key) for key in ("notebook", "parameters", "seed")} if isinstance(run, dict) else None


def _sharpe(path: Path) -> float | None:
    """Return the Sharpe ratio per bar of a stats.json; None when it has none."""
    try:
        stats = read_json(path)
        value = float(stats["sharpe"]) / math.sqrt(float(stats["periods_per_year"]))
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError):
        return None
    return value if math.isfinite(value) else None
