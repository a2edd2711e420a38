"""What one report shows: the parts of the page, made from the facts of a run.

The cells of `reports/backtest_report.qmd` call `open_page` and print the parts. Each part is Markdown text.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.report.facts import Facts

if TYPE_CHECKING:
    from pipeline.report.trials import TrialIndex
    from pipeline.run import Run


@dataclass(frozen=True)
class Page(Facts):
    """The report of one run. Read it as a list of parts; each is empty or says so when the run lacks its data."""

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

    def own_metrics(self) -> str:
        """Metrics of the user's own, with unit and meaning; empty without any."""
        from pipeline.report.sections import result

        return result.own_metrics(self)

    def benchmarks(self) -> str:
        """The benchmarks beside each other; empty for fewer than two."""
        from pipeline.report.sections import portfolio

        return portfolio.benchmarks(self)

    def what_was_checked(self) -> str:
        """The identities of the result, the engine's own numbers, the verification boundary; empty for an old run."""
        from pipeline.report.sections import result

        return result.checked(self)

    def weights(self) -> str:
        """Weights and exposure over time, interactive; empty where they are not known."""
        from pipeline.report.sections import portfolio

        return portfolio.weights(self)

    def holdings_table(self) -> str:
        """The largest holdings, what each contributed, and its turnover; empty without weights."""
        from pipeline.report.sections import portfolio

        return portfolio.holdings(self)

    def correlation(self) -> str:
        """Correlation of the largest holdings, as a shaded table; empty without prices."""
        from pipeline.report.sections import portfolio

        return portfolio.correlation(self)

    def folds(self) -> str:
        """Train and test windows and the stitched out-of-sample curve; empty without folds."""
        from pipeline.report.sections import folds

        return folds.folds(self)

    def own_figures(self) -> str:
        """The interactive figures of the user's own; empty without any."""
        from pipeline.report.sections import own

        return own.figures(self)

    def own_tables(self) -> str:
        """The tables of the user's own; empty without any."""
        from pipeline.report.sections import own

        return own.tables(self)

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

    def rolling(self) -> str:
        """Rolling Sharpe ratio, volatility and beta, interactive."""
        from pipeline.report.sections import risk

        return risk.rolling(self)

    def distribution(self) -> str:
        """Histogram and QQ view of the returns, interactive."""
        from pipeline.report.sections import risk

        return risk.distribution(self)

    def worst_drawdowns(self) -> str:
        """The worst drawdowns, one a row."""
        from pipeline.report.sections import risk

        return risk.drawdowns(self)

    def activity(self) -> str:
        """Exposure and turnover by month, interactive."""
        from pipeline.report.sections import risk

        return risk.activity(self)

    def crises(self) -> str:
        """Returns through known falls of the market."""
        from pipeline.report.sections import risk

        return risk.crises(self)

    def trade_figures(self) -> str:
        """P&L, excursions and duration of the trades, interactive."""
        from pipeline.report.sections import trades

        return trades.figures(self)

    def trade_costs(self) -> str:
        """What fees and slippage took."""
        from pipeline.report.sections import trades

        return trades.costs(self)

    def trade_summary(self) -> str:
        """Counts and sums of the trades, by side."""
        from pipeline.report.sections import trades

        return trades.summary(self)

    def trade_table(self) -> str:
        """The trades, one a row."""
        from pipeline.report.sections import trades

        return trades.listing(self)

    def data(self) -> str:
        """The bars: what labels them, how they were read, gaps and leaps."""
        from pipeline.report.sections import data

        return data.data(self)

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
    return build_page(load_run(str(run_id), settings=settings), linked=False)


def build_page(
    run: Run,
    *,
    images: Path | None = None,
    static: bool = False,
    index: TrialIndex | None = None,
    linked: bool = True,
) -> Page:
    """Return the page of a loaded run."""
    return Page(run, images, static=static, index=index, linked=linked)
