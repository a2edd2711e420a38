"""The search space: dimensions, rules between them, and the grid they span."""

from __future__ import annotations

import itertools
import math
import operator
import random
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pipeline.backtest.strategies import Parameter, Strategy, get_strategy, resolve_params
from pipeline.errors import SpecError, StrategyError, nearest
from pipeline.sweep.spec import STRATEGY_PARAMS, Dimension, SweepSpec, path_of

if TYPE_CHECKING:
    from pathlib import Path

    from optuna.distributions import BaseDistribution

RULE = re.compile(r"\s*([\w.]+)\s*(<=|>=|==|!=|<|>)\s*([\w.+-]+)\s*")
COMPARE = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
LARGEST_GRID = 1_000_000
VARIED_IN_FAST = (STRATEGY_PARAMS, "backtest.")
CONVENTIONS = ("backtest.risk_free_rate", "data.periods_per_year", "data.currency")
MOST_DRAWS = 10_000
MOST_STEPS = 10**15  # decimals of more digits are not told apart
Params = dict[str, Any]


@dataclass(frozen=True)
class Rule:
    """A rule between two params, or a param and a number: `left` `sign` `right`."""

    left: str
    sign: str
    right: str | float

    def holds(self, params: Mapping[str, Any]) -> bool:
        """Say whether `params` keep the rule."""
        right = params[self.right] if isinstance(self.right, str) else self.right
        return bool(COMPARE[self.sign](params[self.left], right))

    def __str__(self) -> str:
        return f"{self.left} {self.sign} {self.right}"


@dataclass(frozen=True)
class SearchSpace:
    """What may vary, what is fixed, and which combinations are allowed; `strategy` is None where none is known."""

    strategy: Strategy | None
    dimensions: Mapping[str, Dimension]
    fixed: Mapping[str, Any]
    rules: tuple[Rule, ...]

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return Optuna's distributions by name."""
        return {name: _distribution(dimension) for name, dimension in self.dimensions.items()}

    def feasible(self, params: Mapping[str, Any]) -> bool:
        """Say whether a combination keeps the sweep's rules and the strategy's own."""
        everything = {**self.fixed, **params}
        return all(rule.holds(everything) for rule in self.rules) and self._accepted(params)

    def _accepted(self, params: Mapping[str, Any]) -> bool:
        if self.strategy is None:
            return True
        try:
            own = {**self.fixed, **{name: value for name, value in params.items() if "." not in name}}
            resolve_params(self.strategy, own)
        except StrategyError:
            return False
        return True

    def remarks(self) -> list[str]:
        """Say what is not tried although it may be expected."""
        found = (_unreached(name, dimension) for name, dimension in self.dimensions.items())
        return [sentence for sentence in found if sentence]

    def grid(self) -> Iterator[Params]:
        """Yield every feasible combination, the last dimension varying fastest."""
        sizes = [grid_size(name, dimension) for name, dimension in self.dimensions.items()]
        if (size := math.prod(sizes)) > LARGEST_GRID:
            raise SpecError(
                f"[space] spans a grid of {_count(size)} points; {LARGEST_GRID:,} is the most. Use wider steps."
            )
        axes = [grid_values(dimension) for dimension in self.dimensions.values()]
        for point in itertools.product(*axes):
            params = dict(zip(self.dimensions, point, strict=True))
            if self.feasible(params):
                yield params

    def some(self) -> Iterator[Params]:
        """Yield feasible combinations at random, always the same; ends when none is found among many."""
        generator = random.Random(0)  # noqa: S311 - no secret
        for _ in range(MOST_DRAWS):
            params = {name: _draw(dimension, generator) for name, dimension in self.dimensions.items()}
            if self.feasible(params):
                yield params


def search_space(spec: SweepSpec, *, search: Path) -> SearchSpace:
    """Return the space a sweep searches; without a [space] section, that of the strategy's parameter schema.

    `search` is the project's root, where strategies of the user's own are found. Raises SpecError, StrategyError.
    """
    if spec.of_notebook:
        _check_conventions(spec.space)
        _check_steps(spec.space, spec)
        examples = {name: _draw(item, random.Random(0)) for name, item in spec.space.items()}  # noqa: S311 - no secret
        return SearchSpace(None, dict(spec.space), {}, tuple(_rule(text, examples) for text in spec.sweep.constraints))
    strategy = get_strategy(spec.base.bundled.strategy.name, search=search)
    fixed = dict(spec.base.bundled.strategy.params)
    schema = {parameter.name: parameter for parameter in strategy.parameters}
    dimensions = dict(spec.space) or {name: _from_schema(item) for name, item in schema.items() if name not in fixed}
    if not dimensions:
        raise SpecError(f"The strategy {strategy.name} has no parameters to vary: give a [space] section.")
    fixed = {name: value for name, value in fixed.items() if name not in dimensions}
    _check_conventions(dimensions)
    _check_names(dimensions, strategy, schema, fast=spec.sweep.mode == "fast")
    typed = {name: _typed(name, item, schema.get(name)) for name, item in dimensions.items()}
    _check_steps(typed, spec)
    defaults = {name: item.default for name, item in schema.items() if name not in typed}
    examples = {**defaults, **fixed, **{name: _draw(item, random.Random(0)) for name, item in typed.items()}}  # noqa: S311
    rules = tuple(_rule(text, examples) for text in spec.sweep.constraints)
    return SearchSpace(strategy, typed, {**defaults, **fixed}, rules)


def _count(size: int) -> str:
    return f"{size:,}" if size < 10**15 else f"about 10^{int(size.bit_length() * 0.30103)}"


def grid_size(name: str, dimension: Dimension) -> int:
    """Return how many values a dimension has in a grid; raises SpecError for a range of floats without a step."""
    if dimension.values is not None:
        return len(dimension.values)
    if dimension.step is None and not all(isinstance(end, int) for end in _ends(dimension)):
        raise SpecError(f"space.{name}: a grid over real numbers needs a step, or a list of values.")
    return _steps(dimension) + 1


def grid_values(dimension: Dimension) -> Sequence[Any]:
    """Return the values of a dimension in a grid."""
    if dimension.values is not None:
        return dimension.values
    return [_step(dimension, number) for number in range(_steps(dimension) + 1)]


def _steps(dimension: Dimension) -> int:
    """Return how many steps of `step` (or 1) lie between the ends of a range."""
    low, high = map(_exact, _ends(dimension))
    return int((high - low) / _exact(dimension.step or 1))


def _step(dimension: Dimension, number: int) -> float:
    """Return the value so many steps above the low end, a whole number where both are."""
    low, step = _ends(dimension)[0], dimension.step or 1
    whole = isinstance(low, int) and isinstance(step, int)
    return low + number * step if whole else float(_exact(low) + number * _exact(step))


def _exact(value: float) -> Decimal:
    """Return the number that is written: as floats, 0.1 + 2 * 0.1 is not 0.3."""
    return Decimal(str(value))


def _draw(dimension: Dimension, generator: random.Random) -> Any:
    if dimension.values is not None:
        return generator.choice(dimension.values)
    low, high = _ends(dimension)
    if dimension.step is not None or (isinstance(low, int) and isinstance(high, int)):
        return _step(dimension, generator.randint(0, _steps(dimension)))
    return generator.uniform(low, high)


def _ends(dimension: Dimension) -> tuple[float, float]:
    """Return the ends of a dimension that is a range."""
    if dimension.range is None:
        raise SpecError("A dimension is either a list of values or a range with `low` and `high`.")
    return dimension.range


def _check_names(
    dimensions: Mapping[str, Dimension], strategy: Strategy, schema: Mapping[str, Parameter], *, fast: bool
) -> None:
    for name in dimensions:
        if strategy.has_schema and "." not in name and name not in schema:
            raise SpecError(
                f"space.{name}: {strategy.name} has no such param. {nearest(name, schema)} For a parameter of a "
                f"notebook's own write run.parameters.{name}, with sweep.mode = 'full'."
            )
        if fast and not path_of(name).startswith(VARIED_IN_FAST):
            raise SpecError(
                f"space.{name}: with sweep.mode = 'fast' all trials share everything but the strategy's params and "
                "[backtest]. Use mode = 'full'."
            )


def _check_conventions(dimensions: Mapping[str, Dimension]) -> None:
    for name in dimensions:
        if path_of(name) in CONVENTIONS:
            raise SpecError(
                f"space.{name}: a convention of the figures, by which trials would be ranked as if it were skill. Set "
                f"{path_of(name)} once for the sweep."
            )


def _check_steps(dimensions: Mapping[str, Dimension], spec: SweepSpec) -> None:
    for name, dimension in dimensions.items():
        _check_step(name, dimension, counted=spec.sweep.sampler == "grid")


def _check_step(name: str, dimension: Dimension, *, counted: bool) -> None:
    """Raise SpecError for a step that leaves nothing but the low end, or more values than can be told apart.

    A grid is `counted` as a whole.
    """
    if dimension.step is None or dimension.low == dimension.high:
        return
    steps, (low, high) = _steps(dimension), _ends(dimension)
    if not steps:
        raise SpecError(
            f"space.{name}: step = {dimension.step:g} is wider than the range from {low:g} to {high:g}, so {low:g} "
            "alone would be tried. Use a smaller step."
        )
    if steps > MOST_STEPS and not counted:
        raise SpecError(
            f"space.{name}: step = {dimension.step:g} makes {_count(steps)} values from {low:g} to {high:g}. "
            "Use a wider step, or none."
        )


def _unreached(name: str, dimension: Dimension) -> str | None:
    """Say which value is the last one, when the steps of a range do not end at its high end."""
    if dimension.step is None or dimension.range is None:
        return None
    last, high = _step(dimension, _steps(dimension)), dimension.range[1]
    if _exact(last) == _exact(high):
        return None
    return f"space.{name}: high = {high:g} is not tried: with step = {dimension.step:g} the last value is {last:g}."


def _from_schema(parameter: Parameter) -> Dimension:
    if parameter.type is bool:
        return Dimension(values=[False, True])
    if parameter.choices is not None:
        return Dimension(values=list(parameter.choices))
    if parameter.low is None or parameter.high is None:
        raise SpecError(f"{parameter.name} has no bounds in its schema: give space.{parameter.name}.")
    kind = parameter.type
    return Dimension(low=kind(parameter.low), high=kind(parameter.high))


def _typed(name: str, dimension: Dimension, parameter: Parameter | None) -> Dimension:
    """Return a dimension whose numbers are of the parameter's type, within its bounds; raises SpecError."""
    if parameter is None:
        return dimension
    ends = dimension.values if dimension.values is not None else [dimension.low, dimension.high]
    for value in ends:
        try:
            _check_bounds(parameter, value)
        except ValueError as error:
            raise SpecError(f"space.{name}: {error}.") from None
    if parameter.type is int and isinstance(dimension.step, float):
        raise SpecError(f"space.{name}: step = {dimension.step:g}, but {name} is a whole number.")
    if parameter.type is float and dimension.values is None:
        return dimension.model_copy(update={"low": float(dimension.low or 0), "high": float(dimension.high or 0)})
    return dimension


def _check_bounds(parameter: Parameter, value: Any) -> None:
    wanted = {int: int, float: (int, float), bool: bool, str: str}[parameter.type]
    if not isinstance(value, wanted) or (isinstance(value, bool) and parameter.type is not bool):  # type: ignore[arg-type]
        raise ValueError(f"{value!r} is not of type {parameter.type.__name__}")
    if parameter.low is not None and value < parameter.low:
        raise ValueError(f"{value!r} is below {parameter.low:g}, the least {parameter.name} may be")
    if parameter.high is not None and value > parameter.high:
        raise ValueError(f"{value!r} is above {parameter.high:g}, the most {parameter.name} may be")
    if parameter.choices is not None and value not in parameter.choices:
        raise ValueError(f"{value!r} is none of {', '.join(parameter.choices)}")


def _rule(text: str, examples: Mapping[str, Any]) -> Rule:
    """Return the rule written as `text`; `examples` has a value of each param that it may name."""
    rule = _parsed(text, examples)
    try:
        rule.holds(examples)
    except TypeError:
        raise SpecError(f"sweep.constraints: {text!r} compares what has no order.") from None
    return rule


def _parsed(text: str, names: Collection[str]) -> Rule:
    parts = RULE.fullmatch(text)
    if parts is None:
        raise SpecError(f"sweep.constraints: {text!r} is not of the form 'fast < slow' or 'fast >= 5'.")
    left, sign, right = parts.groups()
    if left not in names:
        raise SpecError(f"sweep.constraints: {text!r}: there is no param {left!r}. {nearest(left, names)}")
    if right in names:
        return Rule(left, sign, right)
    try:
        return Rule(left, sign, float(right))
    except ValueError:
        raise SpecError(f"sweep.constraints: {text!r}: there is no param {right!r}. {nearest(right, names)}") from None


def _distribution(dimension: Dimension) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if dimension.values is not None:
        return CategoricalDistribution(dimension.values)
    low, high, step = *_ends(dimension), dimension.step
    if isinstance(low, int) and isinstance(high, int) and (step is None or isinstance(step, int)):
        return IntDistribution(low, high, log=dimension.log, step=step or 1)
    return FloatDistribution(low, high, log=dimension.log, step=step)
