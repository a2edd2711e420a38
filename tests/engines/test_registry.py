"""The registry: who is asked, what passes, what is refused."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.engines.adapter import GROUP
from pipeline.engines.conformance import AdapterConformance
from pipeline.engines.registry import BUILT_IN, as_result, built_in
from pipeline.errors import ResultError
from pipeline.results.contract import Result

DAYS = pd.date_range("2024-01-01", periods=3, tz="UTC").as_unit("ns")
PAGE = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")
BROKEN = "class ADAPTER:\n    name = 'x'\n    recognises = lambda s, v: {}\n    adapt = lambda s, v, g: {}\n"
HOUSE = {"days": ["2024-01-02", "2024-01-03"], "house_nav": [100.0, 101.0], "paid_in": 100.0}


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that installs a module with an entry point, as a distribution of its own."""

    def make(code: str, target: str = "ADAPTER") -> None:
        (tmp_path / "house_evidence.py").write_text(code)
        info = tmp_path / "house_evidence-1.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: house-evidence\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\nhouse = house_evidence:{target}\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        sys.modules.pop("house_evidence", None)
        importlib.invalidate_caches()

    yield make
    sys.modules.pop("house_evidence", None)


def page_code() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_a_result_passes_and_is_checked() -> None:
    """Whoever made it."""
    good = Result(equity=pd.Series([1.0, 1.1, 1.2], DAYS), capital=1.0)
    assert as_result(good) is good
    with pytest.raises(ResultError, match="capital"):
        as_result(Result(equity=good.equity, capital=0.0))
    with pytest.raises(ResultError, match="said to be the start"):
        as_result(Result(equity=good.equity, capital=1.1, first_label="start"))


@pytest.mark.parametrize("stranger", [object(), {"a": 1}, [1.0, 2.0], None, 3, lambda: None])
def test_a_stranger_is_told_what_is_known_and_what_helps(stranger: Any) -> None:
    """The message names its class, every adapter, and the lines that give an equity."""
    with pytest.raises(ResultError) as caught:
        as_result(stranger)
    message = str(caught.value)
    assert type(stranger).__name__ in message
    assert all(adapter.name in message for adapter in built_in())
    assert "pd.Series(values, index=pd.DatetimeIndex(dates))" in message


def test_every_module_of_an_adapter_is_registered() -> None:
    """A module that has an ADAPTER is asked."""
    folder = Path(sys.modules["pipeline.engines.registry"].__file__ or "").parent
    with_adapter = {path.stem for path in folder.glob("*.py") if "\nADAPTER = " in path.read_text(encoding="utf-8")}
    assert set(BUILT_IN) == with_adapter


def test_no_adapter_imports_an_engine() -> None:
    """Looking at an object needs none of the libraries."""
    engines = ("vectorbt", "backtesting", "bt", "skfolio", "backtrader", "nautilus_trader", "zipline", "freqtrade")
    folder = Path(sys.modules["pipeline.engines.registry"].__file__ or "").parent
    for path in folder.glob("*.py"):
        found = re.findall(r"^\s*(?:from|import) (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert not set(found) & set(engines), path.name


def test_the_adapter_of_the_page_is_found_when_it_is_installed(install: Any) -> None:
    """docs/results.md shows a whole adapter; with its entry point `run.save` takes the object."""
    with pytest.raises(ResultError, match="No adapter knows a dict"):
        as_result(HOUSE)
    install(page_code()[0])
    assert len(page_code()[0].strip().splitlines()) <= 22
    result = as_result(HOUSE)
    assert (result.capital, result.engine.name if result.engine else None) == (100.0, "house")


def test_the_tests_of_the_page_pass() -> None:
    """The conformance class of the page runs on its adapter, and fails on one that is wrong."""
    space: dict[str, Any] = {}
    exec("\n".join(page_code()[:2]), space)
    tests = space["TestHouse"]()
    for name in dir(tests):
        if name.startswith("test_"):
            getattr(tests, name)()
    space["TestHouse"].adapter = type("Wrong", (), {"name": "", "recognises": lambda self, value: True})()
    with pytest.raises(AssertionError):
        tests.test_has_a_name()
    with pytest.raises(AssertionError):
        tests.test_recognises_its_object_and_no_other()
    assert issubclass(space["TestHouse"], AdapterConformance)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("ADAPTER = 1 / 0", "could not be loaded: ZeroDivisionError"),
        ("ADAPTER = 5", "has no recognises"),
        (BROKEN.format("True", "1 / 0"), "failed on an object"),
        (BROKEN.format("True", "7"), "returned an int"),
        (BROKEN.format("1 / 0", "7"), "failed on an object"),
    ],
)
def test_a_broken_adapter_is_named(install: Any, code: str, words: str) -> None:
    """An error of an installed adapter is no traceback: it says whose it is."""
    install(code)
    with pytest.raises(ResultError, match=words) as caught:
        as_result(object())
    assert "house" in str(caught.value)


def test_what_an_installed_adapter_returns_is_checked(install: Any) -> None:
    """Also a result that says it is one."""
    install(page_code()[0])
    with pytest.raises(ResultError, match="order of time"):
        as_result(HOUSE | {"days": HOUSE["days"][::-1]})
