"""What a function of the notebook's gives when it makes its result again from bars: by label, to be compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.engines.adapter import Given
from pipeline.engines.objects import labels_of, relabelled
from pipeline.engines.registry import as_result
from pipeline.engines.saving import CONVENTIONS, FOR_ADAPTERS, result_of
from pipeline.errors import ResultError, UsageError

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.results.contract import Result

TABLES = ("prices", "opens")  # what of `given` is made of the bars themselves


@dataclass(frozen=True, eq=False)
class Rerun:
    """A function `(bars, **keywords) -> result`, the bars of the run, and the result that was saved.

    `bars` are labelled by time: one instrument's (with a column `close`) or a column a symbol. The function returns
    what `run.save` was given, `value`; `given` is what was said beside it.
    """

    function: Callable[..., Any]
    bars: pd.DataFrame | pd.Series
    value: Any
    given: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What sentences call the function, at the beginning of them."""
        name = str(getattr(self.function, "__name__", type(self.function).__name__))
        return "The function given as rerun" if name == "<lambda>" else name

    @property
    def weighs(self) -> bool:
        """Whether it returns weights, of which the portfolio is computed here."""
        return self.given.get("prices") is not None

    @property
    def labels(self) -> pd.DatetimeIndex:
        """The labels of the bars in UTC."""
        return labels_of(self.bars.index, "the bars")

    def result(self, value: Any) -> Result:
        """Return the result of what the function returned for the bars of the run, with their prices."""
        return result_of(value, {key: one for key, one in self.given.items() if key in (*FOR_ADAPTERS, *CONVENTIONS)})

    def answer(self, value: Any) -> Answer:
        """Return what of it is compared; raises ResultError for what is no result."""
        if self.weighs:
            return Answer(decided=_frame(value), earned=None)
        said = {key: one for key, one in self.given.items() if key in FOR_ADAPTERS and key not in TABLES}
        result = as_result(value, Given(**said))
        held = result.positions if result.positions is not None else result.weights
        return Answer(decided=held, earned=result.returns)


def asked_for(function: Any, bars: Any, value: Any, given: Mapping[str, Any]) -> Rerun:
    """Return what is to be run again; the bars are the prices unless they are given. Raises UsageError."""
    import pandas as pd

    bars = given.get("prices") if bars is None else bars
    if not callable(function):
        raise UsageError("rerun is a function of bars that returns the result again: run.save(…, rerun=backtest).")
    if not isinstance(bars, pd.DataFrame | pd.Series) or len(bars) == 0:
        raise UsageError(
            "rerun needs the bars that it is called with: run.save(…, rerun=backtest, bars=prices), a frame or a "
            f"Series labelled by time. Given was a {type(bars).__name__}."
        )
    labels_of(bars.index, "the bars")
    return Rerun(function, bars, value, given)


@dataclass(frozen=True, eq=False)
class Answer:
    """What was decided (positions or weights, a column a symbol) and what was earned (returns), by label in UTC.

    None is unknown; one of the two is known.
    """

    decided: pd.DataFrame | None
    earned: pd.Series | None

    def before(self, label: pd.Timestamp) -> Answer:
        """Return what it says of the labels before one."""
        decided, earned = self.decided, self.earned
        return Answer(
            None if decided is None else decided[decided.index < label],
            None if earned is None else earned[earned.index < label],
        )

    def differs(self, other: Answer) -> pd.Timestamp | None:
        """Return the first label at which another one says something else; None where all is the same."""
        pairs = [(self.decided, other.decided), (self.earned, other.earned)]
        found = [_first_difference(one, two) for one, two in pairs if one is not None and two is not None]
        if any((one is None) != (two is None) for one, two in pairs):
            found.append(min(part.index[0] for pair in pairs for part in pair if part is not None and len(part)))
        return min((label for label in found if label is not None), default=None)

    @property
    def first(self) -> pd.Timestamp:
        """The first label; of an empty answer the end of time."""
        import pandas as pd

        return min((part.index[0] for part in self._parts), default=pd.Timestamp.max.tz_localize("UTC"))

    @property
    def last(self) -> pd.Timestamp:
        """The last label, of the part that ends first; of an empty answer the beginning of time."""
        import pandas as pd

        return min((part.index[-1] for part in self._parts), default=pd.Timestamp.min.tz_localize("UTC"))

    @property
    def _parts(self) -> list[Any]:
        return [part for part in (self.decided, self.earned) if part is not None and len(part)]


def _first_difference(one: pd.DataFrame | pd.Series, two: pd.DataFrame | pd.Series) -> pd.Timestamp | None:
    import numpy as np

    labels = one.index.union(two.index)
    ours, theirs = (part.reindex(labels).to_numpy(dtype=float).reshape(len(labels), -1) for part in (one, two))
    missing = ~labels.isin(one.index) | ~labels.isin(two.index)
    if ours.shape != theirs.shape or (one.ndim == 2 and list(one.columns) != list(two.columns)):
        return None if not len(labels) else labels[0]
    unlike = ~np.isclose(ours, theirs, rtol=1e-7, atol=1e-9, equal_nan=True).all(axis=1)
    places = np.flatnonzero(unlike | missing)
    return labels[places[0]] if len(places) else None


def _frame(value: Any) -> pd.DataFrame:
    import pandas as pd

    if not isinstance(value, pd.DataFrame):
        raise ResultError(f"rerun must return a frame of weights, as was saved; it returned a {type(value).__name__}.")
    frame: pd.DataFrame = relabelled(value, "the weights").astype("float64")
    return frame
