"""What one report shows: the facts of a run, and the parts of the page made from them.

The cells of `reports/backtest_report.qmd` call `open_page` and print the parts. Each part is Markdown text.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.backtest.engine import BacktestResult
    from pipeline.backtest.significance import DeflatedSharpe, SharpeEvidence
    from pipeline.evidence.verify import Verification
    from pipeline.report.robust import Intervals, Range, Robustness
    from pipeline.report.trials import Trials
    from pipeline.run import Run, RunRecord

FINISHED = "FINISHED"


@dataclass(frozen=True)
class Page:
    """The report of one run. Read it as a list of parts; each is empty or says so when the run lacks its data.

    `images` is a directory beside the Markdown where figures are put as files; None embeds them in the text, as
    plain `quarto render` needs it.
    """

    run: Run
    images: Path | None = None

    @property
    def record(self) -> RunRecord:
        """What is known of the run."""
        return self.run.record

    @property
    def finished(self) -> bool:
        """Say whether the run ended as it should."""
        return self.run.status == FINISHED

    @property
    def title(self) -> str:
        """The run's name, else the start of its id."""
        return self.record.name or f"Run {self.run.run_id[:8]}"

    def setting(self, section: str, key: str) -> Any:
        """Return one value of the resolved run spec, None when it is not there."""
        values = self.run.config.get(section)
        return values.get(key) if isinstance(values, dict) else None

    @cached_property
    def equity(self) -> pd.DataFrame:
        """The equity curve; empty when the run left none that can be read."""
        return _read(self.run, "equity", needed=("equity",))

    @cached_property
    def trades(self) -> pd.DataFrame:
        """The trades; empty when the run left none that can be read."""
        return _read(self.run, "trades", needed=("side", "net_pnl", "is_open"))

    @cached_property
    def stats(self) -> dict[str, float | int | None]:
        """The metrics; empty when the run left none."""
        values = self.run.stats
        return values if isinstance(values, dict) else {}

    @cached_property
    def benchmark(self) -> dict[str, float | int | None]:
        """The same metrics for the benchmark's equity; empty without one."""
        from pipeline.backtest.metrics import compute_stats

        curve = self.equity.get("benchmark_equity")
        known = curve.dropna() if curve is not None else None
        if known is None or len(known) < 2 or known.iloc[0] <= 0:
            return {}
        bars = self.stats.get("periods_per_year")
        return compute_stats(known, periods_per_year=float(bars) if bars else None)

    @cached_property
    def verification(self) -> Verification:
        """Whether the run directory matched its seal when the page was made."""
        from pipeline.evidence.verify import verify_run

        return verify_run(self.run.dir, report=False)

    @cached_property
    def result(self) -> BacktestResult | None:
        """The backtest as far as equity and trades tell it; None for a run without a usable curve."""
        from pipeline.report.rebuilt import rebuilt

        return rebuilt(self)

    @cached_property
    def benchmark_equity(self) -> pd.Series | None:
        """The benchmark's equity when there is one for every bar."""
        curve = self.equity.get("benchmark_equity")
        return curve if curve is not None and len(curve) and bool((curve > 0).all()) else None

    @cached_property
    def robustness(self) -> Robustness:
        """What the run found out about itself; `present` is False for a run without `robustness.json`."""
        from pipeline.report.robust import read_robustness

        return read_robustness(self.run)

    @cached_property
    def intervals(self) -> Intervals | None:
        """Bootstrap intervals: those the run sealed, else computed here with the same settings."""
        from pipeline.report.robust import computed_intervals

        if self.robustness.intervals is not None or self.result is None:
            return self.robustness.intervals
        return computed_intervals(self.result.equity_curve, self.benchmark_equity, self.result.config)

    def interval(self, name: str) -> Range | None:
        """Return one bootstrap interval, None when it is undefined."""
        return self.intervals.get(name) if self.intervals is not None else None

    @cached_property
    def sharpe_evidence(self) -> SharpeEvidence | None:
        """PSR, track record length and analytic interval of the Sharpe ratio; None when nothing can be annualised."""
        from pipeline.backtest.metrics import simple_returns
        from pipeline.backtest.significance import assess_sharpe

        result = self.result
        if result is None or not result.config["periods_per_year"]:
            return None
        config = result.config
        returns = simple_returns(result.equity_curve, config["initial_cash"])
        annual = {"periods_per_year": config["periods_per_year"], "risk_free_rate": config["risk_free_rate"]}
        return assess_sharpe(returns, **annual)

    @cached_property
    def trials(self) -> Trials:
        """The runs this one was chosen from."""
        from pipeline.report.trials import count_trials

        return count_trials(self.run)

    @cached_property
    def deflated(self) -> DeflatedSharpe | None:
        """The deflated Sharpe ratio; None when there was nothing to choose from."""
        from pipeline.backtest.significance import deflate

        if self.sharpe_evidence is None or not self.trials.applicable:
            return None
        return deflate(self.sharpe_evidence.moments, self.trials.sharpes, n_trials=self.trials.count)

    def header(self) -> str:
        """Name, strategy, symbol, period, status and the headline numbers."""
        from pipeline.report.sections import summary

        return summary.header(self)

    def failure(self) -> str:
        """What failed, where, with the traceback; empty for a finished run."""
        from pipeline.report.sections import failure

        return failure.failure(self)

    def metrics(self) -> str:
        """All metrics beside the benchmark's, with the convention of each."""
        from pipeline.report.sections import summary

        return summary.metrics(self)

    def equity_figure(self) -> str:
        """Equity and drawdown, interactive."""
        from pipeline.report.sections import performance

        return performance.equity(self)

    def verdict(self) -> str:
        """What the numbers say in plain sentences; empty without a Sharpe ratio."""
        from pipeline.report.sections import summary

        return summary.verdict_line(self)

    def significance(self) -> str:
        """PSR, track record length and deflated Sharpe ratio."""
        from pipeline.report.sections import trust

        return trust.significance(self)

    def bootstrap(self) -> str:
        """Bootstrap intervals beside the benchmark."""
        from pipeline.report.sections import trust

        return trust.bootstrap(self)

    def look_ahead(self) -> str:
        """The verdict of the look-ahead check."""
        from pipeline.report.sections import trust

        return trust.look_ahead(self)

    def sensitivity_figure(self) -> str:
        """The Sharpe ratio under other costs, delays and parameters."""
        from pipeline.report.sections import sensitivity

        return sensitivity.multiples(self)

    def sensitivity_tables(self) -> str:
        """The same as tables."""
        from pipeline.report.sections import sensitivity

        return sensitivity.tables(self)

    def by_year(self) -> str:
        """Statistics of each calendar year."""
        from pipeline.report.sections import sensitivity

        return sensitivity.by_year(self)

    def by_regime(self) -> str:
        """Statistics of each regime of the market."""
        from pipeline.report.sections import sensitivity

        return sensitivity.by_regime(self)

    def static_figures(self) -> str:
        """The figures the run itself left, as sealed."""
        from pipeline.report.sections import performance

        return performance.static_figures(self)

    def yearly_returns(self) -> str:
        """Returns by calendar year, interactive."""
        from pipeline.report.sections import performance

        return performance.yearly(self)

    def monthly_returns(self) -> str:
        """Returns by calendar month, as a table shaded like a heat map."""
        from pipeline.report.sections import performance

        return performance.monthly(self)

    def trade_summary(self) -> str:
        """Counts and sums of the trades, by side."""
        from pipeline.report.sections import trades

        return trades.summary(self)

    def trade_table(self) -> str:
        """The trades, one a row."""
        from pipeline.report.sections import trades

        return trades.listing(self)

    def provenance(self) -> str:
        """Who made this run from what, how it is tracked, and whether its seal matches."""
        from pipeline.report.sections import provenance

        return provenance.provenance(self)

    def how_to_verify(self) -> str:
        """The commands that check this run."""
        from pipeline.report.sections import provenance

        return provenance.how_to_verify(self)

    def configuration(self) -> str:
        """The run spec with all defaults resolved."""
        from pipeline.report.sections import provenance

        return provenance.configuration(self)

    def environment(self) -> str:
        """Interpreter, platform, packages, modules and lock files."""
        from pipeline.report.sections import provenance

        return provenance.environment(self)

    def artifacts(self) -> str:
        """The sealed files with size, digest and link."""
        from pipeline.report.sections import provenance

        return provenance.artifacts(self)

    def warnings(self) -> str:
        """The warnings of the run."""
        from pipeline.report.sections import provenance

        return provenance.warnings(self)


def open_page(run_id: str = "last", *, results: str | Path | None = None) -> Page:
    """Open the page of a run of this project; plain `quarto render` starts here.

    `run_id` is an id, the start of one, or `last`; `results` another directory of runs. Raises RunNotFoundError.
    """
    from dataclasses import replace

    from pipeline.run import load_run
    from pipeline.settings import Settings

    settings = Settings.load()
    if results is not None:
        settings = replace(settings, results=Path(results).resolve())
    return build_page(load_run(str(run_id), settings=settings))


def build_page(run: Run, *, images: Path | None = None) -> Page:
    """Return the page of a loaded run."""
    return Page(run, images)


def _read(run: Run, name: str, *, needed: tuple[str, ...]) -> pd.DataFrame:
    """Read a table of the run; one that is damaged or lacks a column counts as missing (the seal says why)."""
    import pandas as pd

    try:
        table: pd.DataFrame = getattr(run, name)
    except (OSError, ValueError, KeyError):
        return pd.DataFrame()
    return table if set(needed) <= set(table.columns) else pd.DataFrame()
