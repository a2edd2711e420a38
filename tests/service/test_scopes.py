"""What a token is good for, and how much a request may hold, on the routes of the whole service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from pipeline.service.app import build_app
from pipeline.service.settings import ServiceSettings
from pipeline.service.tokens import TokenFile
from pipeline.settings import Settings
from tests.service.problems import check_problem

UPLOAD = "/api/mlflow/runs/0/log-artifact"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, Path]]:
    """Return a client of a service that asks for tokens and takes little, and the file of its tokens."""
    root = tmp_path_factory.mktemp("project")
    settings = ServiceSettings(max_body=1024, max_upload=4096)
    with TestClient(build_app(Settings(root, root / "results"), settings), base_url="http://127.0.0.1") as client:
        yield client, root / ".service/tokens.json"


def headers(tokens: Path, scope: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {TokenFile(tokens).create(scope, [scope], None)[1]}"}


def test_who_may_read_may_not_write(guarded: tuple[TestClient, Path]) -> None:
    """403 for what changes something, or uses the project's key; what is read is read."""
    client, tokens = guarded
    reads = headers(tokens, "read")
    assert client.get("/api/runs", headers=reads).json() == {"runs": [], "total": 0}
    check_problem(client.post("/api/optuna/studies/create", json={"study_name": "s"}, headers=reads), 403)
    check_problem(client.delete("/api/optuna/studies/s", headers=reads), 403)
    check_problem(client.get("/api/runs/last/bundle", headers=reads), 403)
    check_problem(client.get("/api/runs/last/bundle", headers=headers(tokens, "write")), 404)
    check_problem(client.get("/api/runs"), 401)


def test_only_an_upload_may_be_large(guarded: tuple[TestClient, Path]) -> None:
    """Each has its limit, whether the request says how large it is or not; nothing of it stays."""
    client, tokens = guarded
    writes = headers(tokens, "admin")
    body = {"study_name": "s", "user_attrs": {"a": "x" * 2000}}
    check_problem(client.post("/api/optuna/studies/create", json=body, headers=writes), 413)
    check_problem(client.post(UPLOAD, files={"file": ("x", bytes(5000))}, headers=writes), 413)
    form = {**writes, "Content-Type": "multipart/form-data; boundary=b"}
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
    check_problem(client.post(UPLOAD, content=iter([head, bytes(5000)]), headers=form), 413)
    check_problem(client.post(UPLOAD, files={"file": ("../x", bytes(2000))}, headers=writes), 400)
    assert list((tokens.parent / "uploads").iterdir()) == []
