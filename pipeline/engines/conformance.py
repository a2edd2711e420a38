"""What every adapter must do, as a class of tests that others subclass.

    class TestMine(AdapterConformance):
        adapter = ADAPTER
        known = ("trades",)

        def value(self):
            return my_engine.run()

pytest runs the tests that it inherits; no other library is needed.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pipeline.engines.adapter import Adapter, Given
from pipeline.engines.registry import as_result
from pipeline.results.checks import check_result
from pipeline.results.contract import Result

SERIES = ("equity", "cash", "leverage")
FRAMES = ("positions", "weights", "prices")
STRANGERS: tuple[Any, ...] = (
    *(None, 1, 1.5, "text", b"bytes", "no/such/file.json"),
    *([], (), {}, object(), {"a": 1}, [1, 2]),
)


class AdapterConformance:
    """Tests of an adapter on one object: give `adapter`, `value()`, and `given` and `known` where there is more.

    adapter  what is tested
    given    what a notebook says beside the object
    known    the parts of the result that this object must fill, as ("trades", "prices")
    found    False where the adapter is not installed, so that the registry cannot find it
    """

    adapter: ClassVar[Adapter]
    given: ClassVar[Given] = Given()
    known: ClassVar[tuple[str, ...]] = ()
    found: ClassVar[bool] = True
    _result: ClassVar[Result]

    def value(self) -> Any:
        """Return an object of the engine."""
        raise NotImplementedError

    def result(self) -> Result:
        """Return what the adapter makes of the object; it is made once for all tests of the class."""
        kind = type(self)
        if "_result" not in vars(kind):
            kind._result = self.adapter.adapt(self.value(), self.given)
        return kind._result

    def test_recognises_its_object_and_no_other(self) -> None:
        """What it does not know it leaves to others, and does not fail on it."""
        assert self.adapter.recognises(self.value()) is True
        for stranger in STRANGERS:
            assert self.adapter.recognises(stranger) is False, stranger

    def test_has_a_name(self) -> None:
        """Messages name the objects that it takes."""
        assert isinstance(self.adapter.name, str)
        assert self.adapter.name

    def test_result_passes_the_checks(self) -> None:
        """It returns a result that can be recorded."""
        result = self.result()
        assert isinstance(result, Result)
        check_result(result)

    def test_fills_what_the_object_knows(self) -> None:
        """Parts that the object holds are in the result."""
        result = self.result()
        parts = {name: getattr(result, name) for name in self.known}
        empty = [name for name, part in parts.items() if part is None or (hasattr(part, "__len__") and not len(part))]
        assert not empty

    def test_labels_are_utc(self) -> None:
        """All parts are labelled in UTC nanoseconds, and wide parts have the labels of the equity."""
        result = self.result()
        for name in SERIES + FRAMES:
            part = getattr(result, name)
            if part is None:
                continue
            assert str(part.index.dtype) == "datetime64[ns, UTC]", name
            assert part.index.equals(result.equity.index), name
        for name, curve in result.benchmarks.items():
            assert curve.index.equals(result.equity.index), name

    def test_returns_compound_to_the_equity(self) -> None:
        """Capital, first label and equity fit each other."""
        result = self.result()
        end = result.capital * (1.0 + result.returns.to_numpy()).prod()
        assert abs(end - float(result.equity.iloc[-1])) <= 1e-9 * result.capital

    def test_columns_are_text(self) -> None:
        """Symbols are text, the same ones in positions, weights and prices."""
        result = self.result()
        for name in FRAMES:
            part = getattr(result, name)
            if part is not None:
                assert all(isinstance(symbol, str) for symbol in part.columns), name
                assert result.prices is None or set(part.columns) <= set(result.prices.columns), name

    def test_trades_and_fills_are_typed(self) -> None:
        """Quantities of trades are above zero, sides long or short, times in UTC and in order."""
        result = self.result()
        if result.trades is not None and len(result.trades):
            assert (result.trades["quantity"] > 0.0).all()
            assert set(result.trades["side"]) <= {"long", "short"}
            assert str(result.trades["entry_time"].dtype) == "datetime64[ns, UTC]"
            assert (result.trades["exit_time"] >= result.trades["entry_time"]).all()
        if result.fills is not None and len(result.fills):
            assert str(result.fills["timestamp"].dtype) == "datetime64[ns, UTC]"
            assert (result.fills["price"] > 0.0).all()

    def test_is_repeatable_and_leaves_the_object_alone(self) -> None:
        """The same object gives the same result twice."""
        value = self.value()
        first = self.adapter.adapt(value, self.given)
        second = self.adapter.adapt(value, self.given)
        assert first.equity.equals(second.equity)
        assert first.notes == second.notes

    def test_is_found(self) -> None:
        """`run.save` finds the adapter for the object."""
        if self.found:
            assert as_result(self.value(), self.given).equity.equals(self.result().equity)
