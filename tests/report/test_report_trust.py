"""Can it be trusted? Verdict, intervals, look-ahead, sensitivity, trials: what the page says and when it says less."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import report_builder as builder
from bs4 import BeautifulSoup
from report_builder import FAILURE, SPEC

from pipeline.backtest import BacktestEngine, BacktestResult, Conventions
from pipeline.backtest.analysis import monthly_activity
from pipeline.backtest.catalogue import RATIO
from pipeline.backtest.significance import DeflatedSharpe
from pipeline.evidence.ledger_check import check_ledger
from pipeline.evidence.trial import Scope
from pipeline.files import write_json
from pipeline.report.numbers import format_number
from pipeline.report.page import Page, build_page
from pipeline.report.trials import Trials, count_trials
from pipeline.report.verdict import interval, verdict
from pipeline.robustness_record import Intervals, Leakage, Range, Robustness, Variation
from pipeline.run import Run, compare
from pipeline.rundir import RunDir
from tests.tiers import mostly_slow


def text_of(run: Run) -> str:
    page = BeautifulSoup(run.dir.report.read_text(encoding="utf-8"), "html.parser")
    return " ".join(page.main.get_text(" ").split())


def open_with(run: Run, **known: Any) -> Page:
    """Return the page of `run` with some of its facts replaced."""
    page = build_page(Run(run.dir))
    page.__dict__.update(known)
    return page


def intervals(sharpe: Range, difference: Range | None = None) -> Intervals:
    ranges = {"sharpe": sharpe}
    if difference is not None:
        ranges |= {"benchmark_sharpe": Range(0.3, 0.0, 0.6), "sharpe_difference": difference}
    return Intervals(ranges, 1_000, 5.0, 0.95, "percentile", 0)


def test_the_page_says_how_far_to_trust_it(finished: Run) -> None:
    """Verdict, mark, PSR, intervals, look-ahead, sensitivity, years and regimes are all in the page."""
    text = text_of(finished)
    for said in (
        "NO LOOK-AHEAD FOUND", "Probabilistic Sharpe ratio", "Minimum track record", "Deflated Sharpe ratio",
        "Not applicable: only this run is known", "95% bootstrap intervals", "1,000 resamples", "seed 0",
        "sealed with the run", "No look-ahead showed in ma_crossover at 24 cuts.", "Costs multiplied", "3 bars",
        "By calendar year", "Volatility: high", "Worst drawdowns", "Global financial crisis", "What costs took",
        f"evidence replay {finished.run_id}" if finished.dir.notebook.is_file() else "evidence verify", "not signed",
    ):  # fmt: skip
        assert said in text, said
    head = BeautifulSoup(finished.dir.report.read_text(encoding="utf-8"), "html.parser").select_one(".verdict")
    assert head.get_text().startswith("Sharpe ratio 0.")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (intervals(Range(0.5, 0.1, 0.9)), "Sharpe ratio 0.50, 95% interval 0.10 to 0.90, above 0."),
        (intervals(Range(0.5, -0.1, 0.9)), "interval −0.10 to 0.90, which includes 0: not distinguishable from 0."),
        (intervals(Range(-0.5, -0.9, -0.1)), "interval −0.90 to −0.10, below 0."),
        (intervals(Range(0.5, 0.1, 0.9), Range(0.2, -0.1, 0.5)),
         "difference is 0.20, interval −0.10 to 0.50, which includes 0: not distinguishable from the benchmark."),
        (intervals(Range(0.5, 0.1, 0.9), Range(0.2, 0.1, 0.5)), "interval 0.10 to 0.50, above 0."),
        (intervals(Range(0.5, None, None)), "Sharpe ratio 0.50; its interval is undefined for this run."),
        (None, "its interval is undefined for this run."),
    ],
)  # fmt: skip
def test_the_verdict_claims_no_more_than_the_numbers(finished: Run, found: Intervals | None, said: str) -> None:
    """An interval that includes 0 is called not distinguishable; without one there is no claim."""
    sentence = verdict(open_with(finished, stats={"sharpe": 0.5}, intervals=found))
    assert said in sentence
    if found is None or "includes 0" in said:
        assert "above 0" not in sentence.replace(said, "")[60:]


def test_the_verdict_puts_a_leak_first(finished: Run) -> None:
    """A strategy that knows the future is said to, before any number."""
    for status, start in (("leak", "The strategy looks into the future"), ("stochastic", "The strategy gives other")):
        found = Robustness.from_dict({"leakage": {"status": status}})
        sentence = verdict(open_with(finished, stats={"sharpe": 9.0}, robustness=found, intervals=None))
        assert sentence.startswith(start.replace("other", "different"))


@pytest.mark.parametrize(
    ("reason", "said"),
    mostly_slow(
        [
            ("independent", "its signals do not depend on the bars it is given. The numbers hold only if"),
            ("mixed", "its signals depend on more than the bars it is given. The numbers hold only if"),
            ("constant", "its signal is the same at every bar, whatever the bars. Sharpe ratio"),
            ("fails", "it fails on any other bars. The numbers hold only if"),
            ("of a later version", "its signals depend on more than the bars it is given. The numbers hold only if"),
        ]
    ),
)
def test_what_cannot_be_judged_is_never_clean(copied: Run, render: Any, reason: str, said: str) -> None:
    """Mark, verdict and section say that look-ahead cannot be judged and why, and luck is not all there is to it."""
    values = copy.deepcopy(builder.examined())
    values["leakage"] |= {"status": "unjudged", "reason": reason, "responses": 0, "sentence": "Whether x looks <ahead>"}
    write_json(copied.dir.robustness, values)
    deflated = DeflatedSharpe(0.03, 12, 1e-4, 0.02, 1.0, "estimate")
    page = open_with(copied, deflated=deflated, trials=Trials(12, 3, (), 0))
    sentence = verdict(page).replace(
        "Files of this run differ from its seal, so these may not be the numbers it had. ", ""
    )
    assert sentence.startswith(f"Whether the strategy looks into the future cannot be judged: {said}")
    assert sentence.endswith(
        "to be more than luck, at least 95%; that is about luck and says nothing about look-ahead."
    )
    render(copied)
    text = text_of(copied)
    assert text.count("LOOK-AHEAD CANNOT BE JUDGED") == 2
    assert "NO LOOK-AHEAD FOUND" not in text
    assert "Whether x looks <ahead>" in text
    assert "With all bars replaced 0 of the signals changed." in text


def test_a_damaged_record_of_the_bars_is_said(copied: Run) -> None:
    """A data.json of another shape is one sentence on the page, and the page is made."""
    missing = {"schema_version": 1, "bars": 3}
    for values in (missing, {**missing, "first": "a", "last": "b", "time_labels": [], "notes": None}):
        write_json(copied.dir.data_facts, values)
        assert "cannot be read" in build_page(Run(copied.dir)).data()


@pytest.mark.slow
def test_an_older_clean_says_what_was_not_tested(copied: Run, render: Any) -> None:
    """A run that was examined before bars were replaced is read as it was, and the page says what is not known."""
    values = copy.deepcopy(builder.examined())
    for name in ("reason", "responses"):
        del values["leakage"][name]
    write_json(copied.dir.robustness, values)
    render(copied)
    assert "NO LOOK-AHEAD FOUND" in text_of(copied)
    assert "Whether the signals depend on the bars at all was not tested" in text_of(copied)


@pytest.mark.parametrize(
    ("base", "late", "low", "said"),
    [
        (5.4, -0.15, 4.9, "One bar of delay takes its Sharpe ratio from 5.40 to −0.15; such a collapse is a sign of"),
        (5.4, 2.6, 4.9, "from 5.40 to 2.60"),
        (5.4, 2.8, 4.9, ""),
        (0.5, -0.1, 0.0, ""),
        (0.5, 0.2, 0.1, ""),
        (5.4, None, 4.9, ""),
        (5.4, -0.15, None, ""),
    ],
)
def test_a_collapse_under_delay_is_a_sign(
    finished: Run, base: float, late: float | None, low: float | None, said: str
) -> None:
    """A ratio that one bar of delay takes below its interval and to half is named; what chance may do is not."""
    rows = tuple(
        Variation("delay", "signal_delay", change, stats={"sharpe": value})
        for change, value in ((0.0, base), (1.0, late))
    )
    found = Robustness(present=True, leakage=Leakage("clean"), sensitivity=rows)
    page = open_with(
        finished, stats={"sharpe": base}, robustness=found, intervals=intervals(Range(base, low, base + 0.5))
    )
    assert said in verdict(page)
    assert ("collapse" in verdict(page)) == bool(said)


def test_the_verdict_tells_what_was_chosen_from(finished: Run) -> None:
    """A deflated ratio short of 95 % is said to be short of it."""
    for probability, said in (
        (0.6, "60.00% to be more than luck, short of 95"),
        (0.97, "97.00% to be more than luck, at least 95"),
    ):
        deflated = DeflatedSharpe(0.03, 12, 1e-4, 0.02, probability, "estimate")
        scope = Scope("ma:fn", "1", "ma", ("SPX",))
        trials = Trials(12, 3, 40, (0.1, 0.2), scope=scope)
        page = open_with(finished, stats={"sharpe": 0.5}, intervals=None, deflated=deflated, trials=trials)
        assert "This is one of 12 trials of the family ma on SPX; deflated for that" in verdict(page)
        assert said in verdict(page)


def test_no_sharpe_no_verdict(failed: Run) -> None:
    """A run without results gets no verdict and no mark of the look-ahead check."""
    assert verdict(build_page(failed)) == ""
    assert "LOOK-AHEAD" not in text_of(failed)


@pytest.mark.slow
def test_older_runs_say_what_was_not_examined(copied: Run, render: Any) -> None:
    """Without robustness.json the intervals are computed for the page, the same as those a run seals."""
    sealed = build_page(copied).intervals
    copied.dir.robustness.unlink()
    render(copied)
    text = text_of(copied)
    assert "This run left no robustness.json" in text
    assert "LOOK-AHEAD NOT CHECKED" in text
    assert "computed for this report" in text
    computed = build_page(Run(copied.dir)).intervals
    assert sealed is not None
    assert computed is not None
    for name, found in sealed.ranges.items():
        assert found.estimate == pytest.approx(computed.ranges[name].estimate, abs=1e-8)
        assert found.low == pytest.approx(computed.ranges[name].low, abs=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"null", b"{", b"[" * 100_000, b"{}",
        json.dumps({"leakage": [], "bootstrap": 3, "sensitivity": {"a": 1}, "regimes": [1], "notes": []}).encode(),
        json.dumps({"leakage": {"status": ["x"], "sentence": 5}, "bootstrap": {"intervals": {"sharpe": {"low": "x"}}},
                    "sensitivity": [{"kind": "cost", "name": "x", "change": "y", "value": None, "sharpe": 1e400}],
                    "regimes": [{"kind": "trend", "regime": "low", "bars": "many", "share": {}}]}).encode(),
    ],
)  # fmt: skip
def test_damaged_robustness_renders(copied: Run, render: Any, content: bytes) -> None:
    """Whatever the file holds, there is a page, and it says that the seal is broken."""
    copied.dir.robustness.write_bytes(content)
    render(copied)
    assert "SEAL BROKEN" in text_of(copied)


@pytest.mark.slow
def test_notes_are_shown(copied: Run, render: Any) -> None:
    """What a run could not examine is in the page with the reason."""
    note = "The strategy is too slow to be called again about 77 times within 30 s."
    missing = dict.fromkeys(("leakage", "sensitivity", "regimes", "base_equal"))
    write_json(copied.dir.robustness, builder.examined() | missing | {"notes": dict.fromkeys(missing, note)})
    render(copied)
    assert text_of(copied).count("too slow to be called again") == 2
    assert "LOOK-AHEAD NOT CHECKED" in text_of(copied)


@pytest.mark.slow
def test_a_re_run_that_differs_is_said(copied: Run, render: Any) -> None:
    """Tables about another strategy than the run's are introduced as such."""
    write_json(copied.dir.robustness, builder.examined() | {"base_equal": False})
    render(copied)
    assert "did not give the numbers of the run" in text_of(copied)


def test_an_absent_file_reads_as_nothing(tmp_path: Path) -> None:
    """The reader never raises."""
    found = Robustness.read(RunDir(tmp_path, builder.run_id(99)))
    assert not found.present
    assert found.leak_status == "unchecked"
    assert (found.responsive, found.blind_reason, found.delayed_sharpe(0)) == (None, "", None)


def spec(fast: int, name: str = "ma_crossover") -> dict[str, Any]:
    return {**SPEC, "strategy": {"name": name, "params": {"fast": fast, "slow": 100}}}


@pytest.mark.slow
def test_trials_are_the_earlier_runs_of_the_same_search(tmp_path: Path) -> None:
    """Failed and killed runs count, repeats count once for the spread, later and other runs do not count."""
    results = tmp_path / "results"
    builder.build_run(results, spec=spec(20), result=builder.backtest(20), number=1)
    builder.build_run(results, spec=spec(20), result=builder.backtest(20), number=2)
    builder.build_run(results, spec=spec(30), result=builder.backtest(30), number=3)
    builder.build_run(results, spec=spec(35), error=FAILURE, number=4)
    builder.build_run(results, spec=spec(20, "donchian"), result=builder.backtest(20), number=5)
    killed = builder.build_run(results, spec=spec(36), number=6, seal=False)
    run = builder.build_run(results, spec=spec(40), result=builder.backtest(40), number=7)
    builder.build_run(results, spec=spec(50), result=builder.backtest(50), number=8)
    builder.seal_open(killed, error=FAILURE)
    found = count_trials(run)
    assert (found.family, found.exact, found.ledger, found.without, found.unknown) == (6, 6, 7, 2, 0)
    assert len(found.sharpes) == 3
    page = build_page(run)
    assert page.deflated is not None
    assert page.deflated.n_trials == 6
    evidence = page.sharpe_evidence
    assert evidence is not None
    assert 0.0 < page.deflated.dsr < evidence.psr
    assert "one of 6 trials" in page.verdict()


@pytest.mark.slow
def test_repeats_of_one_configuration_are_no_choice(tmp_path: Path) -> None:
    """The same run made twice was not chosen from anything; alone it was not either."""
    results = tmp_path / "results"
    first = builder.build_run(results, spec=spec(20), result=builder.backtest(20), number=1)
    second = builder.build_run(results, spec=spec(20), result=builder.backtest(20), number=2)
    assert (count_trials(first).family, len(count_trials(first).sharpes)) == (1, 1)
    assert build_page(second).deflated is None
    assert "at most one result between them" in build_page(second).significance()
    assert "2 trials of the family ma_crossover on SPX, which have at most one result" in build_page(second).verdict()


@pytest.mark.slow
@pytest.mark.parametrize("allow_short", [False, True])
def test_the_backtest_is_rebuilt_from_its_files(tmp_path: Path, allow_short: bool) -> None:
    """Positions, and so exposure, turnover and fills by month, are those of the engine."""
    result, benchmark = builder.run_case(builder.case(allow_short=allow_short))
    run = builder.build_run(tmp_path / "results", spec=SPEC, result=(result, benchmark), number=1)
    rebuilt = build_page(run).result
    assert rebuilt is not None
    pd.testing.assert_frame_equal(
        monthly_activity(rebuilt), monthly_activity(result), check_index_type=False, check_freq=False, rtol=1e-9
    )
    assert (result.trades["side"] == "short").any() == allow_short


def test_sharpe_of_the_evidence_is_that_of_the_run(finished: Run) -> None:
    """The section judges the ratio that the run reports."""
    evidence = build_page(finished).sharpe_evidence
    assert evidence is not None
    assert evidence.sharpe_annual == pytest.approx(finished.stats["sharpe"], rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("bars", [1, 2, 5, 40, 90])
def test_short_records_render(tmp_path: Path, render: Any, bars: int) -> None:
    """From one bar on there is a page; what needs more is left out."""
    given = builder.case(2, 5)
    short = type(given)(given.engine, given.df.head(bars), given.signal_fn, given.params, "SPX")
    run = builder.build_run(tmp_path / "results", spec=SPEC, result=builder.run_case(short), number=1)
    render(run)
    assert "Can it be trusted?" in text_of(run)


def plain(run: Run, **known: Any) -> str:
    """Return the verdict of a page with some facts replaced."""
    return verdict(open_with(run, **{"intervals": None, **known}))


def test_what_forbids_trust_comes_first(finished: Run, copied: Run) -> None:
    """Ruin, a broken seal and a failed run are said before any number."""
    ruined = plain(finished, stats={"sharpe": -0.5, "bankrupt": 1})
    assert ruined.startswith("The account was ruined")
    copied.dir.trades_csv.write_text("edited")
    assert plain(copied).startswith("Files of this run differ from its seal")
    failed = Run(finished.dir)
    failed.__dict__["record"] = replace(finished.record, status="FAILED")
    assert verdict(build_page(failed)).startswith("This run failed, so its numbers may be those of a part of it.")


@pytest.mark.parametrize(
    ("stats", "said"),
    [
        ({"sharpe": None, "total_trades": 0, "open_trades": 0}, "closed no trade and held none at the end"),
        ({"sharpe": None, "total_trades": 1, "open_trades": 0}, "The Sharpe ratio is undefined for this run"),
        ({"sharpe": None}, "The Sharpe ratio is undefined for this run"),
        ({"sharpe": 0.5, "total_trades": 1}, "It rests on 1 closed trade."),
        ({"sharpe": 0.5, "total_trades": 29}, "It rests on 29 closed trades."),
    ],
)
def test_little_is_called_little(finished: Run, stats: dict[str, Any], said: str) -> None:
    """No trades, no spread and few trades are said, and nothing is claimed from them."""
    assert said in plain(finished, stats=stats)
    assert "rests on" not in plain(finished, stats={"sharpe": 0.5, "total_trades": 30})


@pytest.mark.slow
def test_no_length_is_claimed_without_a_ratio(tmp_path: Path, render: Any) -> None:
    """Where the Sharpe ratio is undefined, so are PSR and track record; the page does not say that none is enough."""
    given = builder.case()
    still = type(given)(given.engine, given.df.head(300), lambda df, params: pd.Series(0, index=df.index), {}, "SPX")
    run = builder.build_run(tmp_path / "results", spec=SPEC, result=builder.run_case(still))
    render(run)
    text = text_of(run)
    assert "no length is enough" not in text
    assert "Undefined: the returns are too few, or do not vary." in text
    assert "there is nothing to judge" in text
    assert "not distinguishable" not in text


def under(rate: float, per_year: float | None = None, fast: int = 20) -> tuple[BacktestResult, pd.Series]:
    """Trade the crossover with a risk-free rate and bars a year of its own."""
    given = builder.case(fast)
    engine = BacktestEngine(risk_free_rate=rate, periods_per_year=per_year)
    return builder.run_case(replace(given, engine=engine))


def test_one_rate_on_the_whole_page(tmp_path: Path) -> None:
    """Metrics, evidence, intervals and the benchmark's metrics take the same rate off, and say which it is."""
    result, held = under(0.04, 260.0)
    page = build_page(builder.build_run(tmp_path / "results", spec=SPEC, result=(result, held), number=1))
    found, evidence = page.benchmark, page.sharpe_evidence
    assert evidence is not None

    def sharpe(equity: pd.Series) -> float:
        values = equity.to_numpy()
        excess = values[1:] / values[:-1] - 1.04 ** (1 / 260)
        return float(excess.mean() / excess.std(ddof=1) * 260**0.5)

    assert found["sharpe"] == pytest.approx(sharpe(held), rel=1e-9)
    assert evidence.sharpe_annual == pytest.approx(sharpe(result.equity_curve), rel=1e-9)
    assert page.stats["sharpe"] == pytest.approx(evidence.sharpe_annual, rel=1e-9)
    for name, expected in (("sharpe", page.stats["sharpe"]), ("benchmark_sharpe", found["sharpe"])):
        interval = page.interval(name)
        assert interval is not None
        assert interval.estimate == pytest.approx(expected, rel=1e-9)
    said = page.metrics() + page.significance() + page.rolling() + page.by_year()
    assert said.count("risk-free rate 4.00% a year") == 5
    assert "risk-free rate 0" not in said
    assert "This run: given; the bars themselves tell 252." in said


def test_one_interval_of_the_sharpe_ratio_counts(copied: Run) -> None:
    """Head, verdict and table have the bootstrap's; the one by formula is in the details, which say why."""
    page = build_page(copied)
    assert page.sharpe_evidence is not None
    low, high = (format_number(bound, RATIO) for bound in page.sharpe_evidence.interval_annual)
    shown, details = page.bootstrap().split("<details>")
    assert f"{low} to {high}" in details
    assert "It takes returns for independent" in details
    assert f"{low} to {high}" not in page.header() + page.significance() + shown
    counts = page.interval("sharpe")
    assert counts is not None
    assert interval(counts) in page.header()
    assert interval(counts) in shown
    assert shown.count(" pp</td>") == 4
    assert shown.count(" pp to ") == 2


def test_a_run_that_recorded_no_rate_says_so(copied: Run) -> None:
    """Runs from before conventions were recorded have bars a year from their metrics, and a rate that is assumed."""
    copied.dir.conventions.unlink()
    page = build_page(Run(copied.dir))
    assert page.conventions == Conventions(None, None, 252.0)
    assert "risk-free rate 0, assumed as the run recorded none" in page.significance()
    assert "This run: it did not record where the number comes from." in page.metrics()
    assert page.sharpe_evidence is not None
    assert page.sharpe_evidence.sharpe_annual == pytest.approx(page.stats["sharpe"], rel=1e-9)


@pytest.mark.slow
def test_trials_are_deflated_at_one_rate(tmp_path: Path) -> None:
    """Ratios of earlier runs are taken to the rate of the run shown, and a rate alone makes no other result."""
    results = tmp_path / "results"
    rates = {"backtest": {"risk_free_rate": 0.04}}
    first = builder.build_run(results, spec=spec(20), result=under(0.0), number=1)
    builder.build_run(results, spec={**spec(20), **rates}, result=under(0.04), number=2)
    third = builder.build_run(results, spec=spec(50), result=under(0.0, fast=50), number=3)
    last = builder.build_run(results, spec={**spec(50), **rates}, result=under(0.04, fast=50), number=4)
    trials = count_trials(last)
    assert (trials.count, len(trials.sharpes)) == (4, 2)
    known = check_ledger(last.dir.ledger).trials.counted
    assert len({result.configuration for one in known for result in one.results}) == 2
    assert compare([Run(first.dir), last]).loc["risk_free_rate"].tolist() == [0.0, 0.04]
    assert "risk_free_rate" not in compare([last, last]).index
    expected = [under(0.04, fast=fast)[0].stats["sharpe"] / 252**0.5 for fast in (20, 50)]
    assert sorted(trials.sharpes) == pytest.approx(sorted(expected), rel=1e-9)
    without = [under(0.0, fast=fast)[0].stats["sharpe"] / 252**0.5 for fast in (20, 50)]
    assert sorted(count_trials(third).sharpes) == pytest.approx(sorted(without), rel=1e-9)
    shutil.rmtree(first.dir.path)
    assert count_trials(last) == replace(trials, there=3)
