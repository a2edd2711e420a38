"""A run seen from inside its notebook: the same cells work under `evidence run` and opened by hand."""

from __future__ import annotations

import functools
import html
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast
from weakref import WeakKeyDictionary

from pipeline.artifacts import check_artifacts, write_backtest_artifacts
from pipeline.backtest.spacing import DataRecord
from pipeline.errors import (
    ArtifactError,
    DataWarning,
    EvidenceError,
    SigningWarning,
    SpecError,
    TrackingError,
    UsageError,
    as_evidence_error,
)
from pipeline.notebook import inside
from pipeline.robustness import Subject, write_robustness
from pipeline.rundir import RunDir, read_json, write_atomic, write_json
from pipeline.settings import Settings
from pipeline.spec import RunSpec

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from pipeline.backtest.bars import Bars
    from pipeline.backtest.engine import BacktestResult
    from pipeline.backtest.sensitivity import Case
    from pipeline.backtest.strategies import SignalFn, Strategy
    from pipeline.sealing import OpenRun
    from pipeline.tracking import Tracker
    from pipeline.tracking.session import RunTracking

ORIGIN = "interactive"


def start_run(
    run_id: str | None = None,
    *,
    seed: int | None = None,
    data: Mapping[str, Any] | None = None,
    strategy: Mapping[str, Any] | None = None,
    backtest: Mapping[str, Any] | None = None,
    benchmark: Mapping[str, Any] | None = None,
    name: str | None = None,
    tracking: Mapping[str, Any] | None = None,
    settings: Settings | None = None,
) -> NotebookRun:
    """Start, or join, the run of this notebook.

    Under `evidence run` the notebook joins the run that executes it, whether it passes on the `run_id` it is given
    or none; the seed and the sections must then say what the run spec says. Opened by hand a new run is started from
    the sections (the seed is 0 unless given), and `finish()` seals it; that no key signs it where the trust file names
    some is a SigningWarning. Raises SpecError, RunExistsError, DataError.
    """
    if InteractiveRun.current is not None:
        InteractiveRun.current.leave_mlflow()
    settings = settings or Settings.load()
    sections: dict[str, Any] = {"data": data, "strategy": strategy, "backtest": backtest, "benchmark": benchmark}
    given = {key: dict(value) for key, value in sections.items() if value is not None}
    executing = os.environ.get(inside.RUN_ID)
    if executing and run_id in (None, executing):
        return _join(RunDir(settings.results, executing), given, seed, settings)
    given["run"] = {"seed": seed or 0, **({"name": name} if name else {})}
    given["tracking"] = dict(tracking or {})
    return _start_by_hand(RunSpec.from_mapping(given, where="the notebook"), run_id, settings)


class NotebookRun:
    """The run of this notebook: its data, its backtest, its artifacts, its tracker."""

    def __init__(self, directory: RunDir, spec: RunSpec, settings: Settings, tracker: Tracker) -> None:
        self.dir = directory
        self.run_id = directory.run_id
        self.spec = spec
        self.settings = settings
        self.tracker = tracker
        self._cases: WeakKeyDictionary[BacktestResult, Case] = WeakKeyDictionary()
        self._data = DataRecord()
        self._loaded: Bars | None = None

    def load_data(self) -> pd.DataFrame:
        """Return the bars the spec names, checked against the data contract; raises DataError.

        How they were read, their gaps and leaps are recorded; what should be looked at is a DataWarning too.
        """
        from pipeline.backtest.from_spec import spec_bars

        bars = self._loaded = spec_bars(self.spec.data, self.settings.root)
        self._data = DataRecord(notes=bars.notes)
        for text in self._record_data(bars.frame):
            warnings.warn(text, DataWarning, stacklevel=2)
        return bars.frame

    def _record_data(self, df: pd.DataFrame) -> list[str]:
        """Write what is known of the bars of this run; return what is to be warned of."""
        if self.dir.manifest.is_file():
            return []
        facts = self._data.facts(df)
        write_json(self.dir.data_facts, facts)
        return list(facts["warnings"])

    def strategy_fn(self) -> SignalFn:
        """Return the signal function the spec names: `(df, params) -> Series of 1, 0, -1`.

        It works on a copy of the bars. It raises StrategyError when what it returns is anything else.
        """
        from pipeline.backtest.strategies import check_signals

        strategy = self._strategy()

        @functools.wraps(strategy.signal_fn)
        def checked(df: pd.DataFrame, params: Mapping[str, Any]) -> pd.Series:
            signals = strategy.signal_fn(df.copy(), params)
            check_signals(signals, cast("pd.DatetimeIndex", df.index), strategy=strategy.name)
            return signals

        if strategy.has_schema:
            vars(checked).update(parameters=strategy.parameters, constraints=strategy.constraints)
        return checked

    def _strategy(self) -> Strategy:
        from pipeline.backtest.strategies import get_strategy

        return get_strategy(self.spec.strategy.name, search=self.settings.root)

    def backtest(self, df: pd.DataFrame, signal_fn: SignalFn | None = None) -> BacktestResult:
        """Backtest the spec's strategy, or a function of the notebook's own, with the spec's costs and rules.

        Unless the spec says how many bars a year holds, the file behind `load_data` tells it for its bars, whole or
        a stretch of them; other bars, resampled ones for example, tell it themselves. Raises DataError for bars that
        break the data contract.
        """
        from pipeline.backtest.contract import check_frame
        from pipeline.backtest.from_spec import spec_conventions, spec_engine
        from pipeline.backtest.sensitivity import Case

        check_frame(df)
        rules, symbol, loaded = self.spec.backtest, self.spec.data.symbol or "", self._loaded
        told = loaded.periods_per_year if loaded is not None and loaded.hold(df.index) else None
        engine = spec_engine(rules, spec_conventions(self.spec, told))
        function, params = signal_fn or self._strategy().signal_fn, dict(self.spec.strategy.params)
        costs = {"fee_bps": rules.fee_bps, "slippage_bps": rules.slippage_bps}
        result = engine.run_realistic(
            df=df, strategy_signal_fn=function, strategy_params=params, symbol=symbol, **costs
        )
        self._cases[result] = Case(engine, df.copy(), function, params, symbol, **costs)
        return result

    def buy_and_hold(self, df: pd.DataFrame) -> pd.Series:
        """Return the equity of the initial cash held in the instrument from the first close on, without costs."""
        equity: pd.Series = df["close"] / df["close"].iloc[0] * self.spec.backtest.initial_cash
        return _on_labels(equity).rename("benchmark_equity")

    def benchmark(self, df: pd.DataFrame) -> pd.Series:
        """Return the equity of the benchmark the spec names, on the bars of `df`; by default buying and holding them.

        Raises DataError when the series does not cover the bars.
        """
        import pandas as pd

        from pipeline.backtest.benchmark import match_benchmark
        from pipeline.backtest.from_spec import spec_benchmark
        from pipeline.backtest.timestamps import utc_labels

        series = spec_benchmark(self.spec.benchmark, self.settings.root)
        if series is None:
            return self.buy_and_hold(df)
        matched = match_benchmark(series, utc_labels(pd.DatetimeIndex(df.index)), self.spec.backtest.initial_cash)
        self._data = self._data.with_benchmark(matched.note)
        self._record_data(df)
        return matched.equity

    @property
    def benchmark_label(self) -> str:
        """What the benchmark is called in figures and in the report."""
        from pipeline.backtest.benchmark import benchmark_label

        wanted = self.spec.benchmark
        return benchmark_label(wanted.source, wanted.label, self.spec.data.symbol or "")

    def save(self, result: BacktestResult, *, benchmark: pd.Series | None = None, robustness: bool = True) -> None:
        """Write the artifacts of the run directory's contract, and record the metrics with the tracker.

        With `robustness`, unless the spec's `run.robustness` is false, the strategy is also run again under other
        assumptions and tested for look-ahead; what that finds is `robustness.json`. It needs a result of
        `run.backtest`, and never fails the run.

        A `benchmark` that is not the one the spec names is refused, since the report would call it by a wrong name; so
        is a result under another symbol, other costs, execution or risk-free rate than the spec's, or bars a year other
        than those it gives. Another strategy is a warning of the run.
        """
        self._require_open()
        benchmark = None if benchmark is None else _on_labels(benchmark)
        self._check_benchmark(result, benchmark)
        self._check_account(result)
        if (case := self._cases.get(result)) is not None:
            self._record_data(case.df)
        label = self.benchmark_label
        write_backtest_artifacts(
            result,
            self.dir.path,
            benchmark=benchmark,
            label=label[:1].upper() + label[1:],
            figure=self.spec.run.figures,
        )
        if robustness and self.spec.run.robustness:
            write_robustness(Subject(result, self._cases.get(result), benchmark), self.dir.path)
        self.tracker.log_metrics({name: value for name, value in result.stats.items() if value is not None})

    def _require_open(self) -> None:
        """Raise UsageError for a run that is sealed: a cell executed again would write over the evidence."""
        if self.dir.manifest.is_file():
            raise UsageError(f"The run {self.run_id} is sealed. Start another one with pipeline.start_run().")

    def _check_benchmark(self, result: BacktestResult, given: pd.Series | None) -> None:
        wanted, case = self.spec.benchmark, self._cases.get(result)
        if case is None or (given is None and wanted.source is None) or (wanted.source is None and wanted.label):
            return
        expected = self.benchmark(case.df)
        if given is None or not _close(given, expected):
            raise ArtifactError(
                f"The benchmark given to run.save is not {self.benchmark_label}, which the spec names. "
                "Give run.benchmark(bars); or, for a series computed here, leave benchmark.source out of the spec and "
                "say with benchmark.label what it is."
            )

    def _check_account(self, result: BacktestResult) -> None:
        from pipeline.backtest.strategies import as_strategy

        own = as_strategy(self._strategy().signal_fn).name, as_strategy(self.strategy_fn()).name
        asked = dict(self.spec.backtest.model_dump())
        if result.config.get("symbol"):  # a result may leave it unknown
            asked["symbol"] = self.spec.data.symbol or ""
        if self.spec.data.periods_per_year is not None:
            asked["periods_per_year"] = self.spec.data.periods_per_year
        if (ran := result.config.get("strategy")) in own:
            asked["params"] = self.spec.strategy.params
            self.dir.other_strategy.unlink(missing_ok=True)
        else:
            write_json(self.dir.other_strategy, {"ran": ran, "asked": self.spec.strategy.name})
        wrong = [name for name, value in asked.items() if name in result.config and result.config[name] != value]
        if wrong:
            said = "; ".join(f"{name} = {result.config[name]!r}, the spec says {asked[name]!r}" for name in wrong)
            raise ArtifactError(
                f"The result given to run.save was made with {said}. Give one of run.backtest(bars), and set values in "
                "the spec, or with -p, so that the evidence shows what was run."
            )

    def save_figure(self, figure: Figure, name: str) -> Path:
        """Write a matplotlib figure to `plots/<name>.png` of the run directory; returns its path.

        Nothing is drawn when the spec's `run.figures` is false.
        """
        import io

        if not name.replace("_", "").replace("-", "").isalnum():
            raise ArtifactError(f"{name!r} is not a name for a figure: letters, digits, - and _ only.")
        self._require_open()
        path = self.dir.plots / f"{name}.png"
        if not self.spec.run.figures:
            return path
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
        return write_atomic(path, buffer.getvalue())

    def finish(self) -> None:
        """End the notebook's part. Under `evidence run` the seal follows; by hand it is done here."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.finish()

    def __repr__(self) -> str:
        return f"<NotebookRun {self.run_id} {self.spec.run.name!r}>"

    def _repr_html_(self) -> str:
        rows = [
            ("run_id", self.run_id),
            ("strategy", f"{self.spec.strategy.name} {self.spec.strategy.params}"),
            ("data", ", ".join(filter(None, (self.spec.data.symbol, self.spec.data.source)))),
        ]
        cells = "".join(f"<tr><th style='text-align:left'>{k}</th><td>{html.escape(v)}</td></tr>" for k, v in rows)
        return f"<table>{cells}</table>"


class InteractiveRun(NotebookRun):
    """A run started by hand, without orchestration: `finish()` seals it.

    Raw MLflow calls lead to the run started last, until it is finished.
    """

    current: ClassVar[InteractiveRun | None] = None

    def __init__(self, opened: OpenRun, tracking: RunTracking) -> None:
        from pipeline.tracking.journal_tracker import kernel_tracker

        environment = tracking.environment()
        self._environment_before = {name: os.environ.get(name) for name in environment}
        os.environ.update(environment)
        InteractiveRun.current = self
        super().__init__(opened.dir, opened.spec, opened.settings, kernel_tracker(opened.dir))
        self._opened = opened
        self._tracking = tracking

    def finish(self) -> None:
        """Check the artifacts, seal the run directory, end the tracked run; a second call is refused.

        When something is wrong the run is sealed as FAILED, and the error is raised: what comes next is another run.
        What could not be tracked is a TrackingWarning.
        """
        self._require_open()
        error: EvidenceError | None = None
        try:
            check_artifacts(self.dir)
            self._opened.check_inputs()
        except Exception as failure:  # noqa: BLE001 - whatever it is, the run is sealed and says so
            error = as_evidence_error(failure, "while the artifacts were checked")
        error = self._close(error)
        if error is not None:
            raise error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish; after an exception, which goes on upwards, seal the run as FAILED with it."""
        if error is None:
            self.finish()
        elif isinstance(error, Exception) and not self.dir.manifest.is_file():
            self._close(as_evidence_error(error, "in the notebook"))

    def _close(self, error: EvidenceError | None) -> EvidenceError | None:
        """Seal the run as FINISHED, or FAILED; return the error its seal carries, or tracking's own in strict mode."""
        from pipeline.sealing import close_run, finish_tracking
        from pipeline.tracking.protocol import TrackingWarning

        try:
            self._gather()
            self._tracking.before_seal()
        except Exception as failure:  # noqa: BLE001 - whatever it is, the run is sealed and says so
            error = error or as_evidence_error(failure, "before the seal")
        error = close_run(self._opened, error)
        try:
            finish_tracking(self._opened, self._tracking, "FAILED" if error else "FINISHED")
        except TrackingError as failure:
            error = error or failure
        except Exception as failure:  # noqa: BLE001 - the run is sealed; what a library raises does not undo that
            self._tracking.warnings.append(f"Tracking did not end: {as_evidence_error(failure, 'after the seal')}")
        for text in self._tracking.warnings:
            warnings.warn(text, TrackingWarning, stacklevel=3)
        return error

    def _gather(self) -> None:
        """Record the modules that were used, and what speaks against the run; lead no more MLflow calls into it."""
        from pipeline.evidence.modules import changed_since_import, modules_of_this_process
        from pipeline.sealing import notebook_warnings

        self.leave_mlflow()
        write_json(self.dir.modules, modules_of_this_process())
        self._opened.warnings += notebook_warnings(self.dir)
        if changed := changed_since_import():
            text = f"Edited since this kernel imported them: {', '.join(changed)}. The run used the earlier source."
            self._opened.warnings.append(f"{text} Restart the kernel to use the new one.")

    def leave_mlflow(self) -> None:
        """Lead no more raw MLflow calls into this run: it is over, or another one begins."""
        from pipeline.tracking.fluent import VARIABLE, end_active_runs

        if InteractiveRun.current is not self:
            return
        InteractiveRun.current = None
        end_active_runs(os.environ.get(VARIABLE, ""))
        for name, value in self._environment_before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _join(directory: RunDir, given: dict[str, Any], seed: int | None, settings: Settings) -> NotebookRun:
    from pipeline.tracking.journal_tracker import kernel_tracker

    values = read_json(directory.config_json)
    spec = RunSpec.from_mapping(values, where=str(directory.config_json))
    if seed is not None and seed != spec.run.seed:
        raise SpecError(
            f"The notebook passes seed = {seed}, the run spec says {spec.run.seed}. Set run.seed in the spec, so that "
            "the evidence shows what was run."
        )
    for section, wanted in given.items():
        asked = RunSpec.from_mapping({**values, section: wanted}, where="the notebook")
        if getattr(asked, section) != getattr(spec, section):
            raise SpecError(
                f"The notebook passes {section} = {wanted}, the run spec says {values[section]}. "
                "Set values in the spec, or with -p, so that the evidence shows what was run."
            )
    return NotebookRun(directory, spec, settings, kernel_tracker(directory))


def _start_by_hand(spec: RunSpec, run_id: str | None, settings: Settings) -> InteractiveRun:
    from pipeline.backtest.strategies import get_strategy, resolve_params
    from pipeline.evidence.keys import check_signer, load_signer
    from pipeline.evidence.modules import watch_imports
    from pipeline.sealing import close_run, data_inputs, open_run, track_run

    watch_imports()
    params = resolve_params(get_strategy(spec.strategy.name, search=settings.root), spec.strategy.params)
    spec = spec.model_copy(update={"strategy": spec.strategy.model_copy(update={"params": params})})
    inputs = data_inputs(spec, settings)
    signer = load_signer()
    if unsigned := check_signer(signer, settings):
        warnings.warn(unsigned, SigningWarning, stacklevel=3)
    opened = open_run(spec, settings, origin=ORIGIN, inputs=inputs, run_id=run_id, signer=signer)
    try:
        tracking = track_run(opened)
    except Exception as failure:
        close_run(opened, as_evidence_error(failure, "while tracking was opened"))
        raise
    inside.seed_everything(spec.run.seed)
    return InteractiveRun(opened, tracking)


def _on_labels(values: pd.Series) -> pd.Series:
    """Return a series on the labels that results have: UTC, days as midnight UTC."""
    import pandas as pd

    from pipeline.backtest.timestamps import utc_labels

    return values.set_axis(utc_labels(pd.DatetimeIndex(values.index)))


def _close(given: pd.Series, expected: pd.Series) -> bool:
    import numpy as np

    return given.index.equals(expected.index) and bool(np.allclose(given, expected, rtol=1e-9, equal_nan=True))
