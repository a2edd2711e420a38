"""Strategies: a name, a parameter schema and a signal function `(df, params) -> Series of 1, 0, -1`.

The schema can be read and checked without pandas, so a wrong name or value is refused before anything starts.
A user's own strategy is `module:function`; an attribute `parameters` on the function is its schema.
"""

from __future__ import annotations

import difflib
import importlib
import math
import numbers
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.backtest import signals as rules
from pipeline.errors import StrategyError, nearest

if TYPE_CHECKING:
    import pandas as pd

SignalFn = Callable[["pd.DataFrame", Mapping[str, Any]], "pd.Series"]
Value = bool | int | float | str


@dataclass(frozen=True)
class Parameter:
    """One parameter of a strategy. `low` and `high` are inclusive bounds of int and float parameters."""

    name: str
    type: type
    default: Value
    low: float | None = None
    high: float | None = None
    meaning: str = ""
    choices: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Constraint:
    """A rule between two parameters: `smaller` < `larger`, or <= when not strict."""

    smaller: str
    larger: str
    strict: bool = True

    def __str__(self) -> str:
        return f"{self.smaller} {'<' if self.strict else '<='} {self.larger}"

    def holds(self, params: Mapping[str, Any]) -> bool:
        """Say whether `params` keep the rule."""
        left, right = params[self.smaller], params[self.larger]
        return bool(left < right if self.strict else left <= right)


@dataclass(frozen=True)
class Strategy:
    """A signal function with its schema. `has_schema` is False for functions whose params pass unchecked."""

    name: str
    summary: str
    parameters: tuple[Parameter, ...]
    signal_fn: SignalFn
    constraints: tuple[Constraint, ...] = ()
    has_schema: bool = True


def _short() -> Parameter:
    return Parameter("allow_short", bool, False, meaning="go short on the opposite signal instead of flat")


_BUNDLED = (
    Strategy(
        "ma_crossover",
        "Long while the fast moving average of the close is above the slow one.",
        (
            Parameter("fast", int, 20, 1, 500, "bars in the fast moving average"),
            Parameter("slow", int, 50, 2, 1000, "bars in the slow moving average"),
            Parameter("average", str, "sma", meaning="simple or exponential average", choices=("sma", "ema")),
            _short(),
        ),
        rules.ma_crossover,
        (Constraint("fast", "slow"),),
    ),
    Strategy("buy_and_hold", "Long from the first bar on.", (), rules.buy_and_hold),
    Strategy(
        "rsi_reversion",
        "Long when the RSI falls below `lower`, until it rises above `exit_level`.",
        (
            Parameter("period", int, 14, 2, 500, "bars of Wilder's smoothing"),
            Parameter("lower", float, 30.0, 1.0, 99.0, "RSI below which a long position is opened"),
            Parameter("upper", float, 70.0, 1.0, 99.0, "RSI above which a short position is opened"),
            Parameter("exit_level", float, 50.0, 1.0, 99.0, "RSI at which a position is closed"),
            _short(),
        ),
        rules.rsi_reversion,
        (Constraint("lower", "exit_level", strict=False), Constraint("exit_level", "upper", strict=False),
         Constraint("lower", "upper")),
    ),
    Strategy(
        "donchian",
        "Long when the close breaks the highest high of the `entry` bars before, until it breaks the `exit` low.",
        (
            Parameter("entry", int, 20, 1, 1000, "bars of the channel whose break opens a position"),
            Parameter("exit", int, 10, 1, 1000, "bars of the channel whose break closes it"),
            _short(),
        ),
        rules.donchian,
        (Constraint("exit", "entry", strict=False),),
    ),
    Strategy(
        "macd",
        "Long while the MACD line (fast minus slow exponential average) is above its signal line.",
        (
            Parameter("fast", int, 12, 1, 500, "bars of the fast exponential average"),
            Parameter("slow", int, 26, 2, 1000, "bars of the slow exponential average"),
            Parameter("signal", int, 9, 1, 500, "bars of the signal line's exponential average"),
            _short(),
        ),
        rules.macd,
        (Constraint("fast", "slow"),),
    ),
)  # fmt: skip
_BY_NAME = {strategy.name: strategy for strategy in _BUNDLED}


def strategy_names() -> tuple[str, ...]:
    """Return the names of the bundled strategies, without aliases, in a fixed order."""
    return tuple(_BY_NAME)


def get_strategy(name: str, *, search: str | Path | None = None) -> Strategy:
    """Return a bundled strategy by name or alias, or import `module:function`.

    `search` is a directory put in front of the import path while the module is imported.
    Raises StrategyError with the nearest valid name.
    """
    if ":" in name:
        return _imported(name, search)
    from pipeline.spec_sections import STRATEGY_ALIASES

    found = _BY_NAME.get(STRATEGY_ALIASES.get(name, name))
    if found is None:
        raise StrategyError(
            f"There is no strategy {name!r}. {nearest(name, [*_BY_NAME, *STRATEGY_ALIASES])} "
            "A strategy of your own is written module:function."
        )
    return found


def is_meant(name: str) -> bool:
    """Say whether a name is one for `get_strategy`: a `module:function`, a bundled one, or nearly such a one."""
    from pipeline.spec_sections import STRATEGY_ALIASES

    return ":" in name or bool(difflib.get_close_matches(name, [*_BY_NAME, *STRATEGY_ALIASES], n=1, cutoff=0.8))


def as_strategy(function: SignalFn, *, name: str | None = None) -> Strategy:
    """Wrap a signal function, bundled or the user's own.

    Its attributes `parameters` and `constraints`, when it has them, are the schema.
    """
    if bundled := next((strategy for strategy in _BUNDLED if strategy.signal_fn is function), None):
        return bundled
    named = function if hasattr(function, "__qualname__") else type(function)  # an object's repr holds its address
    label = name or f"{named.__module__}:{named.__qualname__}"
    schema: Iterable[Parameter] | None = getattr(function, "parameters", None)
    parameters = tuple(schema) if schema is not None else ()
    wrong = [item for item in parameters if not isinstance(item, Parameter)]
    if wrong:
        raise StrategyError(f"The parameters of {label} must be pipeline.backtest.Parameter objects, not {wrong[0]!r}.")
    summary = (function.__doc__ or "").strip().partition("\n")[0]
    rules_between = tuple(getattr(function, "constraints", ()))
    return Strategy(label, summary, parameters, function, rules_between, schema is not None)


def resolve_params(strategy: Strategy, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return all params of `strategy`, defaults filled in, checked against its schema.

    Raises StrategyError listing every problem: unknown name, wrong type, value out of bounds, broken constraint.
    """
    given = dict(params or {})
    if not strategy.has_schema:
        return given
    valid = {parameter.name: parameter for parameter in strategy.parameters}
    problems = [f"{name} is not one of its params. {nearest(name, valid)}" for name in given if name not in valid]
    resolved: dict[str, Any] = {}
    for name, parameter in valid.items():
        try:
            resolved[name] = _checked_value(parameter, given.get(name, parameter.default))
        except ValueError as error:
            problems.append(str(error))
    if not problems:
        problems = [_broken(rule, resolved) for rule in strategy.constraints if not rule.holds(resolved)]
    if problems:
        listed = "\n".join(f"  - {line}" for line in problems)
        raise StrategyError(f"The params of strategy {strategy.name} are not valid:\n{listed}")
    return resolved


def check_signals(signals: Any, index: pd.DatetimeIndex, *, strategy: str = "the strategy") -> pd.Series:
    """Return `signals` as an int8 Series if it is a Series on exactly `index` with values 1, 0, -1 and no NaN.

    Raises StrategyError naming the first offending bar.
    """
    import numpy as np
    import pandas as pd

    if not isinstance(signals, pd.Series):
        raise StrategyError(f"{strategy} must return a pandas Series of 1, 0 and -1, not {type(signals).__name__}.")
    if len(signals) != len(index) or not signals.index.equals(index):
        raise StrategyError(
            f"The signals of {strategy} are not on the index of the data: {len(signals)} values for {len(index)} bars, "
            "or other timestamps. Return one value for each bar, as in pd.Series(values, index=df.index)."
        )
    if signals.isna().any():
        first = index[int(np.argmax(signals.isna().to_numpy()))]
        raise StrategyError(
            f"The signals of {strategy} have NaN (first at {first}). Use 0 where there is no signal yet."
        )
    bad = ~signals.isin((-1, 0, 1)).to_numpy()
    if bad.any():
        at = int(np.argmax(bad))
        raise StrategyError(
            f"The signals of {strategy} must be 1, 0 or -1; {int(bad.sum())} are not "
            f"(first: {signals.iloc[at]!r} at {index[at]})."
        )
    return signals.astype("int8")


def _imported(name: str, search: str | Path | None) -> Strategy:
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise StrategyError(f"The strategy {name!r} is not of the form module:function.")
    before = list(sys.path)
    if search is not None:
        sys.path.insert(0, str(search))
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise StrategyError(
            f"The module of strategy {name!r} cannot be imported: {error}. Put the module into the "
            "project's directory, or on PYTHONPATH."
        ) from error
    except (Exception, SystemExit) as error:  # what the user's module does when it is imported
        said = "".join(traceback.format_exception_only(error)).strip()
        raise StrategyError(f"The module of strategy {name!r} cannot be imported: {said}") from error
    finally:
        sys.path[:] = before
    function: Any = getattr(module, attribute, None)
    if not callable(function):
        names = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        state = "is not a function" if function is not None else "does not exist"
        raise StrategyError(f"{attribute!r} in module {module_name} {state}. {nearest(attribute, names)}")
    return as_strategy(function, name=name)


def _checked_value(parameter: Parameter, value: Any) -> Any:
    """Return `value` in the parameter's type; raises ValueError with a message for the user."""
    what = f"{parameter.name} = {value!r}"
    about = f" ({parameter.meaning})" if parameter.meaning else ""
    kind = parameter.type
    fits = (
        isinstance(value, bool) if kind is bool else not isinstance(value, bool) and isinstance(value, _accepted(kind))
    )
    if not fits:
        raise ValueError(f"{what}: must be of type {kind.__name__}, not {type(value).__name__}{about}")
    value = kind(value)
    if kind is float and not math.isfinite(value):
        raise ValueError(f"{what}: must be a finite number{about}")
    if parameter.choices is not None and value not in parameter.choices:
        raise ValueError(
            f"{what}: must be one of {', '.join(parameter.choices)}{about}. {nearest(str(value), parameter.choices)}"
        )
    if parameter.low is not None and value < parameter.low:
        raise ValueError(f"{what}: must be at least {parameter.low}{about}")
    if parameter.high is not None and value > parameter.high:
        raise ValueError(f"{what}: must be at most {parameter.high}{about}")
    return value


def _accepted(kind: type) -> type:
    return {int: numbers.Integral, float: numbers.Real}.get(kind, kind)


def _broken(rule: Constraint, params: Mapping[str, Any]) -> str:
    return f"{rule} does not hold: {rule.smaller} = {params[rule.smaller]!r}, {rule.larger} = {params[rule.larger]!r}"
