"""Can it be trusted? Sharpe ratio against luck, intervals, deflation by the number of trials, look-ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.backtest.catalogue import COUNT, PERCENT, RATIO, metric
from pipeline.escape import markdown_text
from pipeline.report.blocks import Blocks, Cell, Column, markup, table
from pipeline.report.markup import NOTHING, html, meaning, together
from pipeline.report.numbers import DASH, bars_a_year, difference_kind, format_number, risk_free, several
from pipeline.report.sections.summary import look_ahead_mark
from pipeline.report.verdict import family, interval
from pipeline.robustness_record import RERUN, SEALED

if TYPE_CHECKING:
    from pipeline.backtest.significance import SharpeEvidence
    from pipeline.report.facts import Facts
    from pipeline.report.trials import Trials
    from pipeline.robustness_record import Intervals, Leakage

NOT_EXAMINED = (
    "This run left no `robustness.json`: it failed before, asked not to be examined, or is from an earlier version. "
    "Look-ahead, costs, delays, parameters and regimes were therefore not examined."
)
NOT_RUN_AGAIN = (
    "The strategy was not run again: that needs a result of `run.backtest`, or a function `rerun` in `run.save`. "
    "Look-ahead, costs, delays, parameters and regimes were therefore not examined."
)
STATISTICS = ("sharpe", "cagr", "max_drawdown")  # that have bootstrap intervals
NO_RETURNS = "This run left no returns to judge."


def significance(facts: Facts) -> Blocks:
    """Return the table about the Sharpe ratio: is it more than luck, and how long must the record be?"""
    found = facts.sharpe_evidence
    if found is None:
        return facts.missing(NO_RETURNS)
    rows = [
        _row("Sharpe ratio", format_number(found.sharpe_annual, RATIO), _annual(found, facts)),
        _row("Probabilistic Sharpe ratio", format_number(found.psr, PERCENT), _psr(found)),
        _row("Minimum track record", _years(found.min_track_record_years), _track_record(found)),
        _row("Trials counted", format_number(facts.trials.count, COUNT), _trials(facts)),
        _row("Deflated Sharpe ratio", _dsr(facts), _deflated(facts)),
    ]
    columns = [Column("Statistic"), Column("Value", numeric=True), Column("Convention")]
    return table("Is the Sharpe ratio more than luck?", columns, rows, name="evidence")


def bootstrap(facts: Facts) -> Blocks:
    """Return the bootstrap intervals, beside the benchmark's and of the difference."""
    found = facts.intervals
    if found is None:
        why = facts.robustness.notes.get("bootstrap", "")
        said = f" {markdown_text(why)}" if why else ""
        return facts.missing(f"There are no bootstrap intervals for this run.{said}")
    beside = "benchmark_sharpe" in found.ranges
    columns = [Column("Statistic"), Column("Strategy", numeric=True), Column("Interval", numeric=True)]
    if beside:
        columns += [Column(facts.benchmark_heading, numeric=True), Column("Interval", numeric=True)]
        columns += [Column("Difference", numeric=True), Column("Interval", numeric=True)]
    names = [*(("", "benchmark_", "") if beside else ("",))]
    ends = [*(("", "", "_difference") if beside else ("",))]
    rows: list[list[Cell]] = []
    for shown in map(metric, STATISTICS):
        cells = [
            _pair(facts, f"{before}{shown.name}{after}", difference_kind(shown.kind) if after else shown.kind)
            for before, after in zip(names, ends, strict=True)
        ]
        rows.append([shown.label, *(cell for pair in cells for cell in pair)])
    caption = f"{found.percent} bootstrap intervals, which are those of this page"
    caption += "; differences of percentages in percentage points (pp)" if beside else ""
    return table(caption, columns, rows, name="intervals") + _how(facts, found)


def look_ahead(facts: Facts) -> Blocks:
    """Return the verdict of the look-ahead check with its sentence and what it rests on."""
    if not facts.robustness.present:
        return facts.missing(NOT_RUN_AGAIN if facts.foreign else NOT_EXAMINED)
    leakage = facts.robustness.leakage
    if leakage is None:
        said = facts.robustness.notes.get("leakage", "")
        rest = ""
    else:
        said = leakage.sentence
        rest = (
            _rerun(leakage)
            if leakage.subject == RERUN
            else (
                "Two tests at each cut: signals on the bars before it must equal the first signals on all bars "
                "(truncation), and must stay when the bars from it on are put in another order (future shuffle). "
                f"{_responses(facts)}"
                f"Seed {_whole(leakage.seed)}, {_whole(leakage.calls)} calls of the strategy. "
                "No alarm is not a proof: only the cuts tried were looked at."
            )
        )
    mark = look_ahead_mark(facts.robustness.leak_status)
    note = html('\n<p class="note">{rest}</p>', rest=rest) if rest else NOTHING
    return markup(html('<p class="look-ahead">{mark} {said}</p>{note}', mark=mark, said=said, note=note))


def _rerun(leakage: Leakage) -> str:
    """Say what the check of a result of any engine rests on."""
    compared = "positions or weights, and returns where they are known" if leakage.positions else "returns"
    tried = leakage.own_bars
    bent = (
        f"At {_whole(tried)} bars the bar's own move was varied: a position held into it earns in proportion. "
        if tried
        else ""
    )
    return (
        f"A function of the notebook's made the result again, {_whole(leakage.calls)} times, without the bars "
        f"from a cut on and with these in another order; compared were {compared} before the cut. {bent}With all bars "
        f"replaced something must change. Seed {_whole(leakage.seed)}. No alarm is not a proof: only the cuts "
        "tried were looked at, and nothing that the function reads from files."
    )


def _responses(facts: Facts) -> str:
    """Say what came of replacing all bars, without which an answer to the two tests says little."""
    leakage = facts.robustness.leakage
    if leakage is None or leakage.responses is None:
        tried = facts.robustness.leak_status == "clean"
        return "Whether the signals depend on the bars at all was not tested by this run's version. " if tried else ""
    changed = _whole(leakage.responses)
    return f"With all bars replaced {changed} of the signals changed. "


def _row(name: str, value: str, convention: str) -> list[Cell]:
    return [name, value, meaning(convention)]


def _annual(found: SharpeEvidence, facts: Facts) -> str:
    return (
        f"Mean over standard deviation (ddof 1) of {several(found.moments.n, 'simple return')} per bar, times the "
        f"square root of {bars_a_year(facts.conventions)}; {risk_free(facts.conventions)}."
    )


def _analytic(found: SharpeEvidence | None) -> str:
    """Say what the other interval of the Sharpe ratio is, and why it is not the one that counts."""
    if found is None or found.interval_annual is None:
        return ""
    low, high = (format_number(bound, RATIO) for bound in found.interval_annual)
    return (
        f"The interval of the Sharpe ratio by formula (± 1.96 standard errors, Mertens 2002) is {low} to {high}. It "
        "takes returns for independent, and holds the true ratio less often than it says where they are not; the "
        "bootstrap draws whole stretches of bars and keeps what is between them. So head and verdict have the "
        "bootstrap's."
    )


def _psr(found: SharpeEvidence) -> str:
    moments = found.moments
    if found.psr is None:
        return "Undefined: the returns are too few, or do not vary."
    skewness, kurtosis = format_number(moments.skewness, RATIO), format_number(moments.kurtosis, RATIO)
    return (
        "Probability that the true Sharpe ratio is above 0 (Bailey and López de Prado 2012), from the ratio per bar "
        f"with skewness {skewness} and kurtosis {kurtosis} (not excess, normal = 3)."
    )


def _track_record(found: SharpeEvidence) -> str:
    have = found.moments.n / found.periods_per_year
    needed = found.min_track_record_years
    if found.sharpe_annual is None:
        return "Undefined, as the ratio is."
    if needed is None:
        return "Years of such returns that would show a ratio above 0 with 95% confidence: no length is enough."
    enough = "long enough" if have >= needed else "too short"
    return (
        "Years of such returns needed to show a ratio above 0 with 95% confidence; "
        f"this run has {have:.1f}, which is {enough}."
    )


def _years(years: float | None) -> str:
    return DASH if years is None else f"{years:,.1f} years"


def _trials(facts: Facts) -> str:
    trials = facts.trials
    if trials.problem:
        return f"There may be more: {trials.problem}."
    if trials.ledger == 1:
        return "This run only: the ledger knows no earlier trial."
    results = several(len(trials.sharpes), "different result")
    return (
        f"Every trial that the ledger counts up to this run, of {family(trials)} at an overlapping time, whatever "
        f"became of it. {trials.exact:,} of them of this strategy's name on exactly these data; {trials.ledger:,} of "
        f"all families. {_left(trials)}{results}; {trials.there:,} of the trials counted are still in results/."
    )


def _left(trials: Trials) -> str:
    """Say of how many trials there is no Sharpe ratio; empty when there is one of each."""
    without = f"{trials.without:,} ended without a Sharpe ratio to compare, " if trials.without else ""
    unknown = f"of {trials.unknown:,} the result is unknown, " if trials.unknown else ""
    return f"{without}{unknown}"[:1].upper() + f"{without}{unknown}"[1:]


def _dsr(facts: Facts) -> str:
    return DASH if facts.deflated is None else format_number(facts.deflated.dsr, PERCENT)


def _deflated(facts: Facts) -> str:
    trials, found, evidence = facts.trials, facts.deflated, facts.sharpe_evidence
    if trials.problem:
        return "Not applicable: the ledger cannot be counted."
    if trials.count == 1:
        return "Not applicable: only this run is known, so nothing was chosen from."
    if found is None or evidence is None or found.expected_max is None:
        return "Not applicable: the trials have at most one result between them, so there is no spread to deflate by."
    best = format_number(found.expected_max * evidence.periods_per_year**0.5, RATIO)
    return (
        "Probability that the true Sharpe ratio is above the best that as many trials without skill are expected to "
        f"reach, {best} a year (Bailey and López de Prado 2014); variance (ddof 1) over the different results."
    )


def _pair(facts: Facts, name: str, kind: str) -> tuple[str, str]:
    found = facts.intervals.ranges.get(name) if facts.intervals is not None else None
    if found is None:
        return DASH, DASH
    return format_number(found.estimate, kind), interval(found, kind) if found.known else DASH


def _how(facts: Facts, found: Intervals) -> Blocks:
    where = "sealed with the run" if found.source == SEALED else "computed for this report"
    made = (
        f"Stationary bootstrap of the returns per bar, {found.repetitions:,} resamples, mean block "
        f"{found.block_length:.1f} bars, seed {found.seed}, {found.method} method, {where}; strategy and benchmark are "
        "resampled together. Sharpe ratio as above; CAGR by calendar time. Resampling shortens long falls and joins "
        "others, so intervals of the drawdown are not centred on the figure of the run."
    )
    parts = [part for part in (made, _analytic(facts.sharpe_evidence)) if part]
    said = together(html('<p class="note">{part}</p>\n', part=part) for part in parts)
    return markup(html("<details><summary>How these intervals are made</summary>\n{said}</details>", said=said))


def _whole(value: object) -> str:
    return format_number(value, COUNT)
