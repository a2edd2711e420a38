"""What a worker does: a backtest in process (`fast`), or a whole run (`full`).

Functions here are called by name in other processes and on other machines: their arguments are plain data, and what
is costly (bars, the strategy, a server of kernels) is prepared once a process.
"""

from __future__ import annotations

import atexit
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from pipeline.errors import EvidenceError
from pipeline.evidence.ledger import OF_SWEEP, REPLAY
from pipeline.run import Run
from pipeline.rundir import RunDir, new_run_id
from pipeline.secrets import of_this_process
from pipeline.settings import Settings
from pipeline.spec import RunSpec
from pipeline.spec_sections import DataSection
from pipeline.sweep.spec import SweepSpec
from pipeline.sweep.trial import Answer, Proposal
from pipeline.telemetry import flush_worker, linked_to

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.backtest.bars import Bars
    from pipeline.backtest.conventions import Conventions
    from pipeline.backtest.strategies import Strategy
    from pipeline.kernels import KernelSource

ORIGIN, BEST_ORIGIN = OF_SWEEP
SWEEP_TAG, STUDY_TAG, TRIAL_TAG = "evidence.sweep", "evidence.study", "evidence.trial"
PARENT_TAG = "mlflow.parentRunId"
MANY_BARS_BYTES = 1_000_000  # a file of so many bytes holds some 20,000 bars


@dataclass(frozen=True)
class Work:
    """What all trials of a sweep share. `data_sha256` is the digest the sweep was planned with, empty without data.

    `traceparent` is the sweep as W3C Trace Context writes it, empty where no spans are exported.
    """

    spec: SweepSpec
    settings: Settings
    sweep_id: str
    data_sha256: str
    parent: str | None = None
    traceparent: str = ""

    def run_spec(self, proposal: Proposal, *, chosen: bool = False) -> RunSpec:
        """Return the run spec of a trial, labelled with the sweep and its number."""
        tags = {
            SWEEP_TAG: self.sweep_id,
            STUDY_TAG: self.spec.sweep.name,
            TRIAL_TAG: str(proposal.number),
        }
        return self.spec.trial_spec(proposal.params, tags=tags, chosen=chosen, number=proposal.number)

    @property
    def key(self) -> str:
        """Return what tells the works of one process apart."""
        return f"{self.settings.root}:{self.sweep_id}:{self.data_sha256}"


@dataclass(frozen=True, eq=False)
class Bench:
    """The bars, the conventions and the strategy, ready for one backtest after the other."""

    bars: pd.DataFrame
    conventions: Conventions
    strategy: Strategy


_benches: dict[str, Bench] = {}


def backtest_trials(work: Work, proposals: Sequence[Proposal]) -> list[Answer]:
    """Backtest some trials in this process; an error of one is its answer."""
    bench = _bench(work)
    return [_answer(work, bench, proposal, len(bench.bars)) for proposal in proposals]


def backtest_window(work: Work, proposals: Sequence[Proposal], step: int) -> list[Answer]:
    """Backtest some trials over the bars up to the end of window `step` (0-based)."""
    return backtest_bars(work, proposals, window_end(len(_bench(work).bars), work.spec.sweep.windows, step))


def backtest_bars(work: Work, proposals: Sequence[Proposal], count: int) -> list[Answer]:
    """Backtest some trials over the first `count` bars."""
    bench = _bench(work)
    return [_answer(work, bench, proposal, count) for proposal in proposals]


def run_trials(work: Work, proposals: Sequence[Proposal]) -> list[Answer]:
    """Execute trials as whole runs, one after the other: notebook, tracking, seal; no report."""
    return [_run_trial(work, proposal, ORIGIN + work.sweep_id, chosen=False) for proposal in proposals]


def run_again(work: Work, proposals: Sequence[Proposal]) -> list[Answer]:
    """Execute trials as whole runs once more, as replays that leave nothing: to see whether they give the same."""
    answers = []
    for proposal in proposals:
        with tempfile.TemporaryDirectory(prefix="evidence-again-") as directory:
            elsewhere = replace(work.settings, results=Path(directory).resolve() / "results")
            again = replace(proposal, run_id=new_run_id())
            untracked = replace(work, settings=elsewhere, parent=None)
            answers.append(_run_trial(untracked, again, f"{REPLAY}{proposal.run_id}", chosen=False, tracked=False))
    return answers


def run_best(work: Work, proposal: Proposal) -> Answer:
    """Execute a trial that was chosen as a whole run, with everything its report can hold."""
    return _run_trial(work, proposal, BEST_ORIGIN + work.sweep_id, chosen=True)


def read_trial_run(work: Work, proposal: Proposal) -> Answer | None:
    """Return what a trial's run left when it was sealed already; None when there is no such run."""
    directory = RunDir(work.settings.results, proposal.run_id)
    if not directory.manifest.is_file():
        return None
    run = Run(directory)
    if run.status != "FINISHED":
        error = run.record.error
        return Answer(error=run.status if error is None else f"{error.kind}: {error.message}")
    return _answer_of(work, run, work.spec.base, sum(run.record.stages.values()))


def _run_trial(work: Work, proposal: Proposal, origin: str, *, chosen: bool, tracked: bool = True) -> Answer:
    from pipeline.runner import run_backtest

    began = time.perf_counter()
    spec = work.run_spec(proposal, chosen=chosen)
    if not chosen:
        spec = spec.model_copy(update={"report": spec.report.model_copy(update={"enabled": False})})
    if not tracked:
        spec = spec.model_copy(update={"tracking": spec.tracking.model_copy(update={"mode": "off"})})
    try:
        with linked_to(work.traceparent):
            outcome = run_backtest(
                spec,
                settings=work.settings,
                run_id=proposal.run_id,
                origin=origin,
                tracked_tags={PARENT_TAG: work.parent} if work.parent else None,
                kernels=_kernels(work),
            )
        flush_worker()
    except EvidenceError as error:
        return Answer(
            seconds=time.perf_counter() - began, error=of_this_process().hidden(f"{type(error).__name__}: {error}")
        )
    seconds = time.perf_counter() - began
    if outcome.error is not None:
        return Answer(seconds=seconds, error=f"{type(outcome.error).__name__}: {outcome.error}")
    return _answer_of(work, outcome.run, spec, seconds)


def _answer_of(work: Work, run: Run, spec: RunSpec, seconds: float) -> Answer:
    from pipeline.backtest.metrics import simple_returns

    if work.spec.of_notebook:
        return Answer(dict(run.stats), returns_of(run).to_numpy(), seconds)
    return Answer(dict(run.stats), simple_returns(run.equity["equity"], spec.bundled.backtest.initial_cash), seconds)


def returns_of(run: Run) -> pd.Series:
    """Return the simple returns of a sealed result, at the label where each ends; its first label may end one, too."""
    import pandas as pd

    from pipeline.backtest.metrics import simple_returns

    equity, record = run.equity["equity"], run.result
    if record is None or record.capital is None or record.first_label != "period":
        return pd.Series(simple_returns(equity), equity.index[1:])
    path = pd.Series([record.capital, *equity])
    return pd.Series(simple_returns(path), equity.index)


def window_end(bars: int, windows: int, step: int) -> int:
    """Return how many bars the anchored window `step` of `windows` holds; each is twice the one before."""
    return max(2, bars >> (windows - step))


def _kernels(work: Work) -> KernelSource | None:
    if work.spec.of_notebook:
        return kernels()
    from pipeline.backtest.data import source_path

    data = source_path(work.spec.base.bundled.data.source, work.settings.root)
    return kernels(many_bars=data.stat().st_size >= MANY_BARS_BYTES)


@lru_cache(maxsize=2)
def kernels(*, many_bars: bool = False) -> KernelSource | None:
    """Return this process's server of kernels, started on first use; None where kernels cannot be forked.

    Over `many_bars` the backtest's loop is worth compiling; over few, kernels with numba in memory cost more.
    """
    from pipeline.notebook.forked import WARM, WARM_FOR_MANY_BARS, try_fork_server

    server = try_fork_server(WARM_FOR_MANY_BARS if many_bars else WARM)
    if server is not None:
        atexit.register(server.stop)
    return server


def bars_of(work: Work) -> pd.DataFrame:
    """Return the bars of a sweep; raises DataError, InputChangedError."""
    return _bench(work).bars


def conventions_of(work: Work) -> Conventions:
    """Return the conventions of all trials of a sweep; raises DataError, InputChangedError."""
    return _bench(work).conventions


def read_bars(data: DataSection, root: Path) -> Bars:
    """Return the bars of a section, read once for the last one asked for; raises DataError."""
    from pipeline.backtest.data import source_path
    from pipeline.digest import sha256_file

    return _read_bars(data.model_dump_json(), root, sha256_file(source_path(data.source, root)))


@lru_cache(maxsize=1)
def _read_bars(data: str, root: Path, _sha256: str) -> Bars:
    from pipeline.backtest.from_spec import spec_bars

    return spec_bars(DataSection.model_validate_json(data), root)


def _bench(work: Work) -> Bench:
    if work.key not in _benches:
        _benches.clear()
        _benches[work.key] = _prepare(work)
    return _benches[work.key]


def _prepare(work: Work) -> Bench:
    from pipeline.backtest.data import source_path
    from pipeline.backtest.from_spec import spec_conventions
    from pipeline.backtest.strategies import get_strategy
    from pipeline.digest import sha256_file
    from pipeline.errors import InputChangedError

    data = work.spec.base.bundled.data
    path = source_path(data.source, work.settings.root)
    if sha256_file(path) != work.data_sha256:
        raise InputChangedError(f"{path} is not the file the sweep began with. Give all workers the same data.")
    loaded = read_bars(data, work.settings.root)
    strategy = get_strategy(work.spec.base.bundled.strategy.name, search=work.settings.root)
    conventions = spec_conventions(work.spec.base, loaded.periods_per_year)
    return Bench(loaded.frame, conventions.of_bars(cast("pd.DatetimeIndex", loaded.frame.index)), strategy)


def _answer(work: Work, bench: Bench, proposal: Proposal, stop: int) -> Answer:
    from pipeline.backtest.from_spec import spec_engine
    from pipeline.backtest.metrics import simple_returns

    began = time.perf_counter()
    try:
        spec = work.run_spec(proposal)
        engine = spec_engine(spec.bundled.backtest, bench.conventions)
        with _limited(work.spec.sweep.trial_timeout):
            result = engine.run_realistic(
                df=bench.bars if stop >= len(bench.bars) else bench.bars.iloc[:stop],
                strategy_signal_fn=bench.strategy.signal_fn,
                strategy_params=spec.bundled.strategy.params,
                symbol=spec.bundled.data.symbol or "",
                fee_bps=spec.bundled.backtest.fee_bps,
                slippage_bps=spec.bundled.backtest.slippage_bps,
            )
    except (Exception, SystemExit) as error:  # noqa: BLE001 - what a strategy of the user's raises fails its trial
        return Answer(
            seconds=time.perf_counter() - began, error=of_this_process().hidden(f"{type(error).__name__}: {error}")
        )
    returns = simple_returns(result.equity_curve, spec.bundled.backtest.initial_cash)
    return Answer(finite(result.stats), returns, time.perf_counter() - began)


@contextmanager
def _limited(seconds: float | None) -> Iterator[None]:
    """Raise TimeoutError in Python code that takes longer; the executor ends what never returns to Python."""
    possible = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if seconds is None or not possible:
        yield
        return

    def late(*_: object) -> None:
        raise TimeoutError(f"it took longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def finite(stats: Mapping[str, float | int | None]) -> dict[str, float | int | None]:
    """Return metrics with None where a value is not finite."""
    return {name: value if value is None or np.isfinite(value) else None for name, value in stats.items()}


def _told(error: BaseException) -> str:
    """Return an error as a trial's record keeps it: without secrets of this process."""
    return of_this_process().hidden(f"{type(error).__name__}: {error}")
