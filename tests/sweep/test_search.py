"""The search: the same trials wherever they are executed, counted once, resumed where it stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.backtest import Conventions
from pipeline.errors import UsageError
from pipeline.evidence.ledger import TRIAL_COUNTED
from pipeline.evidence.ledger_check import check_ledger, trial_count
from pipeline.run import Run, load_run
from pipeline.rundir import RunDir, run_ids
from pipeline.running import read_state
from pipeline.settings import Settings
from pipeline.sweep.evaluate import BEST_ORIGIN
from pipeline.sweep.executor import open_executor
from pipeline.sweep.opening import find_interrupted
from pipeline.sweep.stored import Sweep, load_sweep
from tests.currencies import BARS_A_YEAR, write_currencies
from tests.sweep.sweeps import facts, search, spec, stop_after


def test_a_grid_is_searched_whole_and_sealed(project: Settings) -> None:
    """Every point is a trial, the best is the best, the directory is sealed, and the ledger knows the count."""
    outcome = search(project, spec())
    assert outcome.finished
    assert outcome.run.verify().ok
    sweep = Sweep(outcome.run)
    assert [trial.params for trial in sweep.trials] == [
        {"fast": fast, "slow": slow} for fast in (5, 10, 20) for slow in (15, 30, 60) if fast < slow
    ]
    assert sweep.trials == outcome.trials
    best = max(sweep.trials, key=lambda trial: trial.values[0])
    assert sweep.statistics is not None
    assert sweep.statistics.best == best.number
    assert sweep.statistics.counts.ledger == 8
    assert trial_count(outcome.run.dir.ledger, "ma_crossover", outcome.run.record.data.sha256) == 8
    assert list(sweep.returns.columns) == [trial.number for trial in sweep.trials]


def test_a_trial_is_the_backtest_of_its_params(project: Settings) -> None:
    """A fast trial's metrics and returns are exactly those of the engine called by hand."""
    from pipeline.backtest import BacktestEngine, get_strategy, load_ohlcv
    from pipeline.backtest.metrics import simple_returns

    outcome = search(project, spec(backtest={"fee_bps": 3.0, "slippage_bps": 2.0, "stop_pct": 5.0}))
    trial = outcome.trials[4]
    result = BacktestEngine(stop_pct=5.0).run_realistic(
        df=load_ohlcv("sample:sp500", start="2014-01-01"),
        strategy_signal_fn=get_strategy("ma_crossover").signal_fn,
        strategy_params=trial.params,
        symbol="SPX",
        fee_bps=3.0,
        slippage_bps=2.0,
    )
    assert trial.stats == result.stats
    expected = simple_returns(result.equity_curve, 100_000.0)
    assert (Sweep(outcome.run).returns[trial.number].to_numpy() == expected).all()


def test_all_trials_have_the_conventions_of_the_spec(project: Settings) -> None:
    """Bars a year of the whole file and the spec's rate are in every trial, in the statistics, and in the record."""
    wanted = spec(data=write_currencies(project.root), backtest={"risk_free_rate": 0.04})
    outcome = search(project, wanted)
    assert outcome.run.conventions == Conventions(0.04, None, BARS_A_YEAR, time_labels="days")
    rate = 1.04 ** (1 / BARS_A_YEAR) - 1.0
    for trial in outcome.trials:
        excess = Sweep(outcome.run).returns[trial.number].to_numpy() - rate
        assert trial.values[0] == pytest.approx(excess.mean() / excess.std(ddof=1) * BARS_A_YEAR**0.5, rel=1e-9)
    assert outcome.statistics is not None
    best = outcome.trials[outcome.statistics.best]
    assert outcome.statistics.deflation.sharpe == pytest.approx(best.values[0], rel=1e-9)
    given = spec(data={**write_currencies(project.root), "periods_per_year": 252})
    doubted = search(project, given)
    assert any("BARS A YEAR: 252 are given, 19% fewer" in text for text in doubted.warnings)


@pytest.mark.slow
def test_workers_have_the_conventions_of_the_spec(project: Settings) -> None:
    """Other processes read the same number from the same file, and a whole run of the best trial has it as well."""
    data = write_currencies(project.root)
    wanted = spec(data=data, backtest={"risk_free_rate": 0.04}, sweep={"best": 1})
    alone = search(project, spec(data=data, backtest={"risk_free_rate": 0.04}))
    with open_executor("local", 2) as pool:
        shared = search(project, wanted, pool)
    assert facts(alone.trials) == facts(shared.trials)
    (best,) = shared.best_runs
    run = Run(RunDir(project.results, best))
    assert run.conventions == shared.run.conventions
    assert run.stats["sharpe"] == pytest.approx(shared.trials[shared.statistics.best].values[0], rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"sampler": "tpe", "trials": 25},
        {"sampler": "random", "trials": 25, "pruner": "median"},
        {"sampler": "nsga2", "trials": 20, "objectives": ["sharpe", "max_drawdown"]},
    ],
    ids=["tpe", "random with median pruner", "nsga2"],
)
def test_the_number_of_workers_changes_nothing(project: Settings, changes: dict[str, object]) -> None:
    """The same spec gives the same trials in this process and in two others."""
    wanted = spec(sweep=changes, space={"fast": {"low": 2, "high": 40}, "slow": {"low": 20, "high": 120}})
    alone = search(project, wanted)
    with open_executor("local", 2) as pool:
        shared = search(project, wanted, pool)
    assert facts(alone.trials) == facts(shared.trials)
    assert alone.statistics is not None
    assert len(alone.trials) == changes["trials"]


@pytest.mark.slow
def test_a_stopped_search_goes_on_where_it_stopped(project: Settings) -> None:
    """A search stopped in the middle of a batch and asked for again ends as one that was never stopped."""
    wanted = spec(sweep={"sampler": "tpe", "trials": 25}, space={"fast": {"low": 2, "high": 40}, "slow": [50, 90]})
    whole = search(project, wanted)
    stop, hooks = stop_after(13)
    stopped = search(project, wanted, stop=stop, hooks=hooks, overrides={"sweep.trials": 25})
    assert not stopped.finished
    assert stopped.run.status == "KILLED"
    resumed = search(project, wanted, overrides={"sweep.trials": 25})
    assert resumed.run.record.overrides == {"sweep.trials": 25}
    assert resumed.resumed
    assert resumed.run.run_id == stopped.run.run_id
    assert facts(resumed.trials) == facts(whole.trials)
    assert resumed.run.verify().ok
    assert "The sweep was interrupted and resumed." in resumed.run.record.warnings
    counted = trial_count(resumed.run.dir.ledger, "ma_crossover", resumed.run.record.data.sha256)
    assert counted == 50


def test_only_the_very_same_sweep_is_resumed(project: Settings) -> None:
    """Another spec, and the wish for a new one, start anew."""
    stop, hooks = stop_after(2)
    stopped = search(project, spec(sweep={"batch": 4}), stop=stop, hooks=hooks)
    assert find_interrupted(spec(sweep={"batch": 4, "seed": 1}), project) is None
    assert find_interrupted(spec(sweep={"batch": 4}), project) == stopped.run.dir
    anew = search(project, spec(sweep={"batch": 4}), resume=False)
    assert anew.run.run_id != stopped.run.run_id


def test_a_strategy_that_raises_fails_its_trial_only(project: Settings) -> None:
    """An error of the strategy, and a metric without a value, make a failed trial that says why; all others go on."""
    (project.root / "mine.py").write_text(
        "import pandas as pd\n"
        "def fn(df, params):\n"
        "    if params['n'] == 2: raise ZeroDivisionError('two')\n"
        "    if params['n'] == 3: return pd.Series(0, index=df.index)\n"
        "    return (df['close'] > df['close'].rolling(int(params['n'])).mean()).astype(int)\n"
    )
    outcome = search(project, spec(strategy={"name": "mine:fn"}, space={"n": [1, 2, 3, 5, 8]}))
    assert [trial.state for trial in outcome.trials] == ["FAIL", "FAIL", "FAIL", "COMPLETE", "COMPLETE"]
    assert outcome.trials[1].error == "ZeroDivisionError: two"
    assert outcome.trials[2].error == "undefined: sharpe"
    assert outcome.statistics is not None
    assert outcome.statistics.counts.failed == 3
    assert outcome.statistics.counts.ledger == 5


def test_a_sweep_without_one_good_trial_is_sealed_and_says_so(project: Settings) -> None:
    """All trials failing is a result too."""
    (project.root / "broken.py").write_text("def fn(df, params): raise RuntimeError('never')\n")
    outcome = search(project, spec(strategy={"name": "broken:fn"}, space={"n": [1, 2]}))
    assert outcome.finished
    assert outcome.run.verify().ok
    assert outcome.statistics is not None
    assert outcome.statistics.best is None
    assert outcome.statistics.notes == ("no trial was completed: there is nothing to judge",)


@pytest.mark.slow
def test_a_worker_that_dies_or_hangs_costs_its_trial_only(project: Settings) -> None:
    """A segmentation fault is tried again, then marked; an endless trial is ended; no other trial is touched."""
    (project.root / "wild.py").write_text(
        "import ctypes, time\n"
        "def fn(df, params):\n"
        "    if params['n'] == 7: ctypes.string_at(0)\n"
        "    if params['n'] == 9: time.sleep(600)\n"
        "    return (df['close'] > df['close'].rolling(int(params['n'])).mean()).astype(int)\n"
    )
    wanted = spec(
        strategy={"name": "wild:fn"}, space={"n": [5, 6, 7, 8, 9, 10]}, sweep={"trial_timeout": 2.0, "retries": 1}
    )
    with open_executor("local", 2) as pool:
        outcome = search(project, wanted, pool)
    states = {trial.params["n"]: (trial.state, trial.error) for trial in outcome.trials}
    assert states[7] == ("FAIL", "its worker died (tried 2 times)")
    assert states[9] == ("FAIL", "TimeoutError: it took longer than 2 s")
    assert all(states[n][0] == "COMPLETE" for n in (5, 6, 8, 10))
    assert [trial.number for trial in outcome.trials] == list(range(6))


@pytest.mark.slow
def test_the_best_become_whole_runs(project: Settings) -> None:
    """The best trials are executed as notebooks under their own run_id, agree with the fast backtest, count once."""
    outcome = search(project, spec(sweep={"best": 1}))
    (run_id,) = outcome.best_runs
    best = next(trial for trial in outcome.trials if trial.run_id == run_id)
    run = Run(RunDir(project.results, run_id))
    assert run.status == "FINISHED"
    assert run.verify().ok
    assert run.stats["sharpe"] == pytest.approx(best.stats["sharpe"], abs=1e-12)
    assert run.config["run"]["tags"]["evidence.sweep"] == outcome.run.run_id
    assert run.config["run"]["name"] == f"small, trial {best.number}"
    assert not [text for text in outcome.warnings if "Trial" in text]
    assert trial_count(run.dir.ledger, "ma_crossover", run.record.data.sha256) == 8


@pytest.mark.slow
def test_the_page_of_a_best_run_counts_the_trials_of_its_sweep(project: Settings) -> None:
    """A chosen trial's run is deflated by all trials of its sweep, each counted once; a later run counts them too."""
    from pipeline.report.trials import count_trials
    from pipeline.runner import run_backtest
    from pipeline.spec import RunSpec

    outcome = search(project, spec(sweep={"best": 2}))
    best = Run(RunDir(project.results, outcome.best_runs[0]))
    found = count_trials(best)
    assert (found.family, found.ledger, len(found.sharpes), found.without, found.unknown) == (8, 8, 8, 0, 0)
    quiet = {"tracking": {"mode": "off"}, "report": {"enabled": False}}
    later = RunSpec.from_mapping({**quiet, "data": {"start": "2014-01-01"}, "run": {"robustness": False}})
    assert count_trials(run_backtest(later, settings=project, signing_key=lambda: None).run).count == 9


@pytest.mark.slow
def test_what_the_commands_say_of_trials(project: Settings) -> None:
    """A fast trial has no run_id but that of the run it became; as a table they are written whole; none is replayed."""
    from typer.testing import CliRunner

    from pipeline.cli.app import app

    sweep = search(project, spec(sweep={"best": 1})).run
    best = json.loads(CliRunner().invoke(app, ["study", "best", "--json"]).stdout)
    assert [trial["run_id"] for trial in best] == [best[0]["trial_id"], *[None] * (len(best) - 1)]
    assert load_run(best[0]["run_id"], settings=project).status == "FINISHED"
    for name in ("t.csv", "t.json", "t.parquet"):
        done = CliRunner().invoke(app, ["study", "export", "-o", f"made/{name}", "--json"])
        assert json.loads(done.stdout) == {"sweep": sweep.run_id, "trials": 8, "output": f"made/{name}"}
        assert (project.root / "made" / name).stat().st_size > 500
    for name in ("t.xlsx", "t"):
        assert isinstance(CliRunner().invoke(app, ["study", "export", "-o", name]).exception, UsageError)
    failed = CliRunner().invoke(app, ["replay", sweep.run_id]).exception
    assert isinstance(failed, UsageError)
    assert "is a sweep" in str(failed)
    assert f"`evidence replay {best[0]['run_id']}`" in str(failed)


@pytest.mark.slow
def test_a_sweep_is_rendered_like_a_run(project: Settings) -> None:
    """`evidence sweep` leaves a report with its statement; `evidence render` makes it again, and knows when not to."""
    from typer.testing import CliRunner

    from pipeline.cli.app import app

    (project.root / "s.toml").write_bytes(spec(report={"enabled": False}).to_toml())
    done = CliRunner().invoke(app, ["sweep", "-c", "s.toml", "--executor", "inline", "--report", "--json"])
    assert done.exit_code == 0, done.output
    made = json.loads(done.stdout)
    assert made["error"] is None
    assert Path(made["report"]).is_file()
    assert load_sweep(settings=project).run.verify().ok
    assert json.loads(CliRunner().invoke(app, ["render", "--stale", "--json"]).stdout) == []
    Path(made["report"]).write_text("edited")
    again = json.loads(CliRunner().invoke(app, ["render", "--stale", "--json"]).stdout)
    assert [item["run_id"] for item in again] == [made["sweep"]]
    assert load_sweep(settings=project).run.verify().ok


SCRIPT = """
import sys
from pathlib import Path
from pipeline.settings import Settings
from pipeline.sweep.executor import open_executor
from pipeline.sweep.sweep import run_sweep
from tests.sweep.sweeps import spec
wanted = spec(sweep={"batch": 4, **eval(sys.argv[1])}, space={"fast": [5, 8, 10, 15, 20], "slow": [30, 45, 60, 90]})
if __name__ == "__main__":
    with open_executor("local", 2) as pool:
        run_sweep(wanted, settings=Settings.load(), executor=pool, signing_key=lambda: None)
"""


def start(project: Settings, section: dict[str, object]) -> subprocess.Popen[bytes]:
    """Start a sweep in a process of its own."""
    script = project.root / "sweep_script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        [sys.executable, str(script), repr(section)], cwd=project.root, env=environment, start_new_session=True
    )


def ended_trials(project: Settings) -> int:
    """Return how many trials of sweeps in progress have ended."""
    files = (project.results / ".running").glob("*/batches/*.jsonl")
    return sum(path.read_bytes().count(b"\n") for path in files)


@pytest.mark.slow
@pytest.mark.parametrize("after", [1, 4, 5, 11, 17])
def test_a_sweep_killed_at_any_moment_is_resumed(project: Settings, after: int) -> None:
    """After kill -9 the same sweep goes on: no trial is lost, none counted twice, and the result is the same."""
    wanted = spec(sweep={"batch": 4}, space={"fast": [5, 8, 10, 15, 20], "slow": [30, 45, 60, 90]})
    process = start(project, {})
    while process.poll() is None and ended_trials(project) < after:
        time.sleep(0.001)
    process.kill()
    process.wait()
    resumed = search(project, wanted)
    elsewhere = Settings(project.root, project.root / "other")
    assert facts(resumed.trials) == facts(search(elsewhere, wanted).trials)
    digest = resumed.run.record.data.sha256
    assert trial_count(resumed.run.dir.ledger, "ma_crossover", digest) in (20, 40)  # 40: it had ended already
    assert check_ledger(resumed.run.dir.ledger).ok
    counted = [e.event for e in check_ledger(resumed.run.dir.ledger).entries if e.event.kind == TRIAL_COUNTED]
    batches = {(event.run_id, event.details["batch"]) for event in counted}
    assert len(batches) == 5 * len({event.run_id for event in counted})


@pytest.mark.slow
def test_full_trials_survive_a_kill(project: Settings) -> None:
    """In full mode a run that was sealed before the kill is taken over, and one that was cut off stays as KILLED."""
    section = {"mode": "full", "trials": 6, "batch": 6}
    process = start(project, section)
    while process.poll() is None and ended_trials(project) < 2:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(1)  # what its workers were writing
    before = {path.parent.name for path in project.results.glob("*/manifest.json")}
    wanted = spec(sweep={"batch": 4, **section}, space={"fast": [5, 8, 10, 15, 20], "slow": [30, 45, 60, 90]})
    with open_executor("local", 2) as pool:
        resumed = search(project, wanted, pool)
    assert resumed.resumed
    ids = {trial.run_id for trial in resumed.trials}
    assert len(ids) == 6
    assert before - {resumed.run.run_id} <= ids
    for run_id in ids:
        run = Run(RunDir(project.results, run_id))
        assert run.status == "FINISHED"
        assert run.verify().ok
    assert trial_count(resumed.run.dir.ledger, "ma_crossover", resumed.run.record.data.sha256) == 6


@pytest.mark.slow
def test_a_best_run_that_was_cut_off_is_made_anew(project: Settings) -> None:
    """A sweep killed while a best trial was being executed makes it again when resumed; the first try stays KILLED."""
    process = start(project, {"best": 2})
    while process.poll() is None and not begun_runs(project):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)  # its workers too
    process.wait()
    cut_off = begun_runs(project)
    assert cut_off
    sealed = {path.parent.name for path in project.results.glob("*/manifest.json")}
    wanted = spec(sweep={"batch": 4, "best": 2}, space={"fast": [5, 8, 10, 15, 20], "slow": [30, 45, 60, 90]})
    resumed = search(project, wanted)
    assert resumed.resumed
    assert len(resumed.best_runs) == 2
    assert not [warning for warning in resumed.warnings if "whole run" in warning]
    ranking = resumed.statistics.ranking if resumed.statistics else ()
    by_number = {trial.number: trial.run_id for trial in Sweep(resumed.run).trials}
    assert [by_number[number] for number in ranking[:2]] == list(resumed.best_runs)
    for run_id in resumed.best_runs:
        assert Run(RunDir(project.results, run_id)).verify().ok
    for run_id in cut_off - sealed:
        assert Run(RunDir(project.results, run_id)).status == "KILLED"
        assert run_id not in resumed.best_runs
    assert trial_count(resumed.run.dir.ledger, "ma_crossover", resumed.run.record.data.sha256) == 20


def begun_runs(project: Settings) -> set[str]:
    """Return the runs of best trials that were begun."""
    states = {run_id: read_state(RunDir(project.results, run_id)) for run_id in run_ids(project.results)}
    return {run_id for run_id, state in states.items() if state is not None and state.origin.startswith(BEST_ORIGIN)}


def test_plain_optuna_reads_the_study(project: Settings) -> None:
    """The study is an ordinary one: `optuna.load_study` finds all trials, values, params and run ids."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    outcome = search(project, spec(sweep={"pruner": "median", "sampler": "random", "trials": 20}))
    storage = JournalStorage(JournalFileBackend(str(outcome.run.dir.study_journal)))
    (name,) = [summary.study_name for summary in optuna.get_all_study_summaries(storage)]
    study = optuna.load_study(study_name=name, storage=storage)
    assert [trial.params for trial in study.trials] == [trial.params for trial in outcome.trials]
    assert [trial.state.name for trial in study.trials] == [trial.state for trial in outcome.trials]
    assert [trial.user_attrs["run_id"] for trial in study.trials] == [trial.run_id for trial in outcome.trials]
    assert study.best_trial.number == outcome.statistics.best
    assert study.metric_names == ["sharpe"]
    assert outcome.run.verify().ok
    assert len(load_sweep(settings=project).study().trials) == 20


@pytest.mark.slow
def test_a_shared_storage_keeps_the_study_once(project: Settings, tmp_path: Path) -> None:
    """With a storage URL the study is there under the sweep's name, and resuming adds no trial twice."""
    import optuna

    url = f"sqlite:///{tmp_path / 'studies.db'}"
    wanted = spec(sweep={"storage": url, "batch": 3, "name": "shared"})
    stop, hooks = stop_after(4)
    search(project, wanted, stop=stop, hooks=hooks)
    outcome = search(project, wanted)
    study = optuna.load_study(study_name="shared", storage=url)
    assert [trial.user_attrs["run_id"] for trial in study.trials] == [trial.run_id for trial in outcome.trials]


@pytest.mark.slow
def test_trials_are_children_of_the_sweep_in_mlflow(project: Settings) -> None:
    """The sweep is a tracked run with what it searched and found; the runs of its trials are nested under it."""
    from mlflow import MlflowClient

    outcome = search(project, spec(sweep={"best": 1}, tracking={"mode": "warn"}))
    client = MlflowClient(f"sqlite:///{project.root / 'mlflow.db'}")
    parent = client.get_run(outcome.run.tracking.mlflow_run_id)
    assert parent.data.metrics["trials"] == 8
    assert parent.data.params["sweep.sampler"] == "grid"
    assert json.loads(parent.data.params["space.fast.values"]) == [5, 10, 20]
    children = client.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert [child.data.tags["evidence.run_id"] for child in children] == list(outcome.best_runs)
