"""What a ledger counts: the first entry about a run or a batch decides, and nothing later makes a count smaller."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.backtest.conventions import per_period_rate
from pipeline.backtest.metrics import return_stats
from pipeline.evidence.ledger import Event, append, append_many
from pipeline.evidence.ledger_check import check_ledger, trial_count
from pipeline.evidence.ledger_trials import PER_ENTRY, counted_event, ended_events
from pipeline.evidence.trial import Scope, TrialResult, configuration

MA = Scope("ma", "1", "ma", ("SPX",), "2000-01-03T00:00:00Z", "2010-12-31T00:00:00Z")
SUBJECT = "a" * 64


def start(run: str, origin: str = "evidence-run", strategy: str = "ma", data: str = "1") -> Event:
    return Event("run_started", run, strategy=strategy, data_sha256=data, details={"origin": origin})


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Three runs and a sweep that counted a batch of six: nine trials."""
    path = tmp_path / "ledger.jsonl"
    events = [start("a"), start("b"), Event("run_killed", "b"), start("c"), start("s", "sweep")]
    append_many(path, [*events, Event("trial_counted", "s", SUBJECT, "ma", "1", {"batch": 0, "trials": 6})])
    assert trial_count(path, "ma", "1") == 9
    assert check_ledger(path).ok
    return path


LOWERING: list[Event] = [
    *(Event("trial_counted", strategy="ma", data_sha256="1", details={"trials": n}) for n in (-7, 0, True, 2.5, "9")),
    Event("trial_counted", strategy="ma", data_sha256="1", details={"trials": None}),
    Event("trial_counted", strategy="ma", data_sha256="1", details={"trials": [3]}),
    Event("trial_counted", "s", SUBJECT, "ma", "1", {"batch": 0, "trials": 2}),
    Event("trial_counted", "s", SUBJECT, "ma", "1", {"batch": ["x"], "trials": 2}),
    Event("trial_counted", "s", SUBJECT, "ma", "1", {"batch": {}, "trials": 2}),
    start("a", "replay:b"),
    start("a", "sweep"),
    start("c", "sweep-best:s"),
    start("a", strategy="other"),
    start("b", data="2"),
    Event("run_sealed", "a", SUBJECT, "other", "1"),
    Event("run_sealed", "a", SUBJECT, "ma", "2"),
    Event("run_adopted", "a", SUBJECT, "ma", "2", {"origin": "sweep"}),
    Event("run_started", "n", strategy="ma", data_sha256="9", details={"trial": "no table"}),
    Event("run_started", "n", strategy="ma", data_sha256="9", details={"trial": {"family": 5}}),
    Event("run_started", "n", strategy="ma", data_sha256="9", details={"trial": {"instruments": "SPX"}}),
    Event("trials_ended", "s", SUBJECT, "ma", "1", {"batch": 0, "ended": 7, "without": 0, "results": []}),
    Event("trials_ended", "s", SUBJECT, "ma", "1", {"batch": 0, "ended": 1, "without": 2, "results": []}),
    Event("trials_ended", "s", SUBJECT, "ma", "1", {"batch": 0, "ended": 1, "without": 0, "results": [["x", "y"]]}),
    Event("run_sealed", "a", SUBJECT, "ma", "1", {"result": ["c", 0.1, 500, -0.5, 4.25]}),
    Event("trials_ended", "s", SUBJECT, "ma", "1", {"batch": 0, "ended": 1, "without": 0, "results": None}),
    Event("trials_ended", "s", SUBJECT, "ma", "1", {"batch": 4, "ended": 1, "without": 0, "results": []}),
    Event("run_sealed", "a", SUBJECT, "ma", "1", {"result": {"sharpe": 9}}),
]  # fmt: skip


@pytest.mark.parametrize("event", LOWERING, ids=lambda event: f"{event.kind} {event.details}"[:60])
def test_what_is_appended_makes_no_count_smaller(ledger: Path, event: Event) -> None:
    """An entry that would lower a count, or of which none can be made, is a problem, and not followed."""
    entry = append(ledger, event)
    assert trial_count(ledger, "ma", "1") == 9
    problems = check_ledger(ledger).problems
    assert [problem.kind for problem in problems] == ["contradiction"]
    assert f"entry {entry.seq}: " in problems[0].message


def test_a_signature_allows_no_more(ledger: Path) -> None:
    """The key's owner cannot lower a count either."""
    from tests.evidence.sealed_runs import new_signer

    append(ledger, start("a", "replay:b"), new_signer())
    assert trial_count(ledger, "ma", "1") == 9
    assert not check_ledger(ledger).ok


def test_ordinary_entries_contradict_nothing(ledger: Path) -> None:
    """A batch that is counted again after a kill, a replay, a trial's own run, a seal, an adoption: no problems."""
    append_many(
        ledger,
        [
            Event("trial_counted", "s", SUBJECT, "ma", "1", {"batch": 0, "trials": 6}),
            Event("trial_counted", "s", SUBJECT, "ma", "1", {"batch": 1, "trials": 4}),
            start("t", "sweep-trial:s"), start("u", "sweep-best:s"), start("r", "replay:a"), start("q", "replay:u"),
            Event("run_sealed", "a", SUBJECT, "ma", "1"), Event("run_failed", "c", SUBJECT, "ma", "1"),
            Event("run_adopted", "b", SUBJECT, "ma", "1", {"origin": "evidence-run"}), start("a"),
        ],
    )  # fmt: skip
    assert check_ledger(ledger).ok
    assert trial_count(ledger, "ma", "1") == 13
    assert check_ledger(ledger).trials.stands_for == {"t": "s", "u": "s", "r": "a", "q": "u"}


def test_a_run_that_stands_for_nothing_known_counts(ledger: Path) -> None:
    """Saying to be a replay, or a trial of a sweep, of what the ledger does not know leaves a run counted."""
    append_many(ledger, [start("x", "replay:gone"), start("y", "sweep-trial:gone"), start("z", "replay:z")])
    assert trial_count(ledger, "ma", "1") == 12


@pytest.mark.slow
def test_counts_never_fall(tmp_path: Path) -> None:
    """Whatever is appended to whatever there is, the count of every search is at least what it was."""
    generator = random.Random(7)
    path = tmp_path / "ledger.jsonl"
    before = {(name, data): 0 for name in ("ma", "other") for data in ("1", "2")}
    for _ in range(150):
        run, name, data = generator.choice("abcdef"), *generator.choice([*before])
        origin = generator.choice(["evidence-run", "sweep", "replay:a", "sweep-trial:b", "sweep-best:c", "replay:f"])
        details: dict[str, Any] = {"origin": origin, "batch": generator.choice([0, 1, -1, "x", None, True])}
        details |= {"trials": generator.choice([1, 5, -9, 0, True, "x", 2.5]), "ended": 1, "without": 0, "results": []}
        kind = generator.choice(
            ["run_started", "run_sealed", "run_failed", "run_killed", "run_adopted", "run_pruned", "trial_counted",
             "trials_ended", "report_rendered"]
        )  # fmt: skip
        append(path, Event(kind, generator.choice([run, None]), SUBJECT, name, data, details))
        now = {search: trial_count(path, *search) for search in before}
        assert all(now[search] >= before[search] for search in before)
        before = now
    assert sum(before.values()) > 10


def test_results_of_trials_come_back(ledger: Path) -> None:
    """What an entry tells of a sweep's trials is read as it was, equal results once, and the first telling stays."""
    results = [TrialResult(0.01 * (n % 7), 0.02, 500, -0.5, 4.25, f"{n:016x}") for n in range(PER_ENTRY + 20)]
    given = [*results, None, None]
    events = ended_events("s", SUBJECT, MA, batch=1, results=given, repeats=3)
    assert len(events) == 2
    append_many(ledger, [counted_event("s", SUBJECT, MA, batch=1, trials=len(given) + 3), *events])
    other = ended_events("s", SUBJECT, MA, batch=1, results=[TrialResult(9.0)], repeats=0)
    append_many(ledger, other)
    assert check_ledger(ledger).ok
    found = check_ledger(ledger).trials.counted[-1]
    assert (found.scope, found.trials, found.ended, found.without) == (MA, len(given) + 3, len(given) + 3, 2)
    assert {result.key for result in found.results} == {result.key for result in results}
    assert len(found.results) == 14  # seven different ones, in each of two entries


def test_an_entry_holds_the_longest_results(ledger: Path) -> None:
    """As many results as one entry is given fit into its line, with every number as long as numbers get."""
    long = -0.0000012345678901234567
    results = [TrialResult(long - 1e-6 * n, -long, 10**9, long, long, f"{n:016x}") for n in range(PER_ENTRY)]
    append(ledger, counted_event("s", SUBJECT, MA, batch=1, trials=PER_ENTRY))
    (event,) = ended_events("s", SUBJECT, MA, batch=1, results=[*results])
    append(ledger, event)
    assert check_ledger(ledger).trials.counted[-1].results == tuple(results)


def test_a_seals_first_result_stays(ledger: Path) -> None:
    """A seal that is replaced later changes nothing about the trial that was counted."""
    for sharpe in (0.5, 0.0):
        row = TrialResult(sharpe, bars=100).to_row()
        append(ledger, Event("run_sealed", "a", SUBJECT, "ma", "1", {"result": row}))
    first = check_ledger(ledger).trials.counted[0]
    assert (first.run_id, first.ended, first.results[0].sharpe) == ("a", 1, 0.5)


def test_unknown_is_not_without(ledger: Path) -> None:
    """A failed run ended without a ratio; of one that was killed, and of an old seal, nobody knows."""
    append_many(
        ledger,
        [
            Event("run_sealed", "a", SUBJECT, "ma", "1"), Event("run_failed", "c", SUBJECT, "ma", "1"),
            start("d"), Event("run_sealed", "d", SUBJECT, "ma", "1", {"result": None}),
        ],
    )  # fmt: skip
    known = {one.run_id: (one.ended, one.without) for one in check_ledger(ledger).trials.counted}
    assert known == {"a": (0, 0), "b": (0, 0), "c": (1, 1), "s": (0, 0), "d": (1, 1)}


finite = st.floats(min_value=-0.5, max_value=0.5)
rates = st.floats(min_value=-0.5, max_value=0.5)


@given(returns=st.lists(finite, min_size=3, max_size=40), own=rates, other=rates, per_year=st.floats(1.0, 1e6))
def test_a_result_is_told_at_any_rate(returns: list[float], own: float, other: float, per_year: float) -> None:
    """Whatever rate a trial's metrics were made with, its result is the same, and has the ratio at every rate."""
    values = np.array(returns)
    assume(values.std() > 1e-6)
    told, plain, at = (
        TrialResult.of_stats(return_stats(values, periods_per_year=per_year, risk_free_rate=rate)
                             | {"periods_per_year": per_year}, rate)
        for rate in (own, 0.0, other)
    )  # fmt: skip
    assert told is not None
    assert plain is not None
    assert told == replace(plain, sharpe=told.sharpe)
    assert told.sharpe == pytest.approx(plain.sharpe, rel=1e-9, abs=1e-9)
    assert at is not None
    excess = values - per_period_rate(other, per_year)
    shown = told.at_rate(per_period_rate(other, per_year))
    assert shown is not None
    assert shown.sharpe == pytest.approx(excess.mean() / values.std(ddof=1), rel=1e-9, abs=1e-9)
    assert TrialResult.of_row(told.to_row()) == told


def test_a_rate_alone_makes_no_other_result() -> None:
    """The same returns with and without a rate are one result, those of another size are another at a rate only."""
    values = np.array([0.011, -0.0173, 0.0291, 0.0057, -0.0023])

    def result(of: np.ndarray, rate: float) -> TrialResult:
        stats = return_stats(of, periods_per_year=252.0, risk_free_rate=rate) | {"periods_per_year": 252.0}
        found = TrialResult.of_stats(stats, rate)
        assert found is not None
        return found

    one, same, half = result(values, 0.0), result(values, 0.04), result(values / 2.0, 0.0)
    assert one.key_at_any_rate == same.key_at_any_rate
    assert one.key == half.key
    assert one.key_at_any_rate != half.key_at_any_rate
    assert one.at_rate(0.001).key == same.at_rate(0.001).key != half.at_rate(0.001).key


def test_a_ratio_without_a_deviation_stays_at_its_rate() -> None:
    """Without a volatility no rate is put in or taken out: there is no ratio then, and no guess."""
    stats = {"sharpe": 0.5, "periods_per_year": 252.0}
    for told in (stats, {**stats, "annual_volatility": 0.0}, {**stats, "annual_volatility": None}):
        assert TrialResult.of_stats(told, 0.04) is None
        found = TrialResult.of_stats(told, 0.0)
        assert found is not None
        assert found.at_rate(0.0) == found
        assert found.at_rate(0.0001) is None


@pytest.mark.parametrize("name", ["sharpe", "periods_per_year", "annual_volatility", "n_bars", "kurtosis"])
def test_a_number_that_no_float_holds_makes_no_result(name: str) -> None:
    stats = {"sharpe": 0.5, "periods_per_year": 252.0, "annual_volatility": 0.2, "n_bars": 9, "kurtosis": 3.0}
    assert TrialResult.of_stats(stats, 0.0) is not None
    assert TrialResult.of_stats({**stats, name: 10**400}, 0.0) is None


@pytest.mark.parametrize(
    ("first", "last", "same"),
    [
        ("2005-01-01T00:00:00Z", "2006-01-01T00:00:00Z", True),
        ("2010-12-31T00:00:00Z", "2020-01-01T00:00:00Z", True),
        ("2011-01-01T00:00:00Z", "2020-01-01T00:00:00Z", False),
        ("1990-01-01T00:00:00Z", "1999-12-31T00:00:00Z", False),
        (None, "1999-12-31T00:00:00Z", False),
        ("2011-01-01T00:00:00Z", None, False),
        (None, None, True),
    ],
)
def test_times_overlap_as_far_as_they_are_known(first: str | None, last: str | None, same: bool) -> None:
    """One bar at the same time is enough, and what is not known may be at any time."""
    other = Scope("x", "2", "ma", ("SPX",), first, last)
    assert MA.overlaps(other) is other.overlaps(MA) is same


def test_a_configuration_is_what_decides_the_result() -> None:
    """Labels, conventions and keys that are not set change no digest; params, dates, costs, data and the seed do."""
    base: dict[str, Any] = {
        "data": {"source": "a.csv", "symbol": "SPX", "start": None},
        "strategy": {"name": "ma", "params": {"n": 3}, "family": None},
        "backtest": {"fee_bps": 1.0},
        "run": {"name": "x", "notebook": "n.ipynb", "parameters": {}, "seed": 0},
    }
    one = configuration(base, "1")
    assert len(one) == 16
    for section, key, value in (
        ("data", "source", "b.csv"), ("data", "new", None), ("strategy", "family", "f"), ("run", "name", "y"),
        ("data", "periods_per_year", 365.0), ("backtest", "risk_free_rate", 0.04),
    ):  # fmt: skip
        assert configuration({**base, section: {**base[section], key: value}}, "1") == one
    for section, key, value in (
        ("data", "start", "2001-01-01"), ("strategy", "params", {"n": 4}), ("backtest", "fee_bps", 2.0),
        ("run", "seed", 1), ("data", "symbol", "XPS"),
    ):  # fmt: skip
        assert configuration({**base, section: {**base[section], key: value}}, "1") != one
    assert configuration(base, "2") != one
