"""What a report shows is made from these facts of one run, each read or computed at its first use."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.report.blocks import Blocks, text

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.backtest.conventions import Conventions
    from pipeline.backtest.engine import BacktestResult
    from pipeline.backtest.significance import DeflatedSharpe, SharpeEvidence
    from pipeline.backtest.spacing import DataFacts
    from pipeline.evidence.verify import Verification
    from pipeline.report.holdings import Holdings
    from pipeline.report.trials import TrialIndex, Trials
    from pipeline.results.boundary import Boundary
    from pipeline.results.kept import Kept
    from pipeline.robustness_record import Intervals, Range, Robustness
    from pipeline.run import Run
    from pipeline.run_record import RunRecord

FINISHED = "FINISHED"


@dataclass(frozen=True)
class Facts:
    """What a report knows of its run; each is empty or None when the run lacks its data.

    `images` is a directory beside the Markdown where figures are put as files; None embeds them in the text, as
    plain `quarto render` needs it. `static` leaves out what a page without plotly.js has no use for; `index` is what
    is known of all runs, where many reports are made. `linked` says that the page will be beside the files of its run.
    """

    run: Run
    images: Path | None = None
    static: bool = field(default=False, kw_only=True)
    linked: bool = field(default=True, kw_only=True)
    index: TrialIndex | None = field(default=None, kw_only=True)

    @property
    def record(self) -> RunRecord:
        """What is known of the run."""
        return self.run.record

    @property
    def finished(self) -> bool:
        """Say whether the run ended as it should."""
        return self.run.status == FINISHED

    def address(self, path: str) -> str | None:
        """Return a link to a file of the run; None on a page that is not beside it, or goes out on its own."""
        from pipeline.escape import relative_url

        return relative_url(path) if self.linked else None

    def missing(self, said: str) -> Blocks:
        """Return what a part says in the place of its content; nothing on the page of a run that did not finish."""
        return text(said) if self.finished else ()

    @property
    def title(self) -> str:
        """The run's name, else the start of its id."""
        return self.record.name or f"Run {self.run.run_id[:8]}"

    @cached_property
    def equity(self) -> pd.DataFrame:
        """The equity curve; empty when the run left none that can be read."""
        return _read(self.run, "equity", needed=("equity",))

    @property
    def daily(self) -> bool:
        """Say whether every bar is stamped with a day alone, midnight UTC; true without bars."""
        import pandas as pd

        index = pd.DatetimeIndex(self.equity.index) if len(self.equity) else pd.DatetimeIndex([])
        return bool((index == index.normalize()).all())

    @property
    def data_facts(self) -> DataFacts | None:
        """What the run recorded of its bars; None for a run without `data.json`, or one that cannot be read."""
        return self.run.data_facts

    @cached_property
    def trades(self) -> pd.DataFrame:
        """The trades; empty when the run left none that can be read. Without an exit a trade is open."""
        found = _read(self.run, "trades", needed=("side", "net_pnl"))
        if "is_open" in found or not len(found.columns):
            return found
        return found.assign(is_open=found["exit_time"].isna() if "exit_time" in found else False)

    @cached_property
    def kept(self) -> Kept:
        """The tables, folds and figures of the result."""
        from pipeline.results.kept import Kept

        return Kept(self.run.dir)

    @cached_property
    def boundary(self) -> Boundary | None:
        """What of the result was checked, taken as given and not examined: as sealed, else as its record says."""
        return self.record.boundary or (None if self.run.result is None else self.run.result.boundary)

    @cached_property
    def held(self) -> pd.Series | None:
        """Whether something is held at each label, by weights, positions or trades; None where nothing tells."""
        from pipeline.report.rebuilt import TRADE_NEEDS, open_trades

        if self.holdings is not None:
            return self.holdings.held
        if self.result is None or not set(self.trades.columns) >= TRADE_NEEDS:
            return None
        return open_trades(self.trades, self.result.equity_curve.index) > 0

    @cached_property
    def holdings(self) -> Holdings | None:
        """The weights of each symbol over time and what follows from them; None where they are not known."""
        from pipeline.report.holdings import read_holdings

        return None if self.result is None else read_holdings(self.kept, self.result.equity_curve)

    @cached_property
    def stats(self) -> dict[str, float | int | None]:
        """The metrics; empty when the run left none."""
        return self.run.stats

    @property
    def conventions(self) -> Conventions:
        """Bars a year and risk-free rate of every figure on the page."""
        return self.run.conventions

    @cached_property
    def initial_cash(self) -> float | None:
        """What the equity starts from: as the result says, else as its own total return tells, else the spec's.

        None when nothing tells it. A run from before `result.json` may have traded another cash than its spec's.
        """
        from pipeline.files import number

        if self.run.result is not None and self.run.result.capital is not None:
            return self.run.result.capital
        given = number(self.run.what.capital)
        final, growth = number(self.stats.get("final_equity")), number(self.stats.get("total_return"))
        if final is None or growth is None or final == 0.0 or growth == -1.0:
            return given
        start = final / (1.0 + growth)
        return given if given is not None and math.isclose(start, given, rel_tol=1e-9) else start

    @property
    def unit(self) -> str:
        """What amounts are in: the currency, else `units of the prices`, or of the capital for another engine."""
        from pipeline.report.numbers import money_unit

        other = self.foreign and self.conventions.currency is None
        return "units of the capital" if other else money_unit(self.conventions)

    @property
    def benchmark_name(self) -> str:
        """What the benchmark is called inside a sentence."""
        from pipeline.backtest.benchmark import benchmark_label

        if self.foreign and self.run.result is not None and self.run.result.benchmarks:
            return self.run.result.benchmarks[0]

        asked = None if self.run.spec is None else self.run.spec.benchmark
        source, label = (None, None) if asked is None else (asked.source, asked.label)
        return benchmark_label(source, label, self.run.what.symbol)

    @property
    def benchmark_heading(self) -> str:
        """The same with a capital letter."""
        return self.benchmark_name[:1].upper() + self.benchmark_name[1:]

    @cached_property
    def benchmark(self) -> dict[str, float | int | None]:
        """The same metrics for the benchmark's equity; empty without one."""
        from pipeline.backtest.metrics import compute_stats

        curve = self.equity.get("benchmark_equity")
        known = curve.dropna() if curve is not None else None
        if known is None or len(known) < 2 or known.iloc[0] <= 0:
            return {}
        used = self.conventions
        return compute_stats(self.path_of(known), periods_per_year=used.periods_per_year, risk_free_rate=used.rate)

    @cached_property
    def verification(self) -> Verification:
        """Whether the run directory matched its seal when the page was made."""
        from pipeline.evidence.verify import verify_run

        return verify_run(self.run.dir, report=False)

    @cached_property
    def result(self) -> BacktestResult | None:
        """The backtest as far as equity and trades tell it; None for a run without a usable curve."""
        from pipeline.report.rebuilt import rebuilt

        curve = self.equity.get("equity")
        return rebuilt(curve, self.trades, cash=self.initial_cash, stats=self.stats, conventions=self.conventions)

    @cached_property
    def benchmark_equity(self) -> pd.Series | None:
        """The benchmark's equity when there is one for every bar."""
        curve = self.equity.get("benchmark_equity")
        return curve if curve is not None and len(curve) and bool((curve > 0).all()) else None

    @cached_property
    def robustness(self) -> Robustness:
        """What the run found out about itself; `present` is False for a run without `robustness.json`."""
        from pipeline.robustness_record import Robustness

        return Robustness.read(self.run.dir)

    @cached_property
    def intervals(self) -> Intervals | None:
        """Bootstrap intervals: those the run sealed, else computed here with the same settings."""
        from pipeline.errors import EvidenceError
        from pipeline.robustness import bootstrap
        from pipeline.robustness_record import COMPUTED

        if self.robustness.intervals is not None or self.result is None:
            return self.robustness.intervals
        other, cash = self.benchmark_equity, self.result.config["initial_cash"]
        beside = None if other is None else self.path_of(other)
        try:
            path = self.path_of(self.result.equity_curve)
            return bootstrap(path, cash, self.conventions, beside, source=COMPUTED)
        except (EvidenceError, ValueError, TypeError):
            return None

    def interval(self, name: str) -> Range | None:
        """Return one bootstrap interval, None when it is undefined."""
        return self.intervals.get(name) if self.intervals is not None else None

    @property
    def foreign(self) -> bool:
        """Say whether another engine than this package's own made the result; False where nothing tells."""
        from pipeline.results.bundled import ENGINE

        found = self.run.result
        return found is not None and (found.engine is None or found.engine.name != ENGINE)

    @cached_property
    def first_counts(self) -> bool:
        """Say whether the first label ends a period, whose return counts from the capital.

        The metrics of this package's own engine have one return fewer than bars, of which the first counts from there.
        """
        found = self.run.result
        if not self.foreign or found is None or self.initial_cash is None or self.equity.empty:
            return False
        if found.first_label is not None:
            return found.first_label == "period"
        return float(self.equity["equity"].iloc[0]) != found.capital

    @cached_property
    def returns(self) -> pd.Series:
        """Simple returns by the label they end at, those that stats.json is made from; empty without a usable curve."""
        import pandas as pd

        from pipeline.backtest.metrics import simple_returns

        if self.result is None:
            return pd.Series(dtype=float)
        path = self.path_of(self.result.equity_curve)
        return pd.Series(simple_returns(path, self.result.config["initial_cash"]), index=path.index[1:])

    def path_of(self, curve: pd.Series) -> pd.Series:
        """Return a curve of equity with what it starts from before it, where its first return counts from there."""
        from pipeline.results.recompute import with_capital

        return with_capital(curve, self.initial_cash or float(curve.iloc[0])) if self.first_counts else curve

    @cached_property
    def sharpe_evidence(self) -> SharpeEvidence | None:
        """PSR, track record length and analytic interval of the Sharpe ratio; None when nothing can be annualised."""
        from pipeline.backtest.significance import assess_sharpe

        used = self.conventions
        if self.result is None or used.periods_per_year is None:
            return None
        returns = self.returns.to_numpy()
        return assess_sharpe(returns, periods_per_year=used.periods_per_year, risk_free_rate=used.rate)

    @cached_property
    def trials(self) -> Trials:
        """The trials this run was chosen from."""
        from pipeline.report.trials import count_trials

        return self.index.trials_of(self.run) if self.index is not None else count_trials(self.run)

    @cached_property
    def deflated(self) -> DeflatedSharpe | None:
        """The deflated Sharpe ratio; None when there was nothing to choose from."""
        from pipeline.backtest.significance import deflate

        if self.sharpe_evidence is None or not self.trials.applicable:
            return None
        return deflate(self.sharpe_evidence.moments, self.trials.sharpes, n_trials=self.trials.count)


def _read(run: Run, name: str, *, needed: tuple[str, ...]) -> pd.DataFrame:
    """Read a table of the run; one that is damaged or lacks a column counts as missing (the seal says why)."""
    import pandas as pd

    try:
        table: pd.DataFrame = getattr(run, name)
    except (OSError, ValueError, KeyError):
        return pd.DataFrame()
    return table if set(needed) <= set(table.columns) else pd.DataFrame()
