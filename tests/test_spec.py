"""The run spec: what is accepted, what is refused and how the refusal reads."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import SpecError, UsageError
from pipeline.opening import data_inputs
from pipeline.settings import Settings
from pipeline.spec import RunSpec, parse_override, parse_spec, read_spec
from pipeline.sweep.spec import parse_sweep
from pipeline.template_files import template_path


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        ("[backtest]\nfee_bp = 1", "backtest.fee_bp: unknown key. Did you mean 'fee_bps'?"),
        ("[backtset]\nfee_bps = 1", "backtset: unknown key. Did you mean 'backtest'?"),
        ("[backtest]\ninitial_cash = 'much'", "backtest.initial_cash: Input should be a valid number (given: 'much')"),
        ("[backtest]\ninitial_cash = 0", "backtest.initial_cash: Input should be greater than 0 (given: 0)"),
        ("[backtest]\nfee_bps = nan", "backtest.fee_bps"),
        ("[run]\nseed = 1.5", "run.seed"),
        ("[run]\nseed = true", "run.seed"),
        ("[tracking]\nmode = 'loud'", "tracking.mode: Input should be 'warn', 'strict' or 'off' (given: 'loud')"),
        ("[data]\nstart = 'soon'", "data.start"),
        ("[data]\nstart = 2020-01-01\nend = 2019-01-01", "data.start 2020-01-01 is after data.end 2019-01-01"),
        ("[data", "is not valid TOML"),
    ],
)
def test_a_wrong_spec_is_refused_by_place_and_value(toml: str, expected: str) -> None:
    """A refusal names the key by its path, what was given and, for a typo, the nearest valid name."""
    with pytest.raises(SpecError) as caught:
        parse_spec(toml.encode(), where="my.toml")
    assert expected in str(caught.value)
    assert "my.toml" in str(caught.value)
    assert caught.value.exit_code == 2


def test_all_problems_are_named_at_once() -> None:
    """A user mends a spec in one go: every problem is listed, not only the first."""
    with pytest.raises(SpecError) as caught:
        parse_spec(b"[run]\nsede = 1\n[backtest]\nfee_bps = -1")
    assert "run.sede" in str(caught.value)
    assert "backtest.fee_bps" in str(caught.value)


@pytest.mark.parametrize("text", ["2020-01-01T12:00:00", "2020-01-01T00:00:00-05:00"])
def test_a_range_is_of_whole_days(text: str) -> None:
    """A time of day, or a midnight elsewhere, is refused and not cut off: the run would hold other bars."""
    assert parse_spec(b"[data]\nstart = 2020-01-01T00:00:00Z").data.start == dt.date(2020, 1, 1)
    with pytest.raises(SpecError, match=r"data\.start: .*a whole day is needed"):
        parse_spec(f"[data]\nstart = {text}".encode())


@pytest.mark.parametrize("value", ["nan", "-inf", "[1.0, inf]", "{ deep = [nan] }"])
@pytest.mark.parametrize("table", ["strategy.params", "run.parameters"])
def test_numbers_that_are_none_are_refused(table: str, value: str) -> None:
    """NaN and infinity become null in JSON, so the strategy would be run with None instead."""
    with pytest.raises(SpecError, match=rf"{table}: .*NaN and infinity"):
        parse_spec(f"[{table}]\nlimit = {value}".encode())


def test_numbers_of_numpy_are_numbers() -> None:
    """A param from an array, as notebooks loop over them, is written and sealed like any other."""
    params = {"window": np.int64(5), "level": np.float32(0.5), "on": np.bool_(True), "steps": [np.int8(1), 2.5]}
    spec = RunSpec.from_mapping({"strategy": {"name": "mine:signal", "params": params}})
    assert spec.to_dict()["strategy"]["params"] == {"window": 5, "level": 0.5, "on": True, "steps": [1, 2.5]}
    assert parse_spec(spec.to_toml()) == spec


def test_a_byte_order_mark_is_no_mistake() -> None:
    """Some editors begin every file with one."""
    assert parse_spec(b"\xef\xbb\xbf[run]\nseed = 3\n").run.seed == 3
    assert parse_sweep(b"\xef\xbb\xbf[sweep]\ntrials = 3\n").sweep.trials == 3


def test_a_strategy_is_kept_under_its_own_name() -> None:
    """Trials are counted by the strategy's name; under its other name they would be trials of another strategy."""
    assert parse_spec(b"[strategy]\nname = 'breakout'") == parse_spec(b"[strategy]\nname = 'donchian'")


def test_a_spec_is_frozen() -> None:
    """A spec cannot change between the stages of a run."""
    with pytest.raises(ValueError, match="frozen"):
        RunSpec().run.seed = 3  # type: ignore[misc]


def test_a_spec_reads_back_from_its_own_toml() -> None:
    """to_toml() writes a document that parses to an equal spec, strings of any kind included."""
    spec = parse_spec('[run]\nname = "a\\"b\\n]"\ntags = { "k.x" = "é😀" }\n[data]\nstart = 2001-02-03'.encode())
    assert parse_spec(spec.to_toml()) == spec


@given(st.text(min_size=1, max_size=50), st.dictionaries(st.text(min_size=1), st.text(), max_size=3))
def test_hostile_names_and_tags_survive_the_round_trip(name: str, tags: dict[str, str]) -> None:
    """Whatever text a name or a tag holds, the snapshot keeps it."""
    spec = RunSpec.from_mapping({"run": {"name": name, "tags": tags}})
    assert parse_spec(spec.to_toml()) == spec


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("fast=10", "strategy.params.fast", 10),
        ("backtest.fee_bps=2.5", "backtest.fee_bps", 2.5),
        ("average=ema", "strategy.params.average", "ema"),
        ('run.name="a b"', "run.name", "a b"),
        ("allow_short=true", "strategy.params.allow_short", True),
        ("run.name=a=b", "run.name", "a=b"),
    ],
)
def test_overrides_are_read_as_toml_values(text: str, key: str, value: object) -> None:
    """`-p key=value` means the strategy's param, or any key of the spec by its path."""
    assert parse_override(text) == (key, value)


@pytest.mark.parametrize("text", ["fast", "=3", ""])
def test_an_override_without_a_key_is_refused(text: str) -> None:
    """An override that is not key=value is an error, not a no-op."""
    with pytest.raises(SpecError, match="key=value"):
        parse_override(text)


def test_an_override_lies_over_the_file_and_leaves_its_bytes(tmp_path: Path) -> None:
    """The file's bytes are kept exactly; the override shows in the parsed spec only."""
    path = tmp_path / "run.toml"
    path.write_bytes(b"[run]\r\nseed = 1  # comment\r\n")
    spec, given_bytes = read_spec(path, {"run.seed": 5})
    assert spec.run.seed == 5
    assert given_bytes == b"[run]\r\nseed = 1  # comment\r\n"


def test_an_override_through_a_value_is_refused() -> None:
    """`run.seed.x` cannot be set: `run.seed` is a number."""
    with pytest.raises(SpecError, match="goes through 'seed'"):
        parse_spec(b"[run]\nseed = 1", {"run.seed.x": 2})


def test_a_missing_spec_is_named(tmp_path: Path) -> None:
    """The error names the file that could not be read."""
    with pytest.raises(SpecError, match=r"absent\.toml"):
        read_spec(tmp_path / "absent.toml")


@pytest.mark.parametrize("place", ["data.source", "benchmark.source", "run.notebook", "report.template"])
@pytest.mark.parametrize("name", ["a\0b.csv", "a" * 300 + ".csv", "/" + "a/" * 3000, "~nobody-at-all/x.csv"])
def test_a_file_that_no_system_can_have_is_refused(tmp_path: Path, place: str, name: str) -> None:
    """Whatever stands in the place of a path, the request is wrong (exit code 2)."""
    spec, settings = parse_spec(b"", {place: name}), Settings(tmp_path, tmp_path / "results")
    look = data_inputs if place.endswith("source") else lambda _, there: template_path(there, name, error=SpecError)
    with pytest.raises(UsageError, match=r"no (data )?file|does not exist"):
        look(spec, settings)


@pytest.mark.parametrize("parse", [parse_spec, parse_sweep])
def test_a_spec_that_is_hard_to_read_is_refused(parse: Callable[..., object]) -> None:
    """Depth, endless keys and numbers: in the file, on the command line and from a program."""
    for toml, overrides in (
        (b"a=" + b"[" * 3000, {}),
        (b"", {"a." * 50_000 + "b": 1}),
        (b"", {"strategy.params." + "a." * 3000 + "b": 1}),
        (b"", {"strategy.params.a": functools.reduce(lambda inner, _: [inner], range(3000), [])}),
        (b"", {"run.seed": 10**5000}),
        (b"[data]\nsource = []", {}),
    ):
        with pytest.raises(SpecError):
            parse(toml, overrides)
    for text in ("a=" + "[" * 3000, "a" * 100_000):
        with pytest.raises(SpecError):
            parse_override(text)
