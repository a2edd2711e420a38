"""The verification boundary of a run: what was checked here, what is taken as given, what nobody looked at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, Self

from pipeline.results.identity import UNCHECKED, Reconciliation, listed

if TYPE_CHECKING:
    from pipeline.results.beside import Beside
    from pipeline.results.contract import Result

LookAhead = Literal["clean", "leak", "unjudged", "stochastic", "unchecked"]
LOOKED = {
    "clean": "Look-ahead: signals stay the same when the bars after them are cut off or shuffled.",
    "leak": "Look-ahead: signals change when the bars after them are cut off or shuffled: the strategy looks ahead.",
}
RERUN = {
    "clean": "Look-ahead: run again by a function of the notebook's on bars whose later part was cut off or shuffled, "
    "the result before it stayed the same.",
    "leak": "Look-ahead: run again on other bars, the result changed with what came later: it looks ahead.",
}
NOT_LOOKED = {
    "unjudged": "Look-ahead: the strategy was run again, but such signals cannot be judged by it.",
    "stochastic": "Look-ahead: the strategy gives other signals each time, so running it again tells nothing.",
    "unchecked": "Look-ahead: the strategy was not run again without the future.",
}
TABLES = {
    "trades": "The trades: that they happened, when, and at which prices",
    "fills": "The fills: that such orders would have been filled at those times and prices",
    "positions": "The positions at each label",
    "weights": "The weights at each label",
    "prices": "The prices that positions are valued at; no other source of them was asked",
    "cash": "The cash at each label",
    "leverage": "The leverage at each label",
}
# engines of this project: the equity is computed here from these tables, and the others with it
OWN = "evidence-chain"
HERE = {OWN: ("prices",), "weights at prices": ("weights", "prices")}
LEVERED = 1.005  # what rounds to 1.00 is held over for the fees


@dataclass(frozen=True)
class Inputs:
    """What is known of the inputs of a run, by name.

    `digested` were digested when they were read or handed in; `declared` were named but not seen to be read;
    `unseen` were read without a digest; `hosts` are those that were read from over the network, `children` the
    processes that the run started. `complete` are sentences on whether more was read than that: checked here, and
    `incomplete` are those on what nobody knows of it.
    """

    digested: tuple[str, ...] = ()
    declared: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    complete: tuple[str, ...] = ()
    incomplete: tuple[str, ...] = ()


@dataclass(frozen=True)
class Boundary:
    """Plain sentences: `checked` here, `given` by others and taken as it is, `unexamined` or not modelled at all."""

    checked: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    unexamined: tuple[str, ...] = ()

    def with_inputs(self, inputs: Inputs) -> Self:
        """Return the boundary with what is known of the inputs, at the end of each list."""
        checked = (f"Inputs, digested when they were read: {_some(inputs.digested)}.",) if inputs.digested else ()
        told = f"Inputs that were declared and not seen to be read: {_some(inputs.declared)}."
        unseen = f"What was read without a digest: {_some(inputs.unseen)}."
        hosts = f"What was read from the network ({_some(inputs.hosts)}): it cannot be read again as it was."
        started = f"What processes read that the run started ({_some(inputs.children)}): they are not watched."
        known = ((unseen, inputs.unseen), (hosts, inputs.hosts), (started, inputs.children))
        more = (text for text, names in known if names)
        return replace(
            self,
            checked=(*self.checked, *checked, *inputs.complete),
            given=(*self.given, *((told,) if inputs.declared else ())),
            unexamined=(*self.unexamined, *more, *inputs.incomplete),
        )

    def to_dict(self) -> dict[str, list[str]]:
        """Return the three lists as JSON values."""
        return {each.name: list(getattr(self, each.name)) for each in fields(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote; raises ValueError for anything that is not a list of texts."""
        lists = {each.name: values.get(each.name, []) for each in fields(cls)}
        for name, texts in lists.items():
            if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
                raise ValueError(f"the boundary's {name} is no list of texts")
        return cls(**{name: tuple(texts) for name, texts in lists.items()})


NO_INPUTS = Inputs()


def boundary(
    result: Result,
    found: Reconciliation,
    beside: tuple[Beside, ...] = (),
    *,
    inputs: Inputs = NO_INPUTS,
    look_ahead: LookAhead = "unchecked",
) -> Boundary:
    """Return the boundary of a result: from its parts, its identities, the engine's numbers and its inputs."""
    known = Boundary(
        tuple(_checked(result, found, beside, look_ahead)),
        tuple(_given(result)),
        tuple(_unexamined(result, found, look_ahead)),
    )
    return known.with_inputs(inputs)


def _checked(result: Result, found: Reconciliation, beside: tuple[Beside, ...], look_ahead: LookAhead) -> Iterator[str]:
    size = f"{len(result.equity):,} values of equity and a capital of {result.capital:,.10g}"
    yield f"All metrics are computed here, from {size}."
    for each in found.checked:
        yield each.sentence
    compared = [each for each in beside if each.equal is not None]
    if compared:
        equal = sum(each.equal is True for each in compared)
        reproduced = sum(each.equal is False and each.found for each in compared)
        yield (
            f"The engine's own numbers, {len(compared)} beside ours: {equal} equal, {reproduced} equal when computed "
            f"in the engine's convention, {len(compared) - equal - reproduced} not."
        )
    if look_ahead in LOOKED:
        own = result.engine is not None and result.engine.name == OWN
        yield (LOOKED if own else RERUN)[look_ahead]


def _given(result: Result) -> Iterator[str]:
    given = TABLES if result.engine is None else HERE.get(result.engine.name, TABLES)
    if given is TABLES:
        yield f"The equity curve, as {_name(result)} gave it."
    for name in given:
        if getattr(result, name) is not None:
            yield f"{TABLES[name]}."
    if result.folds:
        yield "The train and test windows of the folds: that nothing was fitted on a test window."
    if result.conventions.given_periods is not None:
        yield f"{result.conventions.given_periods:g} bars a year, as given."
    if result.metrics:
        count = len(result.metrics)
        yield f"{count} metric{'s' if count > 1 else ''} of the user's own."


def _unexamined(result: Result, found: Reconciliation, look_ahead: LookAhead) -> Iterator[str]:
    if look_ahead in NOT_LOOKED:
        yield NOT_LOOKED[look_ahead]
    yield from _unchecked(found)
    yield from _costs(result.costs)
    yield from _borrowed(result)
    yield "Market impact: no price moves because of what is traded."
    yield _universe(result)


def _unchecked(found: Reconciliation) -> Iterator[str]:
    if not found.checked:
        yield "Whether the equity agrees with trades, positions or weights: nothing was saved beside it to compare."
        return
    groups: dict[tuple[str, ...], list[str]] = {}
    for each in found.identities:
        if each.status == UNCHECKED:
            groups.setdefault(each.missing, []).append(each.says)
    for missing, says in groups.items():
        yield f"Not checked, for want of {listed(missing)}: {'; '.join(says)}."


def _costs(costs: Mapping[str, Any] | None) -> Iterator[str]:
    if costs is None:
        yield "Costs: what the engine charged is not known, slippage included."
        return
    charged = {str(name) for name, value in costs.items() if value}
    if not charged:
        yield "Costs: none are charged, and no slippage."
    elif not any("slip" in name or "spread" in name for name in charged):
        yield "Slippage: none is told to be charged."


def _borrowed(result: Result) -> Iterator[str]:
    if result.costs and any(word in str(name) for name in result.costs for word in ("borrow", "fund", "interest")):
        return
    short, gross = _shorts(result), _gross(result)
    if short:
        yield "Borrowing for short positions: whether it is possible, and what it costs."
    elif short is None:
        yield "Whether anything was sold short or on margin is not known, nor what that would cost."
    if gross is not None and gross > LEVERED:
        yield f"Interest and margin calls on borrowed money: positions are up to {gross:,.2f} times the equity."


def _shorts(result: Result) -> bool | None:
    """Say whether there are short positions; None where no part tells."""
    told = [bool((frame < 0.0).any(axis=None)) for frame in (result.positions, result.weights) if frame is not None]
    if result.trades is not None:
        told.append(bool((result.trades["side"] == "short").any()))
    return any(told) if told else None


def _gross(result: Result) -> float | None:
    """Return the largest gross exposure over equity; None where it is not known."""
    if result.leverage is not None:
        return float(result.leverage.max())
    if result.weights is not None:
        return float(result.weights.abs().sum(axis=1).max())
    if result.positions is None or result.prices is None:
        return None
    value = (result.positions * result.prices.reindex(columns=result.positions.columns)).abs().sum(axis=1)
    return float((value / result.equity.where(result.equity > 0.0)).max())


def _universe(result: Result) -> str:
    names = result.instruments
    if len(names) > 1:
        return "Survivorship: whether the universe has the symbols that were there at the time, or those that are left."
    if names:
        return f"Selection: why {names[0]} and no other instrument."
    return "Survivorship and selection: the instruments are not known."


def _name(result: Result) -> str:
    if result.engine is None:
        return "the notebook"
    return str(result.engine)


def _some(names: tuple[str, ...], most: int = 8) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
