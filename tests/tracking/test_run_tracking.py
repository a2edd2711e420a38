"""An orchestrated run: opened by its owner, journalled by the notebook, delivered, finished, synced, rebuilt."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest
from mlflow.entities import Dataset, DatasetInput, InputTag
from tracking_checks import assert_mlflow_equals_journal, nested_in, recorded

from pipeline.doctor import examine
from pipeline.errors import TrackingError
from pipeline.evidence.manifest import write_manifest
from pipeline.rundir import RunDir, new_run_id
from pipeline.settings import Settings
from pipeline.spec import RunSpec
from pipeline.tracking import (
    NoopTracker,
    RunTracking,
    TrackingWarning,
    current_info,
    kernel_tracker,
    open_tracking,
    pending,
    rebuild,
    sync_run,
    sync_runs,
)
from pipeline.tracking.datasets import file_dataset
from pipeline.tracking.outbox import Home
from pipeline.tracking.store import Store
from tests.tiers import mostly_slow

AWAY = "http://127.0.0.1:9"
Opener = Callable[..., tuple[RunDir, RunTracking]]


def notebook(run: RunDir) -> None:
    """What a notebook logs."""
    tracker = kernel_tracker(run)
    tracker.log_params({"notes": "x" * 7000})
    with pytest.warns(TrackingWarning, match="Undefined"):
        tracker.log_metrics({"sharpe": 1.25, "sortino": math.nan})
    for step in range(5):
        tracker.log_metrics({"loss": 1 / (step + 1)}, step=step)
    tracker.set_tags({"regime": "calm"})
    tracker.log_text("hello", "notes/hello.txt")
    (run.plots).mkdir()
    (run.plots / "mine.png").write_bytes(b"png")
    tracker.log_artifact(run.plots / "mine.png", "plots")


def seal(run: RunDir) -> list[Path]:
    """Stand in for the seal: a manifest with what `sync` reads of one, written whole or not at all."""
    (run.path / "stats.json").write_text('{"sharpe": 1.25}')
    names = run.sealed_paths()
    manifest = {
        "subject": [{"name": name} for name in names],
        "predicate": {
            "runDetails": {"metadata": {"finishedOn": "2026-01-02T03:04:05+00:00"}},
            "evidence_run": {"status": "FINISHED"},
        },
    }
    write_manifest(run, manifest)
    return [Path(name) for name in names]


def execute(run: RunDir, tracking: RunTracking, status: str = "FINISHED") -> None:
    """Do all that the runner does after opening."""
    tracking.environment()
    notebook(run)
    tracking.deliver()
    files = seal(run)
    tracking.finish(status, artifacts=files, tags={"evidence.manifest_sha256": "ab"}, description="**Sharpe 1.25**")
    run.report.parent.mkdir()
    run.report.write_text("<html></html>")
    tracking.attach_report(run.report.relative_to(run.path), {"evidence.report_sha256": "cd"})


def test_a_run_arrives_complete(open_run: Opener, sqlite_uri: str, tmp_path: Path) -> None:
    """Spec as params, stats, steps, tags, note, files, report, times: MLflow equals the journal."""
    run, tracking = open_run(sqlite_uri)
    execute(run, tracking)
    assert tracking.warnings == []
    assert (tracking.pending, pending(run)) == (0, 0)
    assert_mlflow_equals_journal(Home.of_run(run), Store(sqlite_uri), tmp_path / "read")
    found = recorded(Store(sqlite_uri), run.run_id, tmp_path / "again")
    assert found.params["strategy.params.fast"] == "10"
    assert found.params["data.start"] == "null"
    assert found.tags["mlflow.note.content"] == "**Sharpe 1.25**"
    assert found.tags["evidence.skipped_metrics"] == "sortino = nan"
    wanted = {"stats.json", "plots/mine.png", "notes/hello.txt", "params/notes.txt", "report/index.html"}
    assert wanted <= set(found.files)
    assert not [name for name in found.files if name.startswith("debug/tracking/")]
    assert (found.status, found.id) == ("FINISHED", tracking.info.mlflow_run_id)
    assert tracking.info.status == "tracked"
    assert tracking.info.artifact_uri.startswith("file://")


def test_the_sealed_directory_never_changes(open_run: Opener, sqlite_uri: str) -> None:
    """What is tracked after the seal is written outside of the run directory."""
    run, tracking = open_run(sqlite_uri)
    notebook(run)
    tracking.deliver()
    files = seal(run)
    before = {name: (run.path / name).read_bytes() for name in run.sealed_paths()}
    tracking.finish("FINISHED", artifacts=files, tags={"a": "b"}, description="d")
    tracking.deliver()
    assert {name: (run.path / name).read_bytes() for name in run.sealed_paths()} == before


@pytest.mark.parametrize("outbox", mostly_slow(["kept", "lost"]))
def test_a_run_without_a_store_is_delivered_later(
    open_run: Opener, sqlite_uri: str, settings: Settings, tmp_path: Path, outbox: str
) -> None:
    """The run goes on with no MLflow run; sync creates it with the original times, once."""
    run, tracking = open_run(AWAY)
    execute(run, tracking)
    assert tracking.info.mlflow_run_id is None
    assert tracking.info.status == "pending"
    assert "cannot be reached" in tracking.warnings[0]
    assert f"evidence sync {run.run_id}" in tracking.warnings[0]
    assert pending(run) > 10
    failed = sync_run(run, settings)
    assert "cannot be reached" in str(failed.error)
    if outbox == "lost":
        shutil.rmtree(Home.of_run(run).outbox)
    done = sync_run(run, settings, uri=sqlite_uri)
    assert (done.error, done.pending, pending(run)) == (None, 0, 0)
    assert_mlflow_equals_journal(Home.of_run(run), Store(sqlite_uri), tmp_path / "read")
    info = current_info(run)
    assert info is not None
    assert info.mlflow_run_id == done.mlflow_run_id
    again = sync_run(run, settings, uri=sqlite_uri)
    assert (again.delivered, again.mlflow_run_id) == (0, done.mlflow_run_id)


def test_strict_fails_at_the_first_failure(open_run: Opener) -> None:
    """--tracking strict: no store, no run."""
    with pytest.raises(TrackingError, match="cannot be reached"):
        open_run(AWAY, mode="strict")


def test_off_writes_nothing(open_run: Opener, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mode off: no journal, no outbox, a NoopTracker for the notebook."""
    run, tracking = open_run(AWAY, mode="off")
    for name, value in tracking.environment().items():
        monkeypatch.setenv(name, value)
    assert isinstance(kernel_tracker(run), NoopTracker)
    tracking.deliver()
    tracking.finish("FINISHED", artifacts=[], tags={})
    tracking.attach_report(Path("report/index.html"), {})
    assert (tracking.info.status, tracking.pending, tracking.warnings) == ("off", 0, [])
    assert list(run.path.iterdir()) == []
    assert not (settings.results / ".outbox").exists()


def test_the_environment_leads_to_the_run(open_run: Opener, sqlite_uri: str) -> None:
    """The kernel gets MLflow's own variables, and limits on how long MLflow may wait."""
    run, tracking = open_run(sqlite_uri)
    environment = tracking.environment()
    assert environment["MLFLOW_TRACKING_URI"] == sqlite_uri
    assert environment["MLFLOW_RUN_ID"] == tracking.info.mlflow_run_id
    assert environment["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "10"
    assert environment["EVIDENCE_TRACKING_JOURNAL"].endswith(f"{run.run_id}/debug/tracking.jsonl")


@pytest.mark.parametrize(
    "uri",
    mostly_slow(
        [
            "postgresql://me:hunter2@127.0.0.1:9/mlflow",
            "http://127.0.0.1:9/?access_token=hunter2",
            "http://hunter2@127.0.0.1:9",
        ]
    ),
)
def test_passwords_are_written_nowhere(settings: Settings, uri: str) -> None:
    """The journal is evidence and travels: a secret in MLFLOW_TRACKING_URI does not go into it, nor into a message."""
    settings = replace(settings, tracking_uri=uri)
    spec = RunSpec.from_mapping({})
    run = RunDir.create(settings.results, new_run_id())
    tracking = open_tracking(spec.tracking, run=run, spec=spec, settings=settings)
    execute(run, tracking)
    texts = [path.read_bytes() for path in settings.results.rglob("*") if path.is_file()]
    assert not [text for text in texts if b"hunter2" in text]
    assert "hunter2" not in str((tracking.warnings, tracking.info))
    without = sync_run(run, replace(settings, tracking_uri=None))
    assert "password is not kept" in str(without.error)
    assert "hunter2" not in str(sync_run(run, settings).error)
    told = next(finding for finding in examine(settings) if finding.name == "tracking store")
    assert "hunter2" not in str(told)


def test_an_owner_that_was_killed_is_ended_by_sync(
    open_run: Opener, sqlite_uri: str, settings: Settings, client: mlflow.MlflowClient, tmp_path: Path
) -> None:
    """No manifest, no owner: sync delivers what there is and ends the run as KILLED."""
    run, tracking = open_run(sqlite_uri)
    notebook(run)
    result = sync_run(run, settings)
    assert (result.error, result.pending) == (None, 0)
    assert client.get_run(tracking.info.mlflow_run_id).info.status == "KILLED"
    assert_mlflow_equals_journal(Home.of_run(run), Store(sqlite_uri), tmp_path / "read")


def test_a_rebuilt_store_is_equal(
    open_run: Opener, sqlite_uri: str, template_database: Path, settings: Settings, tmp_path: Path
) -> None:
    """--rebuild into an empty store: same params, metrics with steps and times, tags, artifacts, status, times."""
    runs = []
    for status in ("FINISHED", "FAILED"):
        run, tracking = open_run(sqlite_uri)
        execute(run, tracking, status)
        runs.append(run)
    shutil.copyfile(template_database, tmp_path / "new.db")
    new = f"sqlite:///{tmp_path / 'new.db'}"
    for _ in range(2):  # the second time nothing is doubled
        results = rebuild(settings, uri=new)
        assert {result.run_id for result in results} == {run.run_id for run in runs}
        assert [result.error for result in results] == [None, None]
        for run in runs:
            old = recorded(Store(sqlite_uri), run.run_id, tmp_path / "old")
            again = recorded(Store(new), run.run_id, tmp_path / "new")
            assert old.id != again.id
            assert (old.params, old.tags, old.files) == (again.params, again.tags, again.files)
            assert sorted(old.points) == sorted(again.points)
            assert (old.status, old.start, old.end) == (again.status, again.start, again.end)


@pytest.mark.parametrize("backend", mostly_slow(["sqlite", "file"]))
def test_what_raw_calls_logged_is_in_the_run_directory(
    open_run: Opener, sqlite_uri: str, template_database: Path, settings: Settings, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, backend: str,
) -> None:  # fmt: skip
    """What went to MLflow past the journal is read back before the seal, so that a rebuild has it too.

    It is not sent once more: a file store would then hold it twice.
    """
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = sqlite_uri if backend == "sqlite" else (tmp_path / "mlruns").as_uri()
    client = mlflow.MlflowClient(tracking_uri=uri)
    run, tracking = open_run(uri)
    run_id = tracking.environment()["MLFLOW_RUN_ID"]
    notebook(run)
    client.log_metric(run_id, "raw", 1.5, step=3)
    client.log_param(run_id, "raw_param", "v")
    client.set_tag(run_id, "raw_tag", "t")
    client.log_text(run_id, "raw", "raw/file.txt")
    tracking.deliver()
    tracking.finish("FINISHED", artifacts=seal(run))
    assert_mlflow_equals_journal(Home.of_run(run), Store(uri), tmp_path / "read")
    shutil.copyfile(template_database, tmp_path / "new.db")
    rebuild(settings, uri=f"sqlite:///{tmp_path / 'new.db'}")
    again = recorded(Store(f"sqlite:///{tmp_path / 'new.db'}"), run.run_id, tmp_path / "new")
    assert ("raw", 1.5) in [point[:2] for point in again.points]
    assert (again.params["raw_param"], again.tags["raw_tag"]) == ("v", "t")
    assert again.files["raw/file.txt"] == b"raw"


@pytest.mark.slow
def test_raw_calls_without_a_store_go_to_a_stand_in(
    open_run: Opener, sqlite_uri: str, settings: Settings, tmp_path: Path
) -> None:
    """With the store away, a notebook's raw MLflow calls are kept as well, and delivered by sync."""
    run, tracking = open_run(AWAY)
    environment = tracking.environment()
    assert environment["MLFLOW_TRACKING_URI"].startswith("file://")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        raw = mlflow.MlflowClient(tracking_uri=environment["MLFLOW_TRACKING_URI"])
        raw.log_metric(environment["MLFLOW_RUN_ID"], "raw", 1.5, step=3)
        raw.log_text(environment["MLFLOW_RUN_ID"], "raw", "raw/file.txt")
        parent = {"mlflow.parentRunId": environment["MLFLOW_RUN_ID"]}
        child = raw.create_run(environment["MLFLOW_EXPERIMENT_ID"], run_name="child", tags=parent).info.run_id
        raw.log_metric(child, "loss", 0.5, step=2)
        raw.log_text(child, "inner", "inner.txt")
        raw.set_terminated(child, "FAILED")
        raw.create_run(environment["MLFLOW_EXPERIMENT_ID"], run_name="unended", tags=parent)
        dataset = DatasetInput(Dataset("prices", "d1", "local", "prices.csv"), [InputTag("use", "training")])
        raw.log_inputs(environment["MLFLOW_RUN_ID"], [dataset])
        raw.create_logged_model(environment["MLFLOW_EXPERIMENT_ID"], name="classifier")
    notebook(run)
    tracking.deliver()
    tracking.finish("FINISHED", artifacts=seal(run))
    assert sync_run(run, settings, uri=sqlite_uri).error is None
    assert_mlflow_equals_journal(Home.of_run(run), Store(sqlite_uri), tmp_path / "read")
    found = recorded(Store(sqlite_uri), run.run_id, tmp_path / "new")
    assert ("raw", 1.5) in [point[:2] for point in found.points]
    assert found.files["raw/file.txt"] == b"raw"
    children = nested_in(Store(sqlite_uri), found.id, tmp_path / "children")
    assert {name: child.status for name, child in children.items()} == {"child": "FAILED", "unended": "KILLED"}
    assert [point[:2] for point in children["child"].points] == [("loss", 0.5)]
    assert children["child"].files == {"inner.txt": b"inner"}
    assert found.datasets == [("prices", "d1", "local", "prices.csv", None, None, ("use", "training"))]
    kept = Home.of_run(run).outbox / "stand_in"
    assert f"1 models (they stay in {kept}, a file store)" in tracking.warnings[-1], "the journal cannot hold models"
    assert len(list(kept.glob("*/models/m-*"))) == 1


def test_a_large_report_is_told(open_run: Opener, sqlite_uri: str) -> None:
    """MLflow's viewer has a limit; a report beyond it is attached with a word about it."""
    run, tracking = open_run(sqlite_uri)
    run.report.parent.mkdir()
    run.report.write_bytes(b"x" * 2_500_000)
    tracking.attach_report(run.report.relative_to(run.path))
    assert "2.5 MB" in tracking.warnings[0]


def test_a_deleted_run_is_not_silently_lost(
    open_run: Opener, sqlite_uri: str, client: mlflow.MlflowClient, settings: Settings
) -> None:
    """Someone deleted the MLflow run: the rest stays pending and the message says what to do."""
    run, tracking = open_run(sqlite_uri)
    client.delete_run(tracking.info.mlflow_run_id)
    notebook(run)
    assert tracking.deliver() is False
    assert "mlflow runs restore" in tracking.warnings[0]
    assert pending(run) > 5
    client.restore_run(tracking.info.mlflow_run_id)
    assert sync_runs(settings)[0].error is None
    assert pending(run) == 0


def test_a_file_that_cannot_be_stored_keeps_nothing_else_back(
    open_run: Opener, sqlite_uri: str, client: mlflow.MlflowClient
) -> None:
    """It stays pending and is told; all other files and the end of the run arrive."""
    run, tracking = open_run(sqlite_uri)
    tracker = kernel_tracker(run)
    for name in ("notes", "notes/inside.txt", "other.txt"):  # `notes` cannot be a file and a directory
        tracker.log_text(name, name)
    tracking.finish("FINISHED", artifacts=seal(run))
    assert "failed to log an artifact" in tracking.warnings[0]
    assert pending(run) > 0
    found = client.get_run(tracking.info.mlflow_run_id)
    assert found.info.status == "FINISHED"
    names = {file.path for file in client.list_artifacts(found.info.run_id)}
    assert {"notes", "other.txt", "stats.json"} <= names


def test_sync_makes_no_store_where_a_project_was_moved_from(
    open_run: Opener, template_database: Path, tmp_path: Path, settings: Settings
) -> None:
    """The store a run was meant for is not made anew in a directory that is gone; the message says what to name."""
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    shutil.copyfile(template_database, old / "mlflow.db")
    run, _ = open_run(f"sqlite:///{old / 'mlflow.db'}")
    notebook(run)
    old.rename(new)
    result = sync_run(run, settings)
    assert "whose directory is not there" in str(result.error)
    assert not old.exists()
    assert sync_run(run, settings, uri=f"sqlite:///{new / 'mlflow.db'}").error is None


@pytest.mark.slow
def test_the_data_of_a_run_is_its_input(settings: Settings, sqlite_uri: str, client: mlflow.MlflowClient) -> None:
    """Data and benchmark are MLflow datasets that can be searched by digest, from the start and after a rebuild."""
    spec = RunSpec.from_mapping({"tracking": {"uri": sqlite_uri}})
    run = RunDir.create(settings.results, new_run_id())
    given = [
        file_dataset("data/bars.csv", "a1" * 32, context="data"),
        file_dataset(f"deep/{'x' * 600}.csv", "b2" * 32, context="benchmark"),
    ]
    tracking = open_tracking(spec.tracking, run=run, spec=spec, settings=settings, datasets=given)
    tracking.finish("FINISHED", artifacts=seal(run))
    assert tracking.warnings == []
    experiment = str(tracking.info.experiment_id)
    for digest, context in (("a1" * 18, "data"), ("b2" * 18, "benchmark")):
        (found,) = client.search_runs([experiment], f"dataset.digest = '{digest}' AND dataset.context = '{context}'")
        assert found.info.run_id == tracking.info.mlflow_run_id
    source = {item.dataset.digest: item.dataset for item in found.inputs.dataset_inputs}["a1" * 18]
    assert (source.name, json.loads(source.profile)) == ("data/bars.csv", {"sha256": "a1" * 32})
    assert mlflow.data.get_source(source).uri == "data/bars.csv"
    assert_mlflow_equals_journal(Home.of_run(run), Store(sqlite_uri), settings.root / "read")
