"""What the report of a sweep shows: the parts of the page, made from its facts.

The cells of `reports/sweep_report.qmd` call `open_sweep` and print the parts. The parts about provenance are
those of every run.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import UsageError
from pipeline.report.blocks import Blocks, heading
from pipeline.report.page import Part
from pipeline.report.sections.provenance import configuration
from pipeline.sweep.report import header as head
from pipeline.sweep.report import landscape, statistics_table, validation
from pipeline.sweep.report import leaderboard as board
from pipeline.sweep.report.facts import SweepFacts
from pipeline.sweep.stored import is_sweep

if TYPE_CHECKING:
    from pipeline.run import Run


def _out_of_sample(facts: SweepFacts) -> Blocks:
    """Return the Sharpe ratio in and out of sample by each method, with logits and decay over the splits of CSCV."""
    parts = validation.decay(facts) + validation.overfitting_figures(facts)
    return _titled("In sample and out of sample", "decay", validation.caveat(facts) + parts if parts else ())


def _walk_forward(facts: SweepFacts) -> Blocks:
    """Return the windows of the walk-forward, its stitched equity, and the paths of cross-validation."""
    parts = validation.forward_table(facts) + validation.forward_figures(facts)
    return _titled("Walk-forward and cross-validation", "walk-forward", parts)


def _header(facts: SweepFacts) -> Blocks:
    """Return name, strategy, period, trials, status, the verdict and the headline numbers."""
    return (() if facts.images else landscape.style()) + head.header(facts)


def _configuration(facts: SweepFacts) -> Blocks:
    """Return the spec with all defaults resolved; the password of a storage is left out."""
    return configuration(facts, facts.storage)


def _pareto(facts: SweepFacts) -> Blocks:
    """Return the Pareto front of several objectives, interactive and as a table."""
    return _titled("Pareto front", "pareto", board.pareto(facts))


def _slices(facts: SweepFacts) -> Blocks:
    """Return the objective over each param, interactive."""
    return _titled("Each param", "slices", landscape.slices(facts))


def _maps(facts: SweepFacts) -> Blocks:
    """Return the objective over the most important pairs of params."""
    return _titled("Pairs of params", "pairs", landscape.maps(facts))


def _titled(said: str, name: str, inside: Blocks) -> Blocks:
    """Return blocks below their heading; nothing when there are none."""
    return heading(3, said, name) + inside if inside else ()


@dataclass(frozen=True)
class SweepPage(SweepFacts):
    """The report of one sweep. Each part is called and printed; what it shows is said where it is made."""

    header = Part(_header)
    verdict = Part(head.verdict_block)
    how_to_use = Part(head.how_to_use)
    configuration = Part(_configuration)
    growth_figure = Part(landscape.equity)
    statistics = Part(statistics_table.statistics)
    out_of_sample = Part(_out_of_sample)
    walk_forward = Part(_walk_forward)
    leaderboard = Part(board.leaders)
    pareto = Part(_pareto)
    history = Part(landscape.history)
    importances = Part(landscape.importances)
    slices = Part(_slices)
    maps = Part(_maps)
    parallel = Part(landscape.parallel)
    trials_table = Part(board.everything)
    failures = Part(landscape.failures)


def build_sweep_page(run: Run, *, images: Path | None = None, static: bool = False, linked: bool = True) -> SweepPage:
    """Return the page of a loaded sweep; raises UsageError when the run is no sweep."""
    if not is_sweep(run):
        raise UsageError(
            f"{run.run_id} is not a sweep: its spec has no [sweep] section. `evidence render` makes its report."
        )
    return SweepPage(run, images, static=static, linked=linked)
