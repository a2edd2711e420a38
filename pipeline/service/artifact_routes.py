"""Artifacts and models of MLflow's runs over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import File, Form, Query, UploadFile
from starlette.responses import Response

from pipeline.service.mlflow_store import MlflowStore
from pipeline.service.mlflow_words import (
    ArtifactEntry,
    ArtifactLogged,
    MlflowRunId,
    Model,
    ModelVersion,
    NewModelVersion,
)
from pipeline.service.problems import Refusal
from pipeline.service.routes import Route
from pipeline.service.transfers import BYTES, PassingFile, Transfers, checked_path
from pipeline.service.words import Name

MOST_ENTRIES = 10_000
MODEL_FILE = "MLmodel"
ArtifactPath = Annotated[str, Query(min_length=1, max_length=1_000, description="path of an artifact, below the run's")]
Below = Annotated[str | None, Query(min_length=1, max_length=1_000, description="list what is below this directory")]
Upload = Annotated[UploadFile, File(description="the artifact, under its own name")]
Folder = Annotated[str | None, Form(max_length=1_000, description="the directory it is kept in, below the run's")]


class ArtifactRoutes:
    """The routes about artifacts and models, each with the run's id in the path, and without."""

    def __init__(self, mlflow: MlflowStore, transfers: Transfers, *, max_upload: int) -> None:
        self._mlflow, self._transfers, self._max_upload = mlflow, transfers, max_upload

    def table(self) -> list[Route]:
        """Return the routes."""
        upload = {"max_body_size": self._max_upload, "form_limits": {"max_files": 1, "max_fields": 2}}
        file: dict[str, Any] = {"response_class": Response, "responses": {200: {"content": {BYTES: {}}}}}
        return [
            Route("POST", "/runs/{run_id}/log-artifact", self.log_artifact_of, "write", options=upload),
            Route("GET", "/runs/{run_id}/artifacts/list", self.list_artifacts_of),
            Route("GET", "/runs/{run_id}/artifacts/download", self.download_artifact_of, options=file),
            Route("POST", "/artifacts/log-artifact", self.log_artifact, "write", options=upload),
            Route("GET", "/artifacts/list", self.list_artifacts),
            Route("GET", "/artifacts/download", self.download_artifact, options=file),
            Route("POST", "/artifacts/register-model", self.register_model, "write"),
            Route("POST", "/model-versions/register", self.register_model, "write"),
            Route("POST", "/models/register", self.register_model, "write", 201),
            Route("GET", "/models/{name:path}", self.model),
        ]

    def log_artifact(
        self, run_id: Annotated[MlflowRunId, Form()], file: Upload, artifact_path: Folder = None
    ) -> ArtifactLogged:
        """Keep a file with a run's artifacts."""
        return self.log_artifact_of(run_id, file, artifact_path)

    def log_artifact_of(self, run_id: MlflowRunId, file: Upload, artifact_path: Folder = None) -> ArtifactLogged:
        """Keep a file with a run's artifacts."""
        below = checked_path(artifact_path) if artifact_path else None
        with self._transfers.received(file) as path:
            self._mlflow.artifacts(run_id, lambda client: client.log_artifact(run_id, str(path), below))
            kept = f"{below}/{path.name}" if below else path.name
            return ArtifactLogged(run_id=run_id, path=kept, size=path.stat().st_size)

    def list_artifacts(self, run_id: Annotated[MlflowRunId, Query()], path: Below = None) -> list[ArtifactEntry]:
        """List all files among a run's artifacts."""
        return self.list_artifacts_of(run_id, path)

    def list_artifacts_of(self, run_id: MlflowRunId, path: Below = None) -> list[ArtifactEntry]:
        """List all files among a run's artifacts."""
        below = checked_path(path) if path else None
        return self._mlflow.artifacts(run_id, lambda client: list(_files(client, run_id, below)))

    def download_artifact(self, run_id: Annotated[MlflowRunId, Query()], path: ArtifactPath) -> Response:
        """Send a file of a run's artifacts, to be saved."""
        return self.download_artifact_of(run_id, path)

    def download_artifact_of(self, run_id: MlflowRunId, path: ArtifactPath) -> Response:
        """Send a file of a run's artifacts, to be saved."""
        self._check_file(run_id, checked_path(path))
        folder = self._transfers.keep()
        try:
            copied = self._mlflow.artifacts(run_id, lambda client: client.download_artifacts(run_id, path, str(folder)))
        except BaseException:
            self._transfers.discard(folder)
            raise
        return PassingFile(Path(copied), folder)

    def register_model(self, body: NewModelVersion) -> ModelVersion:
        """Make a version of a registered model of what a run has kept: 400 when that is no model."""
        path = checked_path(body.artifact_path)
        if not self._is_file(body.run_id, f"{path}/{MODEL_FILE}"):
            raise Refusal(400, f"There is no model in {path!r} among the run's artifacts: it has no file {MODEL_FILE}.")
        place = self._mlflow.read(lambda client: client.get_run(body.run_id)).info.artifact_uri
        try:
            self._mlflow.write(lambda client: client.create_registered_model(body.name))
        except Refusal as refusal:
            if refusal.status != 409:
                raise
        asked = (body.name, f"{place}/{path}", body.run_id, body.tags, None, body.description, 0)
        return _version(self._mlflow.write(lambda client: client.create_model_version(*asked)))

    def model(self, name: Name) -> Model:
        """Show a registered model and its versions."""
        found = self._mlflow.read(lambda client: client.get_registered_model(name))
        mark = '"' if "'" in name else "'"  # MLflow's filters know no escapes: nobody can ask for a name that has both
        asked = f"name = {mark}{name}{mark}"
        versions = (
            found.latest_versions
            if mark in name
            else self._mlflow.read(lambda client: client.search_model_versions(asked, 1_000))
        )
        return Model(
            name=found.name,
            description=found.description or None,
            tags=dict(found.tags),
            creation_timestamp=found.creation_timestamp,
            last_updated_timestamp=found.last_updated_timestamp,
            versions=[_version(one) for one in versions],
        )

    def _check_file(self, run_id: str, path: str) -> None:
        """Raise Refusal for what is no file among a run's artifacts."""
        if not self._is_file(run_id, path):
            raise Refusal(404, f"There is no file {path!r} among the run's artifacts.")

    def _is_file(self, run_id: str, path: str) -> bool:
        parent = path.rpartition("/")[0] or None
        found = self._mlflow.artifacts(run_id, lambda client: client.list_artifacts(run_id, parent))
        return any(entry.path == path and not entry.is_dir for entry in found)


def _files(client: Any, run_id: str, below: str | None) -> Iterator[ArtifactEntry]:
    """Yield the files below a directory; raises Refusal for too many."""
    waiting, count = [below], 0
    while waiting:
        for entry in client.list_artifacts(run_id, waiting.pop()):
            count += 1
            if count > MOST_ENTRIES:
                raise Refusal(400, f"These are more than {MOST_ENTRIES:,} files. Ask for a directory, with `path`.")
            if entry.is_dir:
                waiting.append(entry.path)
            else:
                yield ArtifactEntry(path=entry.path, is_dir=False, file_size=entry.file_size)


def _version(found: Any) -> ModelVersion:
    return ModelVersion(
        name=found.name,
        version=str(found.version),
        run_id=found.run_id or None,
        source=found.source,
        status=str(found.status) if found.status else None,
    )
