"""What one report shows: the parts of the page, made from the facts of a run.

The cells of `reports/backtest_report.qmd` call `open_page` and print the parts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.report import sections
from pipeline.report.blocks import Blocks
from pipeline.report.facts import Facts
from pipeline.report.writer import Figures, Writer

if TYPE_CHECKING:
    from pipeline.report.trials import TrialIndex
    from pipeline.run import Run


class Part:
    """A part of a page: on a page a function that writes it as Markdown."""

    def __init__(self, blocks: Callable[[Any], Blocks]) -> None:
        self.blocks = blocks
        self.__doc__ = blocks.__doc__

    def __get__(self, page: Page, owner: type[Page]) -> Callable[[], str]:
        """Return what writes this part of a page, Markdown; empty, or a sentence, when the run lacks its data."""
        return partial(_written, page, self.blocks)


@dataclass(frozen=True)
class Page(Facts):
    """The report of one run. Each part is called and printed; what it shows is said where it is made."""

    header = Part(sections.summary.header)
    failure = Part(sections.failure.failure)
    metrics = Part(sections.summary.metrics)
    own_metrics = Part(sections.result.own_metrics)
    benchmarks = Part(sections.portfolio.benchmarks)
    what_was_checked = Part(sections.result.checked)
    weights = Part(sections.portfolio.weights)
    holdings_table = Part(sections.portfolio.holdings)
    correlation = Part(sections.portfolio.correlation)
    folds = Part(sections.folds.folds)
    own_figures = Part(sections.own.figures)
    own_tables = Part(sections.own.tables)
    equity_figure = Part(sections.performance.equity)
    verdict = Part(sections.summary.verdict_line)
    significance = Part(sections.trust.significance)
    bootstrap = Part(sections.trust.bootstrap)
    look_ahead = Part(sections.trust.look_ahead)
    sensitivity_figure = Part(sections.sensitivity.multiples)
    sensitivity_tables = Part(sections.sensitivity.tables)
    by_year = Part(sections.sensitivity.by_year)
    by_regime = Part(sections.sensitivity.by_regime)
    static_figures = Part(sections.performance.static_figures)
    yearly_returns = Part(sections.performance.yearly)
    monthly_returns = Part(sections.performance.monthly)
    rolling = Part(sections.risk.rolling)
    distribution = Part(sections.risk.distribution)
    worst_drawdowns = Part(sections.risk.drawdowns)
    activity = Part(sections.risk.activity)
    crises = Part(sections.risk.crises)
    trade_figures = Part(sections.trades.figures)
    trade_costs = Part(sections.trades.costs)
    trade_summary = Part(sections.trades.summary)
    trade_table = Part(sections.trades.listing)
    data = Part(sections.data.data)
    provenance = Part(sections.provenance.provenance)
    how_to_verify = Part(sections.provenance.how_to_verify)
    configuration = Part(sections.provenance.configuration)
    environment = Part(sections.provenance.environment)
    artifacts = Part(sections.provenance.artifacts)
    warnings = Part(sections.provenance.warnings)

    @property
    def figures(self) -> Figures:
        """How figures are written: drawn, with their data, or for plain `quarto render` as data alone."""
        return Figures.DRAWN if self.static else Figures.DATA if self.images is None else Figures.BOTH


def _written(page: Page, blocks: Callable[[Any], Blocks]) -> str:
    return Writer(page.figures, page.images).write(blocks(page))


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
