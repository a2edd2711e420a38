"""A run seen from inside its notebook: the same cells work under `evidence run` and opened by hand."""

from __future__ import annotations

import dataclasses
import functools
import html
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast
from weakref import WeakKeyDictionary

from pipeline.backtest.spacing import DataRecord
from pipeline.errors import ArtifactError, DataWarning, UsageError
from pipeline.files import write_atomic, write_json
from pipeline.rundir import RunDir
from pipeline.secrets import of_this_process
from pipeline.settings import Settings
from pipeline.spec import BundledRequest, RunSpec
from pipeline.telemetry import Labels, RunLog, step

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from pipeline.backtest.bars import Bars
    from pipeline.backtest.engine import BacktestResult
    from pipeline.backtest.sensitivity import Case
    from pipeline.backtest.strategies import SignalFn, Strategy
    from pipeline.engines.answers import Rerun
    from pipeline.inputs.watch import Watch
    from pipeline.tracking import Tracker


class NotebookRun:
    """The run of this notebook: its data, its backtest, its artifacts, its tracker.

    What this package's own engine is asked for by `load_data`, `strategy_fn` and `backtest` is the spec's; where the
    spec leaves a section out, it is the section's defaults, and from then on the run has asked for them.
    """

    def __init__(self, directory: RunDir, spec: RunSpec, settings: Settings, tracker: Tracker) -> None:
        self.dir = directory
        self.run_id = directory.run_id
        self.spec = spec
        self.settings = settings
        self.tracker = tracker
        self._cases: WeakKeyDictionary[BacktestResult, Case] = WeakKeyDictionary()
        self._data = DataRecord()
        self._loaded: Bars | None = None
        self._saved = False
        self.log = RunLog(directory, Labels.of(directory.run_id, spec), of_this_process().hidden)

    def _asked(self, *sections: str) -> BundledRequest:
        """Return what the package's own engine is asked for; `sections` are those that are used now."""
        from pipeline.backtest.from_spec import with_strategy_params

        if any(getattr(self.spec, name) is None for name in sections):
            spec = self.spec.asking(sections)
            self.spec = with_strategy_params(spec, self.settings.root) if "strategy" in sections else spec
        return self.spec.bundled

    def load_data(self) -> pd.DataFrame:
        """Return the bars the spec names, checked against the data contract; raises DataError.

        How they were read, their gaps and leaps are recorded; what should be looked at is a DataWarning too.
        """
        from pipeline.backtest.from_spec import spec_bars

        with step("data", log=self.log):
            bars = self._loaded = spec_bars(self._asked("data").data, self.settings.root)
        self._data = DataRecord(notes=bars.notes)
        for text in self._record_data(bars.frame):
            warnings.warn(text, DataWarning, stacklevel=2)
        return bars.frame

    def _record_data(self, df: pd.DataFrame) -> list[str]:
        """Write what is known of the bars of this run; return what is to be warned of."""
        if self.dir.manifest.is_file():
            return []
        facts = self._data.facts(df)
        write_json(self.dir.data_facts, facts.to_dict())
        return list(facts.warnings)

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

        return get_strategy(self._asked("strategy").strategy.name, search=self.settings.root)

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
        function = signal_fn or self._strategy().signal_fn
        asked, loaded = self._asked("backtest"), self._loaded
        rules, symbol, params = asked.backtest, self._symbol, dict(asked.strategy.params)
        told = loaded.periods_per_year if loaded is not None and loaded.hold(df.index) else None
        engine = spec_engine(rules, spec_conventions(self.spec, told))
        costs = {"fee_bps": rules.fee_bps, "slippage_bps": rules.slippage_bps}
        result = engine.run_realistic(
            df=df, strategy_signal_fn=function, strategy_params=params, symbol=symbol, **costs
        )
        self._cases[result] = Case(engine, df.copy(), function, params, symbol, **costs)
        return result

    @property
    def _symbol(self) -> str:
        """The instrument that the spec names; empty when nothing does."""
        return (self.spec.data.symbol if self.spec.data is not None else None) or ""

    def buy_and_hold(self, df: pd.DataFrame) -> pd.Series:
        """Return the equity of the initial cash held in the instrument from the first close on, without costs."""
        equity: pd.Series = df["close"] / df["close"].iloc[0] * self._asked("backtest").backtest.initial_cash
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
        cash = self._asked("backtest").backtest.initial_cash
        matched = match_benchmark(series, utc_labels(pd.DatetimeIndex(df.index)), cash)
        self._data = self._data.with_benchmark(matched.note)
        self._record_data(df)
        return matched.equity

    @property
    def benchmark_label(self) -> str:
        """What the benchmark is called in figures and in the report."""
        from pipeline.backtest.benchmark import benchmark_label

        wanted = self.spec.benchmark
        return benchmark_label(wanted.source, wanted.label, self._symbol)

    def input(self, given: Any, *, name: str | None = None) -> Any:
        """Declare an input of the run; return the path to read, or the frame to work with.

        `given` is a path (a file, a folder, a pattern), a frame (pandas, Arrow or what speaks Arrow's protocol), or a
        function without arguments that returns a frame, which a replay does not call. The default name of a path is
        that of the file; where the spec or `--input` names an input so, the path is theirs. A frame is kept as Parquet,
        returned as it reads back, and in a replay is the one that was kept. Raises DataError, UsageError.
        """
        from pipeline.inputs.given import declare

        self._require_open()
        root, results = self.settings.root, self.settings.results
        return declare(given, name, watches=self._watches(), asked=self.spec.inputs, root=root, results=results)

    def _watches(self) -> Sequence[Watch]:
        """Return what watches the reads of this run: of an orchestrated run, what watches its kernel."""
        from pipeline.inputs.watch import watching

        return watching()[:1]

    def save(
        self,
        result: Any,
        *,
        benchmark: pd.Series | None = None,
        robustness: bool = True,
        replace: bool = False,
        rerun: Callable[..., Any] | None = None,
        bars: pd.DataFrame | pd.Series | None = None,
        **given: Any,
    ) -> None:
        """Write the artifacts of the run directory's contract, and record the metrics with the tracker.

        `result` is a result of `run.backtest`, a Result of the contract, a returns or equity Series, a frame of weights
        (with `prices`), or what an engine that an adapter knows returned. `given` says what the object does not: the
        fields of pipeline.engines.adapter.Given (`kind`, `capital`, `prices`, …) and of the contract's Result
        (`trades`, `symbols`, `currency`, `metrics`, …). A run has one result; `replace` puts this one in its place.

        With `robustness`, unless the spec's `run.robustness` is false, the strategy is also run again under other
        assumptions and tested for look-ahead; what that finds is `robustness.json`. It needs a result of
        `run.backtest`, or a function `rerun` that makes `result` again from `bars` (the prices, unless they are given),
        see docs/results.md, and never fails the run.

        A `benchmark` that is not the one the spec names is refused, since the report would call it by a wrong name; so
        is a result under another symbol, other costs, execution or risk-free rate than the spec's, or bars a year other
        than those it gives. Another strategy is a warning of the run. Raises ResultError for what is no result, before
        anything is written; UsageError for a second result and for a sealed run.
        """
        from pipeline.backtest.engine import BacktestResult

        self._require_open()
        if self._saved and not replace:
            raise UsageError(
                f"The run {self.run_id} has its result already: run.save was called before. Save once, or say "
                "run.save(…, replace=True) for the one that counts."
            )
        if isinstance(result, BacktestResult):
            given |= {name: one for name, one in (("rerun", rerun), ("bars", bars)) if one is not None}
            stats = self._save_bundled(result, benchmark, robustness=robustness, given=given)
        else:
            again = _asked_for(rerun, bars, result, given)
            stats = self._save_any(result, benchmark, given, again if robustness and self.spec.run.robustness else None)
        self._saved = True
        self.tracker.log_metrics({name: value for name, value in stats.items() if value is not None})

    def _save_bundled(
        self, result: BacktestResult, benchmark: pd.Series | None, *, robustness: bool, given: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        from pipeline.artifacts import write_backtest_artifacts
        from pipeline.result_files import write_record
        from pipeline.results.bundled import result_of
        from pipeline.robustness import Subject, write_robustness

        if given:
            raise UsageError(f"A result of run.backtest says all of itself: leave out {', '.join(given)}.")
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
            write_robustness(Subject(result, case, benchmark), self.dir.path)
        write_record(result_of(result, None if case is None else case.df["close"]), self.dir)
        return result.stats

    def _save_any(
        self, value: Any, benchmark: pd.Series | None, given: Mapping[str, Any], again: Rerun | None
    ) -> Mapping[str, Any]:
        from pipeline.engines.saving import result_of
        from pipeline.reruns import examine
        from pipeline.result_files import write_result

        more = dict(given) if benchmark is None else {**given, "benchmarks": {self._benchmark_name: benchmark}}
        result = result_of(value, more)
        if (declared := self.spec.strategy) is not None and result.strategy is None:
            params = declared.params if result.params is None else result.params
            result = dataclasses.replace(result, strategy=declared.name, params=params)
        examined = None if again is None else examine(again, result)
        return write_result(result, self.dir, figure=self.spec.run.figures, examined=examined)

    @property
    def _benchmark_name(self) -> str:
        return self.spec.benchmark.label or "benchmark"

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
        """Compare a result with what the spec asked for; a section that was left out asked for nothing."""
        spec = self.spec
        asked: dict[str, Any] = {} if spec.backtest is None else spec.backtest.model_dump()
        if "risk_free_rate" in asked:
            asked["risk_free_rate"] = asked["risk_free_rate"] or 0.0
        if spec.data is not None and result.config.get("symbol"):  # a result may leave it unknown
            asked["symbol"] = spec.data.symbol or ""
        if spec.data is not None and spec.data.periods_per_year is not None:
            asked["periods_per_year"] = spec.data.periods_per_year
        asked |= self._check_strategy(result)
        wrong = [name for name, value in asked.items() if name in result.config and result.config[name] != value]
        if wrong:
            said = "; ".join(f"{name} = {result.config[name]!r}, the spec says {asked[name]!r}" for name in wrong)
            raise ArtifactError(
                f"The result given to run.save was made with {said}. Give one of run.backtest(bars), and set values in "
                "the spec, or with -p, so that the evidence shows what was run."
            )

    def _check_strategy(self, result: BacktestResult) -> dict[str, Any]:
        """Return the params to compare where the spec's strategy ran; record that another one did."""
        from pipeline.backtest.strategies import as_strategy

        wanted = self.spec.strategy
        if wanted is None:
            return {}
        own = as_strategy(self._strategy().signal_fn).name, as_strategy(self.strategy_fn()).name
        if (ran := result.config.get("strategy")) in own:
            self.dir.other_strategy.unlink(missing_ok=True)
            return {"params": wanted.params}
        write_json(self.dir.other_strategy, {"ran": ran, "asked": wanted.name})
        return {}

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
        rows = [("run_id", self.run_id)]
        if (strategy := self.spec.strategy) is not None:
            rows.append(("strategy", f"{strategy.name} {strategy.params}"))
        if (data := self.spec.data) is not None:
            rows.append(("data", ", ".join(filter(None, (data.symbol, data.source)))))
        cells = "".join(f"<tr><th style='text-align:left'>{k}</th><td>{html.escape(v)}</td></tr>" for k, v in rows)
        return f"<table>{cells}</table>"


def _asked_for(rerun: Any, bars: Any, value: Any, given: Mapping[str, Any]) -> Rerun | None:
    from pipeline.engines.answers import asked_for

    if rerun is None and bars is not None:
        raise UsageError("bars are what rerun is called with: run.save(…, rerun=backtest, bars=prices).")
    return None if rerun is None else asked_for(rerun, bars, value, given)


def _on_labels(values: pd.Series) -> pd.Series:
    """Return a series on the labels that results have: UTC, days as midnight UTC."""
    import pandas as pd

    from pipeline.backtest.timestamps import utc_labels

    return values.set_axis(utc_labels(pd.DatetimeIndex(values.index)))


def _close(given: pd.Series, expected: pd.Series) -> bool:
    import numpy as np

    return given.index.equals(expected.index) and bool(np.allclose(given, expected, rtol=1e-9, equal_nan=True))
