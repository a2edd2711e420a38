"""What the report of a sweep shows: the parts of the page, made from its facts.

The cells of `reports/sweep_report.qmd` call `open_sweep` and print the parts. Each part is Markdown text. The parts
about provenance are those of every run.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import UsageError
from pipeline.sweep.report.facts import SweepFacts
from pipeline.sweep.stored import is_sweep

if TYPE_CHECKING:
    from pipeline.run import Run


@dataclass(frozen=True)
class SweepPage(SweepFacts):
    """The report of one sweep. Read it as a list of parts; each is empty or says so when the sweep lacks its data."""

    def header(self) -> str:
        """Name, strategy, period, trials, status, the verdict and the headline numbers."""
        from pipeline.sweep.report import header, landscape

        return header.header(self) if self.images else landscape.style() + header.header(self)

    def verdict(self) -> str:
        """What the numbers say in plain sentences."""
        from pipeline.sweep.report import header

        return header.verdict_block(self)

    def how_to_use(self) -> str:
        """The commands that check the sweep, run its best trial, and open its study."""
        from pipeline.sweep.report import header

        return header.how_to_use(self)

    def configuration(self) -> str:
        """The spec with all defaults resolved; the password of a storage is left out."""
        from pipeline.sweep.report import header

        return header.without_password(super().configuration(), self.storage)

    def growth_figure(self) -> str:
        """Equity curves of the best trials beside the median one, interactive."""
        from pipeline.sweep.report import landscape

        return landscape.equity(self)

    def statistics(self) -> str:
        """Deflation, overfitting, out of sample and neighbourhood, each with its convention."""
        from pipeline.sweep.report import statistics_table

        return statistics_table.statistics(self)

    def out_of_sample(self) -> str:
        """The Sharpe ratio in and out of sample by each method, with logits and decay over the splits of CSCV."""
        from pipeline.sweep.report import validation

        parts = validation.decay(self), validation.overfitting_figures(self)
        return titled("### In sample and out of sample {#decay}", *parts, before=validation.caveat(self))

    def walk_forward(self) -> str:
        """The windows of the walk-forward, its stitched equity, and the paths of cross-validation."""
        from pipeline.sweep.report import validation

        parts = validation.forward_table(self), validation.forward_figures(self)
        return titled("### Walk-forward and cross-validation {#walk-forward}", *parts)

    def leaderboard(self) -> str:
        """The best trials."""
        from pipeline.sweep.report import leaderboard

        return leaderboard.leaders(self)

    def pareto(self) -> str:
        """The Pareto front of several objectives, interactive and as a table."""
        from pipeline.sweep.report import leaderboard

        return titled("### Pareto front {#pareto}", leaderboard.pareto(self))

    def history(self) -> str:
        """The objective by trial with the best so far, interactive."""
        from pipeline.sweep.report import landscape

        return landscape.history(self) or "\nOne trial was completed: there is no search to show.\n"

    def importances(self) -> str:
        """How much each param matters, interactive."""
        from pipeline.sweep.report import landscape

        return landscape.importances(self)

    def slices(self) -> str:
        """The objective over each param, interactive."""
        from pipeline.sweep.report import landscape

        return titled("### Each param {#slices}", landscape.slices(self))

    def maps(self) -> str:
        """The objective over the most important pairs of params."""
        from pipeline.sweep.report import landscape

        return titled("### Pairs of params {#pairs}", landscape.maps(self))

    def parallel(self) -> str:
        """Parallel coordinates."""
        from pipeline.sweep.report import landscape

        return landscape.parallel(self)

    def trials_table(self) -> str:
        """All trials, to be searched and sorted."""
        from pipeline.sweep.report import leaderboard

        return leaderboard.everything(self)

    def failures(self) -> str:
        """The failed trials and their errors."""
        from pipeline.sweep.report import landscape

        return landscape.failures(self)


def titled(heading: str, *parts: str, before: str = "") -> str:
    """Return parts below their heading, `before` in front of them; empty when all parts are."""
    text = "".join(parts)
    return f"\n{heading}\n{before}{text}" if text.strip() else ""


def open_sweep(run_id: str = "last", *, results: str | Path | None = None) -> SweepPage:
    """Open the page of a sweep of this project; plain `quarto render` starts here.

    `run_id` is an id, the start of one, a sweep's name, or `last`; `results` another directory of runs. Raises
    RunNotFoundError.
    """
    from dataclasses import replace

    from pipeline.settings import Settings
    from pipeline.sweep.stored import load_sweep

    settings = Settings.load()
    if results is not None:
        settings = replace(settings, results=Path(results).resolve())
    return build_sweep_page(load_sweep(str(run_id), settings=settings).run, linked=False)


def build_sweep_page(run: Run, *, images: Path | None = None, static: bool = False, linked: bool = True) -> SweepPage:
    """Return the page of a loaded sweep; raises UsageError when the run is no sweep."""
    if not is_sweep(run):
        raise UsageError(
            f"{run.run_id} is not a sweep: its spec has no [sweep] section. `evidence render` makes its report."
        )
    return SweepPage(run, images, static=static, linked=linked)
