"""What a sweep says about its best trial: each number held against the function or the hand that computes it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.backtest.conventions import per_period_rate
from pipeline.backtest.overfitting import effective_trials, probability_of_overfitting
from pipeline.backtest.significance import deflated_sharpe_ratio, moments
from pipeline.backtest.strategies import get_strategy
from pipeline.report.trials import Trials
from pipeline.rundir import new_run_id
from pipeline.sweep.artifacts import param_importances
from pipeline.sweep.judge import sweep_statistics
from pipeline.sweep.ranking import front, rank
from pipeline.sweep.space import SearchSpace
from pipeline.sweep.spec import Dimension, SweepSection
from pipeline.sweep.statistics import SweepStatistics
from pipeline.sweep.study import Proposer
from pipeline.sweep.trial import Trial
from tests.sweep.sweeps import spec

ANNUAL = np.sqrt(252.0)
SPACE = {"n": Dimension(low=0, high=100)}


def made(numbers: dict[int, tuple[float, ...]], **facts: Any) -> list[Trial]:
    stats = {"periods_per_year": 252.0}
    return [Trial(n, new_run_id(), {"n": n}, "COMPLETE", values, stats, **facts) for n, values in numbers.items()]


def judged(
    trials: list[Trial], returns: pd.DataFrame, ledger: int = 0, risk_free_rate: float = 0.0, **validation: int
) -> SweepStatistics:
    wanted = spec(validation={"blocks": 8, "walk_forward_windows": 3, "folds": 5, **validation})
    facts: dict[str, Any] = {"dimensions": SPACE, "importances": {"n": 1.0}}
    count = ledger or len(trials)
    rate = per_period_rate(risk_free_rate, 252.0)
    ratios = (moments(returns[n].to_numpy() - rate).sharpe for n in returns)
    different = dict.fromkeys(float(ratio) for ratio in ratios if ratio is not None)
    counted = Trials(count, count, count, sharpes=tuple(different))
    return sweep_statistics(wanted, trials, returns, counted=counted, risk_free_rate=risk_free_rate, **facts)


def test_importance_is_that_of_being_among_the_best() -> None:
    """`up` decides which trials are best, `down` which are worst: by hand, in a space where both are known."""
    space = SearchSpace(
        get_strategy("ma_crossover"),
        {name: Dimension(low=0.0, high=1.0) for name in ("up", "down")},
        fixed={},
        rules=(),
    )
    for metric, decides in (("sharpe", "up"), ("annual_volatility", "down")):
        section = SweepSection(sampler="random", objectives=[metric])
        proposer = Proposer(section, space)
        generator = np.random.default_rng(0)
        told = []
        for number in range(300):
            params = {name: float(generator.uniform()) for name in ("up", "down")}
            value = float(params["up"] > 0.9) - float(params["down"] > 0.9) + 0.01 * generator.normal()
            told.append(Trial(number, new_run_id(), params, "COMPLETE", (value,)))
            proposer.study.add_trial(proposer.frozen(told[-1]))
        found = param_importances(proposer.study, told, metric)
        assert found[decides] > 0.8


def sample(trials: int = 12, rows: int = 600) -> tuple[list[Trial], pd.DataFrame]:
    values = np.random.default_rng(5).normal(0.0004, 0.01, (rows, trials))
    index = pd.date_range("2015-01-01", periods=rows, tz="UTC")
    ratios = values.mean(axis=0) / values.std(axis=0, ddof=1) * ANNUAL
    done = made({number: (float(ratio),) for number, ratio in enumerate(ratios)})
    return done, pd.DataFrame(values, index=index)


def test_one_ratio_among_many_trials_is_not_deflated_at_all() -> None:
    """One trial that was completed is not one independent trial: of eleven counted, ten have an unknown ratio."""
    trials, returns = sample(trials=1)
    found = judged(trials, returns, ledger=11)
    assert found.deflation is not None
    assert (found.deflation.dsr, found.deflation.dsr_effective) == (None, None)
    assert any("was not deflated" in note for note in found.notes)
    alone = judged(trials, returns, ledger=1).deflation
    assert alone is not None
    assert alone.dsr == alone.dsr_effective == alone.psr


def test_the_numbers_are_those_of_the_library() -> None:
    """Deflation, overfitting and the effective number are what pipeline.backtest says of the same returns."""
    trials, returns = sample()
    found = judged(trials, returns, ledger=40)
    best = int(returns.mean().div(returns.std()).to_numpy().argmax())
    own = moments(returns[best].to_numpy())
    variance = float(np.var([moments(returns[n].to_numpy()).sharpe for n in returns], ddof=1))
    assert found.best == best
    assert found.deflation is not None
    assert found.deflation.n == 40
    expected = deflated_sharpe_ratio(
        own.sharpe, own.n, n_trials=40.0, trials_variance=variance, skewness=own.skewness, kurtosis=own.kurtosis
    )
    assert found.deflation.dsr == pytest.approx(expected, rel=1e-12)
    assert found.deflation.effective == effective_trials(returns.to_numpy())
    assert found.overfitting is not None
    assert found.overfitting.pbo == probability_of_overfitting(returns.to_numpy(), n_blocks=8).pbo
    assert found.walk_forward is not None
    assert len(found.walk_forward.windows) == 3
    assert found.walk_forward.windows[-1].end == "2016-08-22T00:00:00Z"
    assert found.cross_validation is not None
    assert len(found.cross_validation.paths) == 4


def test_trials_that_nothing_tells_apart_have_no_probability_of_overfitting() -> None:
    """Identical trials, and such as never traded, were not chosen among: not applicable, and not 100 %."""
    trials, returns = sample(trials=4)
    for same in (returns * 0.0, pd.DataFrame(dict.fromkeys(returns, returns[0]))):
        found = judged(trials, same)
        assert found.overfitting is None
        assert any("probability of overfitting is not applicable" in note for note in found.notes)
    unlike = judged(trials, returns).overfitting
    assert unlike is not None
    assert unlike.blind == 0.5
    three = judged(*sample(trials=3)).overfitting
    assert three is not None
    assert three.blind == pytest.approx(2 / 3)


def test_statistics_of_an_earlier_version_are_read() -> None:
    """What a sweep did not record is unknown."""
    values = judged(*sample()).to_dict()
    del values["overfitting"]["blind"]
    found = SweepStatistics.from_dict(values).overfitting
    assert found is not None
    assert found.blind is None


def test_a_risk_free_rate_is_taken_off_every_ratio() -> None:
    """With a rate all ratios are those of the returns in excess of it; what the account earned stays what it was."""
    trials, returns = sample()
    rate = 1.04 ** (1 / 252) - 1.0
    found, excess, plain = (
        judged(trials, returns, risk_free_rate=0.04),
        judged(trials, returns - rate),
        judged(trials, returns),
    )
    for one in (found, excess, plain):
        assert None not in {one.deflation, one.overfitting, one.walk_forward, one.cross_validation}
    for name in ("sharpe", "expected_max", "dsr", "psr"):
        value = getattr(found.deflation, name)
        assert value == pytest.approx(getattr(excess.deflation, name), rel=1e-9)
        assert name == "expected_max" or value != pytest.approx(getattr(plain.deflation, name), rel=1e-3)
    assert found.cross_validation.paths == pytest.approx(excess.cross_validation.paths, rel=1e-9)
    assert found.overfitting.pbo == excess.overfitting.pbo
    assert found.overfitting.in_sample == pytest.approx(excess.overfitting.in_sample, rel=1e-9)
    assert found.walk_forward.out_of_sample == pytest.approx(excess.walk_forward.out_of_sample, rel=1e-9)
    choices = [window.trial for window in found.walk_forward.windows]
    parts = np.array_split(returns.to_numpy()[-450:], 3)
    earned = np.concatenate([part[:, trial] for part, trial in zip(parts, choices, strict=True)])
    assert found.walk_forward.equity[-1] == pytest.approx(np.prod(1.0 + earned), rel=1e-9)


def test_idle_trials_are_ranked_under_a_rate_too() -> None:
    """A trial that does nothing in a half has a ratio of 0 there, whatever the rate: the others can still be judged."""
    _, returns = sample()
    values = returns.to_numpy().copy()
    values[:, 0] = 0.0
    assert probability_of_overfitting(values, n_blocks=8, rate=1e-4).pbo is not None


def test_a_configuration_tried_often_is_compared_once() -> None:
    """Copies of a trial, executed again or not, change what compares trials in nothing; they count in N."""
    trials, returns = sample()
    copies = [replace(trials[3], number=100 + n, run_id=new_run_id(), reused=3 if n % 2 else None) for n in range(38)]
    many = returns.assign(**{str(copy.number): returns[3] for copy in copies}).rename(columns=int)
    alone, often = judged(trials, returns, ledger=50), judged([*trials, *copies], many, ledger=50)
    assert often.counts == replace(alone.counts, trials=50, complete=50, reused=19)
    for part in ("deflation", "overfitting", "walk_forward", "cross_validation", "plateau", "best", "front"):
        assert getattr(often, part) == getattr(alone, part), part
    assert len([note for note in often.notes if "configuration" in note]) == 2
    assert alone.notes == ()


def test_trials_that_change_nothing_are_one_configuration() -> None:
    """Params that no return depends on make no further column, so equal trials alone deflate nothing."""
    trials, returns = sample(trials=1)
    same = [replace(trials[0], number=n, run_id=new_run_id(), params={"n": n}) for n in range(5)]
    found = judged(same, pd.DataFrame(dict.fromkeys(range(5), returns[0])))
    assert found.counts.configurations == 1
    assert found.deflation is not None
    assert (found.deflation.n, found.deflation.dsr, found.deflation.effective) == (5, None, 1.0)
    assert found.overfitting is None
    assert "the Sharpe ratio was not deflated: that needs the spread of at least two different ratios" in found.notes


def test_failed_and_pruned_trials_count() -> None:
    """N is every trial that ran; the ledger's count wins when it knows of more, never when of fewer."""
    trials, returns = sample()
    lost = [Trial(20, new_run_id(), {"n": 20}, "FAIL", error="x"), Trial(21, new_run_id(), {"n": 21}, "PRUNED")]
    found = judged([*trials, *lost], returns, ledger=3)
    assert (found.counts.trials, found.counts.complete, found.counts.failed, found.counts.pruned) == (14, 12, 1, 1)
    assert found.counts.ledger == 14
    more = judged(trials, returns, ledger=500)
    assert more.deflation is not None
    assert found.deflation is not None
    assert more.deflation.dsr < found.deflation.dsr


def test_one_trial_is_not_deflated() -> None:
    """With a single trial nothing was chosen: DSR is PSR, and what needs several trials is left out and said."""
    trials, returns = sample(trials=1)
    found = judged(trials, returns)
    assert found.deflation is not None
    assert found.deflation.dsr == found.deflation.psr
    assert found.overfitting is None
    assert any("no probability of overfitting" in note for note in found.notes)
    assert found.plateau is None


def test_statistics_survive_json() -> None:
    """What is sealed as JSON reads back to equal statistics."""
    trials, returns = sample()
    found = judged(trials, returns)
    assert SweepStatistics.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False))) == found


def test_ranking_and_front() -> None:
    """Equals keep their order; the front holds what no other trial beats in all objectives, whichever way they go."""
    trials = made({0: (1.0, -0.2), 1: (2.0, -0.5), 2: (2.0, -0.4), 3: (0.5, -0.1), 4: (0.4, -0.3)})
    assert rank(trials, "sharpe") == [1, 2, 0, 3, 4]
    assert front(trials, ["sharpe", "max_drawdown"]) == (0, 2, 3)
    assert rank(trials, "turnover") == [4, 3, 0, 1, 2]
    assert front(trials, ["sharpe", "turnover"]) == (1,)


@pytest.mark.parametrize(("around", "share"), [(0.95, 1.0), (0.2, 0.0)])
def test_a_plateau_is_told_from_a_peak(around: float, share: float) -> None:
    """The nearest trials in the space say whether the best one stands alone; far ones say nothing."""
    values = dict.fromkeys(range(46, 55), around) | dict.fromkeys(range(90, 100), 0.9) | {50: 1.0}
    trials = made({number: (value,) for number, value in values.items()})
    returns = pd.DataFrame(
        np.random.default_rng(1).normal(0, 0.01, (100, len(trials))),
        index=pd.date_range("2020-01-01", periods=100, tz="UTC"),
        columns=list(values),
    )
    found = judged(trials, returns).plateau
    assert found is not None
    assert sorted(found.neighbours) == [46, 47, 48, 49, 51, 52, 53, 54]
    assert found.radius == pytest.approx(0.04)
    assert found.median == around
    assert found.share == share
