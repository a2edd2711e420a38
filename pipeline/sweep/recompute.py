"""Compute what a sweep says of its trials again from its sealed table of trials and their returns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pipeline.errors import UsageError
from pipeline.evidence.trial import TrialResult
from pipeline.replay.recompute import MALFORMED, Recomputation, Recomputed, compared, unchecked
from pipeline.report.trials import Trials, count_trials
from pipeline.sweep.judge import sweep_statistics
from pipeline.sweep.statistics import SweepStatistics
from pipeline.sweep.stored import Sweep
from pipeline.sweep.trial import Trial

if TYPE_CHECKING:
    from pipeline.run import Run

PARTS = {
    "deflation": ("sharpe", "expected_max", "dsr", "psr", "effective", "expected_max_effective", "dsr_effective"),
    "overfitting": ("pbo", "probability_of_loss", "degradation_slope", "blind"),
    "walk_forward": ("in_sample", "out_of_sample"),
}
CUT = "its result has more labels than all trials have together; `evidence recompute` of its own run does"
BY_SPREAD = frozenset({"expected_max", "dsr", "expected_max_effective", "dsr_effective"})


def recompute_sweep(run: Run) -> Recomputation:
    """Compute best trial, deflated Sharpe ratio, PBO and walk-forward again; raises UsageError without a table.

    Where the ledger is at hand, the family's trials are read from it; else only a family that is this sweep alone can
    be deflated from the table.
    """
    sweep = Sweep(run)
    if sweep.problem is not None or sweep.statistics is None or not sweep.trials:
        raise UsageError(sweep.problem or f"The sweep {run.run_id} has not ended: there is no table of its trials yet.")
    try:
        return Recomputation(run.run_id, tuple(_figures(sweep, sweep.statistics)))
    except MALFORMED as error:
        raise UsageError(f"The tables of the sweep {run.run_id} are not those of a sweep ({error!r}).") from None


def _figures(sweep: Sweep, sealed: SweepStatistics) -> Iterator[Recomputed]:
    counted, elsewhere = _counted(sweep, sealed)
    again = sweep_statistics(
        sweep.spec,
        sweep.trials,
        sweep.returns,
        dimensions={},
        counted=counted,
        importances={},
        risk_free_rate=sweep.run.conventions.rate,
    )
    yield compared("trials", sealed.counts.trials, again.counts.trials)
    yield compared("complete trials", sealed.counts.complete, again.counts.complete)
    yield compared("best trial", sealed.best, again.best)
    yield from _sharpes(sweep)
    for part, names in PARTS.items():
        then, now = getattr(sealed, part), getattr(again, part)
        if part == "walk_forward" and then is not None and then.trials:
            yield unchecked(part, then.out_of_sample, "it follows searches of its own, whose returns were not kept")
            continue
        for name in names if then is not None or now is not None else ():
            value = getattr(then, name, None)
            if name in BY_SPREAD and elsewhere:
                yield unchecked(f"{part}.{name}", value, elsewhere)
            else:
                yield compared(f"{part}.{name}", value, getattr(now, name, None))
    yield from _headline(sweep, sealed)


def _headline(sweep: Sweep, sealed: SweepStatistics) -> Iterator[Recomputed]:
    """Compare what stats.json says with statistics.json and the table."""
    stats: dict[str, Any] = sweep.run.stats
    best = next((trial for trial in sweep.trials if trial.number == sealed.best), None)
    told = {
        "trials": sealed.counts.trials,
        "deflated_sharpe": sealed.deflation.dsr if sealed.deflation else None,
        "pbo": sealed.overfitting.pbo if sealed.overfitting else None,
    }
    if best is not None:
        told |= {f"best_{name}": value for name, value in zip(sealed.objectives, best.values, strict=False)}
    yield from (compared(f"stats.json: {name}", stats[name], value) for name, value in told.items() if name in stats)


def _sharpes(sweep: Sweep) -> Iterator[Recomputed]:
    """Compare the Sharpe ratio of each trial with its returns, by the one that is furthest off."""
    from pipeline.backtest.metrics import return_stats

    used, found, cut = sweep.run.conventions, [], []
    for trial in sweep.trials:
        if _is_cut(sweep, trial):
            cut.append(unchecked(f"Sharpe ratio of trial {trial.number}", trial.stats.get("sharpe"), CUT))
        elif trial.state == "COMPLETE" and trial.number in sweep.returns and "sharpe" in trial.stats:
            returns = sweep.returns[trial.number].to_numpy()
            again = return_stats(returns, periods_per_year=used.periods_per_year, risk_free_rate=used.rate)["sharpe"]
            found.append(compared(f"Sharpe ratio of each trial (trial {trial.number})", trial.stats["sharpe"], again))
    worst = [one for one in found if one.verdict == "differs"] or found
    yield from worst[:1]
    yield from cut[:1]


def _is_cut(sweep: Sweep, trial: Trial) -> bool:
    """Say whether a notebook's trial has more returns than the sweep's table, which has those at common labels."""
    bars = trial.stats.get("n_bars")
    return sweep.spec.of_notebook and bars is not None and bars - 1 > len(sweep.returns)


def _counted(sweep: Sweep, sealed: SweepStatistics) -> tuple[Trials, str]:
    """Return the family's trials, and why their spread is not known when it is not."""
    if sweep.run.dir.ledger.is_file():
        return count_trials(sweep.run), ""
    rate, per_bar = sweep.run.conventions.rate, sweep.run.conventions.rate_per_period
    told = (TrialResult.of_stats(trial.stats, rate) for trial in sweep.trials if trial.state == "COMPLETE")
    results = [at for one in told if one is not None and (at := one.at_rate(per_bar)) is not None]
    sharpes = tuple({one.key: one.sharpe for one in results}.values())
    counts = sealed.counts
    family = counts.family or counts.trials
    more = family - counts.trials
    why = f"{more} of the {family} trials that deflate it are not in this table" if more else ""
    return Trials(family, counts.exact or family, counts.ledger, sharpes), why
