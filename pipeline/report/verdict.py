"""Sentences about a run, made from its numbers, that say no more than the numbers carry."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard

from pipeline.backtest.catalogue import PERCENT, RATIO
from pipeline.report.numbers import format_number, several

if TYPE_CHECKING:
    from pipeline.report.facts import Facts
    from pipeline.report.trials import Trials
    from pipeline.robustness_record import Range, Robustness

MOST_NAMES = 5  # of instruments, in a sentence
LEAKS = "{} looks into the future, so no number on this page says what it could have earned."
UNJUDGED = "Whether {} looks into the future cannot be judged: {}."
ONLY_IF = " The numbers hold only if no signal knew a later bar."
WHY_UNJUDGED = {
    "constant": "its signal is the same at every bar, whatever the bars",
    "independent": "its signals do not depend on the bars it is given",
    "mixed": "its signals depend on more than the bars it is given",
    "fails": "it fails on any other bars",
    "other": "run again on its own bars, it gives another result than the one that was saved",
    "inside": "it decides by the very bar in which it earns, or has orders inside of it",
}
COLLAPSE = "One bar of delay takes its Sharpe ratio from {} to {}; such a collapse is a sign of look-ahead."
ONLY_LUCK = "that is about luck and says nothing about look-ahead"
STOCHASTIC = "{} gives different signals for the same bars, so another {} would give other numbers."
FAILED = "This run failed, so its numbers may be those of a part of it."
BROKEN = "Files of this run differ from its seal, so these may not be the numbers it had."
RUINED = "The account was ruined: its equity fell to 0 or below, and trading stopped there."
IDLE = "The strategy closed no trade and held none at the end, so there is nothing to judge."
UNDEFINED = "The Sharpe ratio is undefined for this run: its returns are too few, or do not vary."
CONVINCING = 0.95
FEW = 30


def verdict(facts: Facts) -> str:
    """Return the verdict line: what forbids to trust the numbers, Sharpe ratio with its interval, difference, trials.

    Empty for a run without metrics. An interval that includes 0 is called "not distinguishable".
    """
    if not facts.stats:
        return ""
    sharpe = facts.stats.get("sharpe")
    known = []
    if _is(sharpe):
        known = [_sharpe(facts, float(sharpe)), _collapse(facts), _difference(facts), _few(facts), _deflated(facts)]
    return " ".join(part for part in [*_warnings(facts), *(known or [_nothing(facts)])] if part)


def _warnings(facts: Facts) -> list[str]:
    """Return what has to be said before any number."""
    said = [look_ahead_sentence(facts.robustness, "the strategy")]
    said.append("" if facts.finished else FAILED)
    said.append("" if facts.run.manifest_digest is None or facts.verification.ok else BROKEN)
    return [*said, RUINED if facts.stats.get("bankrupt") else ""]


def look_ahead_sentence(found: Robustness, who: str, again: str = "run") -> str:
    """Return what the look-ahead check forbids to trust of `who`; empty when it found nothing, or was not made."""
    first = who[:1].upper() + who[1:]
    why = WHY_UNJUDGED.get(found.blind_reason, WHY_UNJUDGED["mixed"])
    only_if = "" if found.blind_reason == "constant" else ONLY_IF  # one signal for all knows of no bar
    by_status = {
        "leak": LEAKS.format(first),
        "stochastic": STOCHASTIC.format(first, again),
        "unjudged": UNJUDGED.format(who, why) + only_if,
    }
    return by_status.get(found.leak_status, "")


def _nothing(facts: Facts) -> str:
    trades = (facts.stats.get("total_trades"), facts.stats.get("open_trades"))
    return IDLE if trades == (0, 0) else UNDEFINED


def _few(facts: Facts) -> str:
    """Say how few trades the result rests on; empty from thirty on, and where they were not counted."""
    trades = facts.stats.get("total_trades")
    if not _is(trades) or trades >= FEW:
        return ""
    if trades == 0:
        still = facts.stats.get("open_trades")
        return f"It closed no trade; {several(int(still), 'position')} held to the end." if _is(still) and still else ""
    return f"It rests on {several(int(trades), 'closed trade')}."


def _is(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def interval(found: Range, kind: str = RATIO) -> str:
    """Return the bounds of an interval: `0.20 to 0.96`."""
    return f"{format_number(found.low, kind)} to {format_number(found.high, kind)}"


def leak_word(status: str) -> tuple[str, str]:
    """Return the style and the words of the mark for a verdict of the look-ahead check."""
    from pipeline.robustness_record import LOOK_AHEAD

    return {"clean": "finished", "leak": "failed"}.get(status, "killed"), LOOK_AHEAD[status].upper()


def _sharpe(facts: Facts, sharpe: float) -> str:
    shown = f"Sharpe ratio {format_number(sharpe, RATIO)}"
    found = facts.interval("sharpe")
    if found is None or facts.intervals is None:
        return f"{shown}; its interval is undefined for this run."
    bounds = f"{shown}, {facts.intervals.percent} interval {interval(found)}"
    return f"{bounds}, {_against_zero(found, 'not distinguishable from 0')}."


def _collapse(facts: Facts) -> str:
    """Say that the ratio does not outlast one bar of delay: it falls below its own interval, and to half or less."""
    found, late = facts.interval("sharpe"), facts.robustness.delayed_sharpe(1)
    before = facts.robustness.delayed_sharpe(0)
    if found is None or found.low is None or late is None or before is None:
        return ""
    if not found.low > max(late, 0.0) or late > before / 2.0:
        return ""
    return COLLAPSE.format(format_number(before, RATIO), format_number(late, RATIO))


def _difference(facts: Facts) -> str:
    found, other = facts.interval("sharpe_difference"), facts.interval("benchmark_sharpe")
    if found is None or other is None:
        return ""
    said = f"Against {facts.benchmark_name} ({format_number(other.estimate, RATIO)}) the difference is "
    said += f"{format_number(found.estimate, RATIO)}, interval {interval(found)}"
    return f"{said}, {_against_zero(found, 'not distinguishable from the benchmark')}."


def _against_zero(found: Range, otherwise: str) -> str:
    """Say where an interval lies with respect to 0."""
    low, high = found.low or 0.0, found.high or 0.0
    if low > 0.0:
        return "above 0"
    return "below 0" if high < 0.0 else f"which includes 0: {otherwise}"


def _deflated(facts: Facts) -> str:
    trials, deflated = facts.trials, facts.deflated
    if trials.problem or trials.count == 1:
        return ""
    runs = f"This is one of {trials.count:,} trials of {family(trials)}"
    if deflated is None or deflated.dsr is None:
        why = "" if len(trials.sharpes) > 1 else ", which have at most one result between them"
        return f"{runs}{why}; its Sharpe ratio could not be deflated for that."
    side = "at least" if deflated.dsr >= CONVINCING else "short of"
    only = "" if facts.robustness.leak_status == "clean" else f"; {ONLY_LUCK}"
    return f"{runs}; deflated for that, its Sharpe ratio has a probability of {_share(deflated.dsr)}, {side} 95%{only}."


def family(trials: Trials) -> str:
    """Return what the trials are of, for a sentence: `the family momentum on SPX`."""
    scope = trials.scope
    if scope.family is None:
        return "this strategy on this data"
    names = scope.instruments
    some = ", ".join(names) if len(names) <= MOST_NAMES else f"{len(names):,} instruments"
    return f"the family {scope.family} on {some or 'an unknown instrument'}"


def _share(value: float) -> str:
    return f"{format_number(value, PERCENT)} to be more than luck"
