"""Compare a sealed run with its view in MLflow: the digests in its tags, and the bytes of its artifacts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.digest import sha256_file
from pipeline.errors import TrackingError
from pipeline.evidence.problem import Problem
from pipeline.rundir import RunDir
from pipeline.settings import Settings
from pipeline.tracking.outbox import Home
from pipeline.tracking.store import MANIFEST_TAG, REPORT_TAG, RejectedError, Store
from pipeline.tracking.sync import current_info, pending, store_uri

VIEW = "mlflow"


def check_tracked(run: RunDir, settings: Settings) -> tuple[list[Problem], list[str]]:
    """Return problems and notes about the tracked run of a sealed run; a store that is away is a note.

    Everything is compared with the files of the run directory, which must have been verified before: the run
    directory is the truth, MLflow a view of it.
    """
    info = current_info(run)
    if info is None or info.mlflow_run_id is None:
        return [], ["the run is not in MLflow, so there is nothing there to compare"]
    if waiting := pending(run):
        return [], [f"{waiting} entries are still to be delivered to MLflow (`evidence sync {run.run_id}`)"]
    try:
        store = Store(store_uri(Home.of_run(run), settings, None))
        store.connect()
        return list(_problems(run, store, info.mlflow_run_id)), []
    except RejectedError as error:
        return [Problem(VIEW, "missing", str(error))], []
    except TrackingError as error:
        return [], [f"MLflow was not compared: {error}"]


def _problems(run: RunDir, store: Store, mlflow_run_id: str) -> Iterator[Problem]:
    tags = store.get_run(mlflow_run_id).data.tags
    expected = {MANIFEST_TAG: run.manifest, REPORT_TAG: run.report}
    for name, path in expected.items():
        if path.is_file() and tags.get(name) != sha256_file(path):
            kind = "edited" if name in tags else "missing"
            yield Problem(f"{VIEW}: tag {name}", kind, f"it does not hold the SHA-256 of {path.name}")
    there = {path for path, _ in store.artifacts(mlflow_run_id)}
    with tempfile.TemporaryDirectory(prefix="evidence-mlflow-") as directory:
        for name in (*run.sealed_paths(), run.manifest.name):
            if name not in there:
                yield Problem(f"{VIEW}: {name}", "missing", "the tracked run does not have this artifact")
            elif sha256_file(store.download(mlflow_run_id, name, Path(directory))) != sha256_file(run.path / name):
                yield Problem(f"{VIEW}: {name}", "edited", "the artifact in MLflow is not the sealed file")
