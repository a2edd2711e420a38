"""The run as a notebook sees it: the strategy that the spec names, and the backtest of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import pipeline
from pipeline.artifacts import equity_table
from pipeline.backtest import BacktestEngine, Conventions, get_strategy, load_ohlcv
from pipeline.cli.output import print_run, print_runs
from pipeline.errors import ArtifactError, SigningWarning, SpecError, TrackingError, UsageError
from pipeline.files import read_json, write_json
from pipeline.notebook import inside
from pipeline.robustness import Subject, robustness
from pipeline.run import Run, all_runs
from pipeline.run_row import RunRow
from pipeline.rundir import RunDir, new_run_id
from pipeline.sealing import notebook_warnings
from pipeline.session import NotebookRun
from pipeline.settings import Settings
from pipeline.spec import RunSpec
from pipeline.tracking import NoopTracker
from pipeline.tracking.of_run import _description
from tests.currencies import BARS_A_YEAR, write_currencies
from tests.tiers import mostly_slow

CLOSE_TO_A_RULE = {"fast": 45, "slow": 50, "average": "sma", "allow_short": False}
SHORT: dict[str, Any] = {"data": {"source": "sample:sp500", "start": "2010-01-01", "end": "2012-12-31"}}
SMOOTHING = """
def signal(df, params):
    for name in ("open", "high", "low", "close"):
        df[name] = df["close"].ewm(span=50).mean()
    return (df["close"] > df["close"].shift(1)).astype(int)
"""


def opened(project: Settings, name: str, params: dict[str, object]) -> NotebookRun:
    values = {**SHORT, "strategy": {"name": name, "params": params}, "backtest": {}}
    return NotebookRun(RunDir(project.results, new_run_id()), RunSpec.from_mapping(values), project, NoopTracker())


@pytest.mark.parametrize("given", mostly_slow([True, False]), ids=["given to run.backtest", "named by the spec"])
def test_what_is_run_again_keeps_the_strategys_schema(project: Settings, given: bool) -> None:
    """The examination of a run knows the bounds and rules of its strategy: fast = 54 with slow = 50 is not run."""
    run = opened(project, "ma_crossover", CLOSE_TO_A_RULE)
    bars = run.load_data()
    result = run.backtest(bars, run.strategy_fn() if given else None)
    rows = robustness(Subject(result, run._cases[result])).to_dict()["sensitivity"]
    found = {(row["name"], row["value"]): row for row in rows if row["kind"] == "param"}
    assert found["fast", 47]["status"] == "ok"
    assert found["fast", 54]["status"] == "fast < slow does not hold: fast = 54, slow = 50"
    assert found["fast", 54]["sharpe"] is None
    assert given or result.config["strategy"] == "ma_crossover"


def test_a_strategy_does_not_change_the_notebooks_bars(project: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A strategy that writes into its frame neither changes the bars shown nor the prices it is traded at."""
    (Path(project.root) / "smoothing_rule.py").write_text(SMOOTHING)
    monkeypatch.delitem(sys.modules, "smoothing_rule", raising=False)
    run = opened(project, "smoothing_rule:signal", {})
    bars = run.load_data()
    untouched = bars.copy()
    run.strategy_fn()(bars, {})
    assert bars.equals(untouched)
    first = run.backtest(bars).fills.iloc[0]
    assert first["price"] == pytest.approx(untouched["open"].loc[first["timestamp"]] * 1.0001)


def test_a_result_of_another_account_is_refused(project: Settings) -> None:
    """The report says costs, cash, execution and params as the spec has them, so no other result is saved."""
    run = opened(project, "ma_crossover", CLOSE_TO_A_RULE)
    bars, engine = run.load_data(), BacktestEngine(initial_cash=5.0)
    params = {**CLOSE_TO_A_RULE, "fast": 5}
    fn = get_strategy("ma_crossover").signal_fn
    result = engine.run_realistic(df=bars, strategy_signal_fn=fn, strategy_params=params, symbol="OTHER")
    with pytest.raises(ArtifactError) as refused:
        run.save(result, robustness=False)
    for said in ("symbol = 'OTHER'", "initial_cash = 5.0", "fee_bps = 0.0", "slippage_bps = 0.0", "params = "):
        assert said in str(refused.value)
    assert not run.dir.stats.exists()


def with_conventions(project: Settings, data: dict[str, Any], **backtest: float) -> NotebookRun:
    values = {"data": data, "backtest": backtest, "strategy": {"params": {**CLOSE_TO_A_RULE, "fast": 2, "slow": 5}}}
    return NotebookRun(RunDir(project.results, new_run_id()), RunSpec.from_mapping(values), project, NoopTracker())


def test_the_whole_file_tells_bars_a_year(project: Settings) -> None:
    """Months cut from a file have the file's number, and so has a stretch of them; bars made of them have theirs."""
    run = with_conventions(project, write_currencies(project.root))
    bars = run.load_data()
    assert run.backtest(bars).stats["periods_per_year"] == BARS_A_YEAR
    assert run.backtest(bars.iloc[3:12]).stats["periods_per_year"] == BARS_A_YEAR
    weekdays = bars[bars.index.day_of_week < 5]
    assert run.backtest(weekdays).stats["periods_per_year"] == 252.0


def test_what_the_spec_gives_is_used_and_recorded(project: Settings) -> None:
    """Rate and bars a year of the spec make every figure, are recorded, and a number far from the bars is a warning."""
    run = with_conventions(project, {**write_currencies(project.root), "periods_per_year": 252}, risk_free_rate=0.04)
    result = run.backtest(run.load_data())
    returns = np.diff(result.equity_curve) / result.equity_curve.to_numpy()[:-1]
    excess = returns - (1.04 ** (1 / 252) - 1.0)
    assert result.stats["sharpe"] == pytest.approx(excess.mean() / excess.std(ddof=1) * np.sqrt(252), rel=1e-9)
    run.save(result)
    assert Run(run.dir).conventions == Conventions(0.04, 252.0, 313.0, time_labels="days")
    assert any("BARS A YEAR: 252 are given, 19% fewer" in text for text in notebook_warnings(run.dir))
    base = next(row for row in read_json(run.dir.robustness)["sensitivity"] if row["is_base"])
    assert base["sharpe"] == pytest.approx(result.stats["sharpe"], rel=1e-9)


def test_a_result_under_other_conventions_is_refused(project: Settings) -> None:
    """A rate or bars a year that the spec does not say: what the page says of the account would not be what was run."""
    section = write_currencies(project.root)
    silent, saying = (with_conventions(project, data) for data in (section, {**section, "periods_per_year": 313}))
    bars, rules = silent.load_data(), silent.spec.backtest
    costs = {"fee_bps": rules.fee_bps, "slippage_bps": rules.slippage_bps}

    def made(**conventions: float) -> Any:
        engine = BacktestEngine(**conventions)
        fn, params = silent.strategy_fn(), dict(silent.spec.strategy.params)
        return engine.run_realistic(df=bars, strategy_signal_fn=fn, strategy_params=params, symbol="EURUSD", **costs)

    with pytest.raises(ArtifactError, match=r"risk_free_rate = 0\.04, the spec says 0\.0"):
        silent.save(made(risk_free_rate=0.04))
    with pytest.raises(ArtifactError, match=r"periods_per_year = 260\.0, the spec says 313\.0"):
        saying.save(made(periods_per_year=260))
    silent.save(made(periods_per_year=260), robustness=False)
    assert Run(silent.dir).conventions.to_dict()["periods_per_year"]["source"] == "given"


def test_another_strategy_than_the_specs_is_a_warning(project: Settings) -> None:
    """A function of the notebook's own may be run; the evidence then says that the spec's strategy was not."""
    run = pipeline.start_run(**SHORT, strategy={"name": "ma_crossover"}, tracking={"mode": "off"}, settings=project)
    bars = run.load_data()

    def knows_tomorrow(df: pd.DataFrame, params: Mapping[str, Any]) -> pd.Series:
        return (df["close"].shift(-1) > df["close"]).astype(int)

    run.save(run.backtest(bars, knows_tomorrow))
    run.finish()
    other, ahead = (text for text in Run(run.dir).record.warnings if text.split(":")[0].isupper())
    assert other.startswith("ANOTHER STRATEGY: the notebook ran ")
    assert "knows_tomorrow, not ma_crossover" in other
    assert ahead.startswith("LOOKS AHEAD: ")


@pytest.mark.slow
def test_signals_made_in_another_cell_are_a_warning(project: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be judged is said by the record, `evidence show` and `evidence list`; always long is no warning."""
    found = {}
    for name in ("made before", "always long"):
        run = pipeline.start_run(**SHORT, name=name, tracking={"mode": "off"}, settings=project)
        bars = run.load_data()
        rises = bars["close"].shift(-1) > bars["close"]

        def made_before(df: pd.DataFrame, params: Mapping[str, Any], rises: pd.Series = rises) -> pd.Series:
            return rises.reindex(df.index).astype("int8")

        def always_long(df: pd.DataFrame, params: Mapping[str, Any]) -> pd.Series:
            return pd.Series(1, index=df.index)

        run.save(run.backtest(bars, made_before if name == "made before" else always_long))
        run.finish()
        found[name] = Run(run.dir)
        assert found[name].look_ahead == "unjudged"
        assert "look-ahead cannot be judged" in _description(run._opened, "FINISHED", None)  # what MLflow shows
    said = [text for text in found["made before"].record.warnings if text.startswith("LOOK-AHEAD CANNOT BE JUDGED: ")]
    assert len(said) == 1
    assert "its signals do not depend on the bars it is given" in said[0]
    assert not any(text.startswith("LOOK") for text in found["always long"].record.warnings)
    print_run(found["made before"], as_json=False)
    assert "look-ahead  cannot be judged" in capsys.readouterr().out
    print_runs([RunRow.of(found["made before"])], total=1, as_json=False)
    assert "cannot be judged" in capsys.readouterr().out
    print_runs([RunRow.of(found["made before"])], total=1, as_json=True)
    assert json.loads(capsys.readouterr().out)[0]["look_ahead"] == "unjudged"


@pytest.mark.slow
def test_the_specs_strategy_is_no_other(project: Settings) -> None:
    """The spec's own strategy saved after another one leaves no such warning."""
    run = opened(project, "ma_crossover", CLOSE_TO_A_RULE)
    bars = run.load_data()
    run.save(run.backtest(bars, lambda df, _: (df["close"] > df["open"]).astype(int)), robustness=False)
    assert len(list(notebook_warnings(run.dir))) == 1
    for given in (None, run.strategy_fn()):
        run.save(run.backtest(bars, given), robustness=False, replace=True)
        assert list(notebook_warnings(run.dir)) == []


def test_the_curves_drawdown_is_that_of_the_stats() -> None:
    """The initial cash is a peak in equity.csv as in max_drawdown, also when costs come off before the first close."""
    bars = load_ohlcv("sample:sp500", start="2008-01-01", end="2009-03-09")
    hold = get_strategy("buy_and_hold").signal_fn
    engine = BacktestEngine(use_execution_pipeline=False)
    result = engine.run_realistic(df=bars, strategy_signal_fn=hold, symbol="SPX", fee_bps=100, slippage_bps=50)
    assert result.equity_curve.iloc[0] < engine.initial_cash
    assert equity_table(result)["drawdown"].min() == result.stats["max_drawdown"]


def test_a_sealed_run_is_not_written_to(project: Settings) -> None:
    """A cell that saves, executed again after the seal with other results, is refused and leaves the evidence whole."""
    run = pipeline.start_run(**SHORT, tracking={"mode": "off"}, settings=project)
    bars = run.load_data()
    run.save(run.backtest(bars), robustness=False)
    run.finish()
    other = run.backtest(bars, lambda df, _: (df["close"] > df["open"]).astype(int))
    for again in (lambda: run.save(other, robustness=False), lambda: run.save_figure(Figure(), "x"), run.finish):
        with pytest.raises(UsageError, match="is sealed"):
            again()
    assert Run(run.dir).verify().ok


def started(project: Settings, **more: Any) -> NotebookRun:
    return pipeline.start_run(**{**SHORT, "tracking": {"mode": "off"}, **more}, settings=project)


def failed_with(run: NotebookRun, kind: str) -> str:
    """Return the message in the seal of a run that failed and verifies."""
    sealed = Run(run.dir)
    assert (sealed.status, sealed.verify().ok) == ("FAILED", True)
    assert sealed.record.error is not None
    assert sealed.record.error.kind == kind
    return str(sealed.record.error.message)


@pytest.mark.slow
def test_a_run_by_hand_that_cannot_be_finished_is_sealed_as_failed(project: Settings) -> None:
    """`finish` raises what is wrong, and the seal says it; what comes next is another run."""
    run = started(project)
    with pytest.raises(ArtifactError, match=r"without writing stats\.json"):
        run.finish()
    assert "without writing stats.json" in failed_with(run, "ArtifactError")
    with pytest.raises(UsageError, match="is sealed"):
        run.finish()
    run = started(project)
    run.save(run.backtest(run.load_data()), robustness=False)
    (run.dir.path / "latest").symlink_to("stats.json")
    with pytest.raises(ArtifactError, match=r"'latest' \(a symbolic link to 'stats\.json'\)"):
        run.finish()
    failed_with(run, "ArtifactError")


def test_a_run_by_hand_that_nobody_signs_says_so_at_once(project: Settings) -> None:
    """Where keys are named, and before anything is started: it is shown, not only recorded."""
    from pipeline.evidence.keys import signer_pem
    from pipeline.evidence.rotation import add_trusted_key
    from pipeline.evidence.trust import TRUST_FILE
    from tests.evidence.sealed_runs import new_signer

    add_trusted_key(project.root / TRUST_FILE, "alice", signer_pem(new_signer()))
    with pytest.warns(SigningWarning, match="No signing key was found"):
        run = pipeline.start_run(settings=project, tracking={"mode": "off"})
    with pytest.raises(ArtifactError):
        run.finish()
    assert any("No signing key was found" in text for text in Run(run.dir).record.warnings)


def test_an_exception_in_a_run_by_hand_is_sealed(project: Settings) -> None:
    """What leaves the block of a run ends the run as FAILED and goes on upwards; an interruption seals nothing."""
    with pytest.raises(KeyError, match="lost"), started(project) as run:
        raise KeyError("lost")
    assert failed_with(run, "UnexpectedError") == "KeyError: 'lost' (in the notebook)"
    with pytest.raises(KeyboardInterrupt), started(project) as run:
        raise KeyboardInterrupt
    assert not run.dir.manifest.exists()


def test_a_run_by_hand_that_cannot_be_tracked_is_sealed(project: Settings) -> None:
    """In mode `strict` a store that is away fails the run, which is evidence of that."""
    with pytest.raises(TrackingError):
        started(project, tracking={"mode": "strict", "uri": "http://127.0.0.1:9"})
    (run,) = all_runs(settings=project)
    assert (run.status, run.verify().ok) == ("FAILED", True)


def executed_by(project: Settings, monkeypatch: pytest.MonkeyPatch, **run: Any) -> RunDir:
    """Make this process look like the kernel of an orchestrated run; return the run's directory."""
    directory = RunDir.create(project.results, new_run_id())
    values = RunSpec.from_mapping({**SHORT, "run": run, "tracking": {"mode": "off"}}).to_dict()
    write_json(directory.config_json, values)
    monkeypatch.setenv(inside.RUN_ID, directory.run_id)
    return directory


def test_a_notebook_joins_the_run_that_executes_it(project: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the run_id it was given, or with none: a second run beside the one that is sealed would hold the results."""
    directory = executed_by(project, monkeypatch, seed=5)
    for run_id in (None, directory.run_id):
        for seed in (None, 5):
            run = pipeline.start_run(run_id, seed=seed, settings=project)
            assert type(run) is NotebookRun
            assert run.run_id == directory.run_id
    assert len(all_runs(settings=project)) == 1


def test_another_seed_than_the_specs_is_refused(project: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The seal would say one seed, the notebook use another."""
    executed_by(project, monkeypatch, seed=5)
    with pytest.raises(SpecError, match="passes seed = 99, the run spec says 5"):
        pipeline.start_run(seed=99, settings=project)
