"""The whole loop on real market data: one run, looked at from every side."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import pytest

import pipeline
from pipeline.digest import exact_json, sha256_file
from pipeline.kernels import fork_available
from pipeline.run import Run
from pipeline.settings import Settings
from pipeline.spec import json_values

REPOSITORY = Path(__file__).resolve().parent.parent
RAW_MLFLOW = """
import mlflow
mlflow.log_metric("raw_metric", 0.25)
mlflow.log_param("raw_param", "x")
"""

pytestmark = pytest.mark.usefixtures("in_project")


def evidence(project: Settings, *arguments: str, check: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the command line in the project; the exit code must be `check`."""
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", *arguments]
    environment = {**os.environ, "_MLFLOW_TELEMETRY_SESSION_ID": "of a parent that imported MLflow"}
    done = subprocess.run(
        command, cwd=project.root, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == check, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, template_database: Path) -> Settings:
    """A project of its own with an empty tracking store, its notebook extended by raw MLflow calls."""
    root = tmp_path_factory.mktemp("loop") / "project"
    for folder in ("notebooks", "reports", "config"):
        shutil.copytree(REPOSITORY / folder, root / folder)
    path = root / "notebooks" / "backtest.ipynb"
    notebook = json.loads(path.read_bytes())
    cell = {
        "cell_type": "code",
        "id": "raw",
        "metadata": {},
        "outputs": [],
        "execution_count": None,
        "source": RAW_MLFLOW,
    }
    notebook["cells"].insert(-1, cell)
    path.write_text(json.dumps(notebook))
    shutil.copyfile(template_database, root / "mlflow.db")
    return Settings(root, root / "results")


@pytest.fixture
def in_project(project: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EVIDENCE_ROOT", "EVIDENCE_RESULTS", "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(project.root)


@pytest.fixture(scope="module")
def finished(project: Settings) -> Run:
    """The demo run, made once through the command line."""
    done = evidence(project, "run", "--config", "config/demo.toml", "-p", "fast=40", "--json")
    facts = json.loads(done.stdout)
    assert facts["status"] == "FINISHED"
    return pipeline.load_run(facts["run_id"], settings=project)


def test_the_run_directory_has_the_contracts_files(finished: Run) -> None:
    """Every name of the contract is there, and nothing half-written."""
    names = {path.relative_to(finished.dir.path).as_posix() for path in finished.dir.path.rglob("*") if path.is_file()}
    assert names >= {
        "config_snapshot.toml",
        "config_snapshot.json",
        "notebook.ipynb",
        "stats.json",
        "equity.csv",
        "trades.parquet",
        "trades.csv",
        "plots/equity_curve.png",
        "reports/trades_summary.json",
        "reports/backtest_report.txt",
        "tracking.json",
        "manifest.json",
        "report/index.html",
    }
    assert not [name for name in names if "partial" in name]


def test_the_config_is_kept_twice(finished: Run, project: Settings) -> None:
    """The bytes as given, and parsed with defaults and overrides resolved."""
    assert finished.dir.config_toml.read_bytes() == (project.root / "config" / "demo.toml").read_bytes()
    assert finished.config["strategy"]["params"] == {"fast": 40, "slow": 200, "average": "sma", "allow_short": False}
    assert finished.dir.config_json.read_bytes() == exact_json(finished.config)
    assert finished.record.overrides == {"strategy.params.fast": 40}


def test_dates_given_as_overrides_are_kept_as_text(project: Settings) -> None:
    """TOML dates have no JSON form: in the manifest they are ISO text."""
    assert json_values({"data.start": dt.date(2001, 2, 3), "x.y": [{"z": dt.date(2001, 2, 4)}]}) == {
        "data.start": "2001-02-03",
        "x.y": [{"z": "2001-02-04"}],
    }


def test_the_manifest_is_an_in_toto_statement(finished: Run, project: Settings) -> None:
    """Subjects are all files; dependencies are data, notebook, modules, locks and packages, by digest."""
    manifest = finished.manifest
    assert manifest is not None
    assert manifest["_type"] == "https://in-toto.io/Statement/v1"
    assert manifest["predicateType"] == "https://slsa.dev/provenance/v1"
    record = finished.record
    assert record.notebook is not None
    assert record.notebook.sha256 == sha256_file(project.root / "notebooks" / "backtest.ipynb")
    assert record.data is not None
    assert record.data.uri == "sample:sp500"
    assert {"pipeline.session", "pipeline.backtest.engine", "pipeline.backtest.signals"} <= set(record.modules)
    assert "papermill" in record.packages
    assert record.seed == 7
    assert record.status == "FINISHED"
    assert finished.verify().ok


def test_the_executed_notebook_shows_its_parameters_and_no_path_of_this_machine(
    finished: Run, project: Settings
) -> None:
    """The injected cell holds what the spec said; metadata names no directory."""
    notebook = finished.notebook
    assert notebook is not None
    injected = next(cell for cell in notebook.cells if "injected-parameters" in cell.metadata.get("tags", []))
    assert f'run_id = "{finished.run_id}"' in injected.source
    assert '"fast": 40' in injected.source
    assert str(project.root) not in json.dumps(notebook.metadata)


def test_the_curve_starts_from_the_initial_cash_and_the_identity_holds(finished: Run) -> None:
    """Final equity is the initial cash plus the sum of net trade P&L, read back from the files."""
    cash = finished.config["backtest"]["initial_cash"]
    assert finished.equity["equity"].iloc[-1] == pytest.approx(cash + finished.trades["net_pnl"].sum(), rel=1e-12)
    assert (finished.equity["drawdown"] <= 0).all()
    assert str(finished.equity.index.tz) == "UTC"
    assert len(finished.equity) == 5031
    csv = pd.read_csv(finished.dir.trades_csv)
    assert csv["net_pnl"].tolist() == pytest.approx(finished.trades["net_pnl"].tolist(), rel=1e-15), "to the last digit"


def test_the_mlflow_run_holds_everything(finished: Run, project: Settings) -> None:
    """Tags, flattened params, finite metrics, files and report; raw mlflow calls land in the same run, not a second."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(project.default_tracking_uri)
    experiment = client.get_experiment_by_name("demo")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 1
    run = runs[0]
    assert finished.tracking is not None
    assert run.info.run_id == finished.tracking.mlflow_run_id
    assert run.info.status == "FINISHED"
    tags = run.data.tags
    assert tags["evidence.run_id"] == finished.run_id
    assert tags["evidence.manifest_sha256"] == finished.manifest_digest
    assert tags["evidence.report_sha256"] == sha256_file(finished.dir.report)
    assert tags["strategy"] == "ma_crossover"
    assert tags["symbol"] == "SPX"
    assert tags["purpose"] == "demo"
    assert run.data.params["strategy.params.fast"] == "40"
    assert run.data.params["raw_param"] == "x"
    assert run.data.metrics["raw_metric"] == 0.25
    finite = {name: value for name, value in finished.stats.items() if value is not None}
    assert {name: run.data.metrics[name] for name in finite} == finite
    folder = Path(client.download_artifacts(run.info.run_id, ""))
    assert sha256_file(folder / "report" / "index.html") == sha256_file(finished.dir.report)
    assert sha256_file(folder / "manifest.json") == finished.manifest_digest


def test_the_report_is_tied_to_the_run(finished: Run) -> None:
    """The report names the run, the digest of its manifest and the tracked run, and needs no network."""
    html = finished.dir.report.read_text()
    assert finished.run_id in html
    assert str(finished.manifest_digest) in html
    assert finished.tracking is not None
    assert finished.tracking.mlflow_run_id in html


@pytest.mark.skipif(not fork_available(), reason="kernels cannot be forked here")
def test_the_kernel_was_forked(finished: Run) -> None:
    """The server that `evidence run` starts serves its notebook: nothing made it fall back to a fresh kernel."""
    assert not [warning for warning in finished.record.warnings if "kernel" in warning]


def test_verify_names_one_flipped_byte(finished: Run, project: Settings) -> None:
    """`evidence verify` exits with 3 and names the file; put back, it exits with 0."""
    before = finished.dir.equity.read_bytes()
    flipped = bytearray(before)
    flipped[len(before) // 2] ^= 1
    finished.dir.equity.write_bytes(bytes(flipped))
    try:
        done = evidence(project, "verify", finished.run_id, check=3)
        assert "equity.csv: edited" in done.stdout
    finally:
        finished.dir.equity.write_bytes(before)
    assert "ok" in evidence(project, "verify", "--all").stdout


@pytest.mark.slow
def test_verify_compares_the_view_in_mlflow(finished: Run, project: Settings) -> None:
    """With --mlflow, a tag or an artifact that was changed in MLflow is named; what is as sealed is not."""
    from mlflow.tracking import MlflowClient

    evidence(project, "verify", finished.run_id, "--mlflow")
    assert finished.tracking is not None
    mlflow_run_id = finished.tracking.mlflow_run_id
    client = MlflowClient(project.default_tracking_uri)
    artifact = Path(urlsplit(client.get_run(mlflow_run_id).info.artifact_uri).path) / "stats.json"
    before = artifact.read_bytes()
    client.set_tag(mlflow_run_id, "evidence.manifest_sha256", "0" * 64)
    artifact.write_bytes(before.replace(b"sharpe", b"sharqe"))
    try:
        done = evidence(project, "verify", finished.run_id, "--mlflow", check=3)
        assert "mlflow: tag evidence.manifest_sha256: edited" in done.stdout
        assert "mlflow: stats.json: edited" in done.stdout
    finally:
        client.set_tag(mlflow_run_id, "evidence.manifest_sha256", str(finished.manifest_digest))
        artifact.write_bytes(before)


@pytest.mark.slow
def test_a_report_that_changed_is_attached_again(finished: Run, project: Settings) -> None:
    """Rendered with another template, the report in MLflow is the new one; rendered as before, the old one again."""
    source = project.root / "reports" / "backtest_report.qmd"
    before = source.read_text()
    source.write_text(before + "\nOne more sentence.\n")
    try:
        evidence(project, "render", finished.run_id)
        assert "One more sentence." in finished.dir.report.read_text()
        evidence(project, "verify", finished.run_id, "--mlflow")
    finally:
        source.write_text(before)
    evidence(project, "render", "--all")
    assert "One more sentence." not in finished.dir.report.read_text()
    evidence(project, "verify", finished.run_id, "--mlflow")


@pytest.mark.slow
def test_the_commands_show_the_run(finished: Run, project: Settings) -> None:
    """list and show print it for people and as JSON; render makes the same bytes again."""
    assert finished.run_id in evidence(project, "list").stdout
    listed = json.loads(evidence(project, "list", "--json").stdout)
    assert [run["run_id"] for run in listed] == [finished.run_id]
    printed = evidence(project, "show", finished.run_id[:8]).stdout
    assert "sharpe" in printed
    assert "252 (inferred)" in printed
    shown = json.loads(evidence(project, "show", "last", "--json").stdout)
    assert shown["manifest_sha256"] == finished.manifest_digest
    assert shown["conventions"]["risk_free_rate"] == {"value": 0.0, "source": "default"}
    assert {artifact["path"] for artifact in shown["artifacts"]} >= {"stats.json", "equity.csv"}
    before = sha256_file(finished.dir.report)
    evidence(project, "render", "--last")
    assert sha256_file(finished.dir.report) == before
    assert finished.verify().ok


@pytest.mark.slow
def test_a_run_is_used_again(finished: Run, project: Settings) -> None:
    """--reuse returns the run made from the same inputs, and refuses a spec as a run would."""
    words = ("run", "--config", "config/demo.toml", "--reuse", "--why", "--json")
    done = evidence(project, *words, "-p", "fast=40")
    assert json.loads(done.stdout)["run_id"] == finished.run_id
    done = evidence(project, *words, "-p", "fast=41", "-p", "run.notebook=absent.ipynb", check=2)
    assert "absent.ipynb" in done.stderr


@pytest.mark.slow
def test_the_same_spec_gives_the_same_artifacts(finished: Run, project: Settings) -> None:
    """Two runs of one spec differ in their ids and times, not in one byte of their results."""
    done = evidence(
        project, "run", "--config", "config/demo.toml", "-p", "fast=40", "-p", "data.end=2018-12-31",
        "--json", "--no-report", "--tracking", "off",
    )  # fmt: skip
    again = pipeline.load_run(json.loads(done.stdout)["run_id"], settings=project)
    digests = {artifact.path: artifact.sha256 for artifact in again.artifacts}
    same = ("stats.json", "equity.csv", "trades.csv", "trades.parquet", "plots/equity_curve.png", "plots/signals.png")
    for artifact in finished.artifacts:
        if artifact.path in same:
            assert digests[artifact.path] == artifact.sha256, artifact.path
    shutil.rmtree(again.dir.path)


@pytest.mark.slow
def test_the_notebook_works_by_hand(finished: Run, project: Settings) -> None:
    """Executed by plain nbclient from its own folder, as JupyterLab would: its own run, sealed by its last cell."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(REPOSITORY / "notebooks" / "backtest.ipynb", as_version=4)
    NotebookClient(notebook, resources={"metadata": {"path": str(project.root / "notebooks")}}, timeout=120).execute()
    run = pipeline.load_run("last", settings=project)
    assert run.run_id != finished.run_id
    assert run.record.origin == "interactive"
    assert run.status == "FINISHED"
    assert run.verify().ok
    assert run.notebook is None
    evidence(project, "render", run.run_id)
    assert run.run_id in run.dir.report.read_text()
    shutil.rmtree(run.dir.path)


@pytest.mark.slow
def test_a_notebook_may_not_run_what_the_spec_does_not_say(finished: Run, project: Settings) -> None:
    """A notebook that passes other costs than the spec is refused: the manifest would not be true."""
    path = project.root / "notebooks" / "cheat.ipynb"
    notebook = json.loads((REPOSITORY / "notebooks" / "backtest.ipynb").read_bytes())
    start = next(cell for cell in notebook["cells"] if "pipeline.start_run" in "".join(cell["source"]))
    start["source"] = ["backtest = {**backtest, 'fee_bps': 0.0}\n", *start["source"]]
    path.write_text(json.dumps(notebook))
    done = evidence(
        project, "run", "--config", "config/demo.toml", "-p", "run.notebook=notebooks/cheat.ipynb",
        "--tracking", "off", "--no-report", check=1,
    )  # fmt: skip
    assert "the run spec says" in done.stderr
    shutil.rmtree(pipeline.load_run("last", settings=project).dir.path)


HAND = """
import os, pipeline, mlflow
before = dict(os.environ)
run = pipeline.start_run(data={"source": "sample:sp500", "start": "2015-01-01"},
                         strategy={"name": "ma_crossover", "params": {"fast": 5, "slow": 20}})
mlflow.log_metric("by_hand", 0.5)
result = run.backtest(run.load_data())
run.save(result, robustness=False)
run.finish()
assert {k: v for k, v in os.environ.items() if "MLFLOW" in k or "EVIDENCE" in k} == {
    k: v for k, v in before.items() if "MLFLOW" in k or "EVIDENCE" in k}
print(run.run_id)
"""


AGAIN = """
import pipeline
from pathlib import Path
settings = {"data": {"source": "sample:sp500", "start": "2015-01-01"}, "tracking": {"mode": "off"}}
for window in (5, 20):
    Path("mine.py").write_text(f"def signal(df, params): return (df.close > df.close.rolling({window}).mean()) * 1")
    run = pipeline.start_run(strategy={"name": "mine:signal"}, **settings)
    run.save(run.backtest(run.load_data()), robustness=False)
    run.finish()
    print(run.run_id)
"""


@pytest.mark.slow
def test_a_kernel_by_hand_names_the_source_it_holds(project: Settings) -> None:
    """A strategy edited after it was imported, without a new kernel, still is the old one: the seal says so."""
    done = subprocess.run([sys.executable, "-c", AGAIN], cwd=project.root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, second = (pipeline.load_run(run_id, settings=project) for run_id in done.stdout.split())
    assert first.stats == second.stats
    assert first.record.modules["mine"] == second.record.modules["mine"] != sha256_file(project.root / "mine.py")
    told = [[text for text in run.record.warnings if "Edited since" in text] for run in (first, second)]
    assert told[0] == []
    assert "this kernel imported them: mine. The run used the earlier source." in told[1][0]
    (project.root / "mine.py").unlink()
    shutil.rmtree(first.dir.path)
    shutil.rmtree(second.dir.path)


@pytest.mark.slow
def test_raw_mlflow_calls_by_hand_land_in_the_run(finished: Run, project: Settings) -> None:
    """By hand too, plain `mlflow.log_metric` lands in this run; afterwards the environment is as it was."""
    from mlflow.tracking import MlflowClient

    done = subprocess.run([sys.executable, "-c", HAND], cwd=project.root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    run = pipeline.load_run(done.stdout.split()[-1], settings=project)
    assert run.tracking is not None
    tracked = MlflowClient(project.default_tracking_uri).get_run(run.tracking.mlflow_run_id)
    assert tracked.data.metrics["by_hand"] == 0.5
    assert tracked.data.tags["evidence.manifest_sha256"] == run.manifest_digest
    shutil.rmtree(run.dir.path)
