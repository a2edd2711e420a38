"""A condition is a small grammar: what it means is written down; whatever else is given is refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import UsageError
from pipeline.listing.where import matching, parse_where
from pipeline.run import Run
from pipeline.run_row import RunRow
from tests.site.site_runs import make_runs, varied


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[RunRow]:
    """Return the rows of eighteen runs; of run 0 and 9 the win rate is undefined, run 4 failed."""
    results = tmp_path_factory.mktemp("where")
    runs = [varied(number, bars=40, **({"status": "FAILED"} if number == 4 else {})) for number in range(18)]
    return [RunRow.of(Run(run)) for run in make_runs(results, runs)]


def numbers(rows: list[RunRow], condition: str) -> list[int]:
    return [int(row.name.split()[-1]) for row in matching(rows, parse_where(condition))]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("total_trades > 18", [16, 17]),
        ("total_trades>=18 and total_trades<20", [15, 16]),
        ("total_trades = 3 or total_trades == 20", [0, 17]),
        ("not total_trades < 19", [16, 17]),
        ("symbol = NDX and strategy = ma_crossover", [5, 15]),
        ("symbol != NDX and symbol != SPX and symbol != VIX", [9, 10, 11]),
        ("(symbol = NDX or symbol = VIX) and tags.desk = beta", [3, 5, 7, 15, 17]),
        ("name ~ 'VARIANT 1' and status = FINISHED", [1, 10, 11, 12, 13, 14, 15, 16, 17]),
        ("status=FAILED", [4]),
        ("total_trades = null", [4]),
        ("win_rate = null", [0, 4, 9]),
        ("win_rate != null and total_trades < 6", [1, 2]),
        ("not win_rate > 0.4", []),
        ("params.fast < 7", [0, 1]),
        ("params.none = 3", []),
        ("params.fast < slow", []),
        ("started < 2026-01-01T00:10", [0, 1]),
        ("sealed = true and first = '2015-01-02T00:00:00Z' and total_trades > 19", [17]),
        ("sealed = false", []),
        ("sealed = TRUE and total_trades = NULL", [4]),
        ("tags.batch = 0 and total_trades < 6", [0, 1, 2]),
        ("tags.desk ~ ET and digests.data ~ AB and total_trades = 20", [17]),
        ("params.fast ~ 2 and total_trades < 15", [7]),
        ("total_trades ~ 2", [9, 17]),
        ("""name ~ "'Study" """, []),
        ("avg_trade > 0 or total_trades = 3", [0]),
        ("batch = 0 or total_trades = 3", None),
    ],
)
def test_conditions(rows: list[RunRow], condition: str, expected: list[int] | None) -> None:
    """Each means what its words say; an unknown value is compared with nothing but null."""
    if expected is None:
        with pytest.raises(UsageError, match="no column 'batch'"):
            numbers(rows, condition)
    else:
        assert numbers(rows, condition) == expected


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("", "lacks a column at its end"),
        ("sharpe", "lacks one of ="),
        ("sharpe >", "lacks a value at its end"),
        ("sharpe > 1 sortino > 2", "lacks `and` or `or` before 'sortino > 2'"),
        ("(sharpe > 1", r"lacks `\)` at its end"),
        ("sharpe > 'x", r"cannot be read from \"'x\" on"),
        ("sharp > 1", "Did you mean 'sharpe'"),
        ("sharpe > high", "sharpe is a number, and 'high' is none"),
        ("sharpe = true", "sharpe is a number, and 'true' is none"),
        ("sealed = yes", "sealed is true or false, and 'yes' is neither"),
        ("sharpe < null", "Nothing is < null"),
        ("name ~ null", "Nothing is ~ null"),
        ("params. > 1", "no column 'params.'"),
        ("__import__('os')", "lacks one of ="),
        ("(" * 40 + "sharpe > 1" + ")" * 40, "nested more than 30"),
        ("not " * 3_000 + "sharpe > 1", "characters"),
    ],
)
def test_what_is_no_condition_is_refused(rows: list[RunRow], condition: str, said: str) -> None:
    """The sentence says what is missing and where, or which column was meant."""
    with pytest.raises(UsageError, match=said):
        matching(rows, parse_where(condition))


WORDS = st.sampled_from(
    [*"()<>=!~'\"", "and", "or", "not", "sharpe", "1", "null", "x y", "params.fast", ">=", "\0", "é"]
)


@given(st.lists(WORDS, max_size=14).map(" ".join))
def test_whatever_is_given_is_a_condition_or_a_usage_error(text: str) -> None:
    """Nothing else is raised, and what is read has a column in it."""
    try:
        found = parse_where(text)
    except UsageError:
        return
    assert [*found.names()]


def test_unreadable_values_are_unknown(tmp_path: Path) -> None:
    """A metric that is no number is as one that is not there, and sorts and compares as such."""
    run = make_runs(tmp_path, [varied(1, bars=5)])[0]
    run.stats.write_text('{"sharpe": [1], "total_return": "high"}')
    row = RunRow.of(Run(run))
    assert matching([row], parse_where("sharpe = null and total_return = null")) == [row]
