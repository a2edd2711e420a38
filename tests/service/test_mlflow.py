"""MLflow's experiments, runs, artifacts and models over HTTP, with a real store behind."""

from __future__ import annotations

import math
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.service.problems import check_problem

pytestmark = pytest.mark.slow
M = "/api/mlflow"


def post(api: httpx.Client, path: str, status: int = 200, /, **body: Any) -> Any:
    response = api.post(f"{M}{path}", json=body)
    assert response.status_code == status, response.text
    return response.json()


def get(api: httpx.Client, path: str, /, **query: Any) -> Any:
    response = api.get(f"{M}{path}", params=query)
    assert response.status_code == 200, response.text
    return response.json()


def test_an_experiment_is_found_by_id_and_by_name(api: httpx.Client) -> None:
    """As it was made; a place elsewhere is kept as given, and not reached."""
    name, place = "rates/2026 ü", "s3://bucket/rates"
    made = post(api, "/experiments/create", 201, name=name, artifact_location=place, tags={"team": "rates"})
    ways = [
        get(api, f"/experiments/{made['experiment_id']}"),
        get(api, f"/experiments/by-name/{name}"),
        get(api, "/experiments/get", name=name),
        get(api, "/experiments/get", experiment_id=made["experiment_id"]),
    ]
    assert all(found == ways[0] for found in ways)
    assert (ways[0]["name"], ways[0]["artifact_location"]) == (name, place)
    assert ways[0]["tags"]["team"] == "rates"
    assert ways[0]["lifecycle_stage"] == "active"
    check_problem(api.post(f"{M}/experiments/create", json={"name": name}), 409)
    check_problem(api.get(f"{M}/experiments/get"), 400)
    check_problem(api.get(f"{M}/experiments/by-name/none"), 404)
    check_problem(api.get(f"{M}/experiments/999999"), 404)


@pytest.mark.parametrize("place", ["file:///etc", "/etc", "../..", "s3:", "ftp://host/x", "https://host/x"])
def test_no_client_says_where_this_machine_writes(api: httpx.Client, place: str) -> None:
    """Artifacts are kept in the project, or in an object store."""
    check_problem(api.post(f"{M}/experiments/create", json={"name": place, "artifact_location": place}), 400)


def test_experiments_are_searched_paged_and_deleted(api: httpx.Client) -> None:
    """Filters count, pages hold each experiment once, and one that was deleted is found among those."""
    ids = [
        post(api, "/experiments/create", 201, name=f"page {place}", tags={"group": "pages"})["experiment_id"]
        for place in range(5)
    ]
    found: list[str] = []
    token = None
    while True:
        asked: dict[str, Any] = {"filter_string": "tags.group = 'pages'", "max_results": 2, "page_token": token}
        page = post(api, "/experiments/search", **asked)
        found += [one["experiment_id"] for one in page["experiments"]]
        token = page["next_page_token"]
        if token is None:
            break
    assert sorted(found, key=int) == ids
    assert post(api, f"/experiments/{ids[0]}/delete")["status"] == "deleted"
    post(api, "/experiments/delete", experiment_id=ids[1])
    listed = get(api, "/experiments/list", view_type="deleted_only", max_results=1000)["experiments"]
    assert {*ids[:2]} <= {one["experiment_id"] for one in listed}
    active = get(api, "/experiments/list", max_results=1000)["experiments"]
    assert not {*ids[:2]} & {one["experiment_id"] for one in active}
    check_problem(api.post(f"{M}/experiments/search", json={"filter_string": "nonsense ="}), 400)
    check_problem(api.post(f"{M}/experiments/search", json={"page_token": "nonsense"}), 400)


def test_what_is_logged_is_there_at_once(api: httpx.Client, run: str) -> None:
    """Metrics as they are, params as text, tags; with the run's id in the path, and in the body."""
    post(api, f"/runs/{run}/log-metric", key="sharpe", value=0.1 + 0.2, step=3)
    post(api, "/runs/log-metric", run_id=run, key="drawdown", value=-0.25)
    post(api, f"/runs/{run}/log-parameter", key="fast", value="10")
    post(api, "/runs/log-param", run_id=run, key="slow", value=50)
    post(api, "/runs/log-metrics", run_id=run, metrics={"a": 1, "undefined": "NaN", "huge": "Infinity"})
    post(api, "/runs/log-params", run_id=run, params={"x": 0.5, "y": True})
    batch = {"params": [{"key": "p", "value": "v"}], "tags": [{"key": "team", "value": "rates"}]}
    post(api, f"/runs/{run}/log-batch", metrics=[{"key": "m", "value": 1.5, "timestamp": 1, "step": 1}], **batch)
    post(api, "/runs/log-batch", run_id=run, metrics=[{"key": "m", "value": 2.5, "timestamp": 2, "step": 2}])
    data = get(api, f"/runs/{run}")["data"]
    assert data["metrics"]["sharpe"] == 0.1 + 0.2
    assert {"drawdown": -0.25, "a": 1, "undefined": "NaN", "m": 2.5}.items() <= data["metrics"].items()
    assert data["metrics"]["huge"] in ("Infinity", 1.7976931348623157e308)  # SQL stores keep no infinity
    assert data["params"] == {"fast": "10", "slow": "50", "x": "0.5", "y": "True", "p": "v"}
    assert data["tags"]["team"] == "rates"
    points = get(api, f"/runs/{run}/metrics", key="m")["metrics"]["m"]
    assert points == [{"value": 1.5, "timestamp": 1, "step": 1}, {"value": 2.5, "timestamp": 2, "step": 2}]
    page = get(api, f"/runs/{run}/metrics", limit=1)
    assert page["more"]
    assert len(page["metrics"]["m"]) == 1
    check_problem(api.post(f"{M}/runs/{run}/log-parameter", json={"key": "fast", "value": "11"}), 400)


def test_a_run_has_a_name_a_status_and_an_end(api: httpx.Client, experiment: str) -> None:
    """Each can be changed; an end has its time."""
    made = post(api, "/runs/start", 201, experiment_id=experiment, run_name="first", tags={"a": "b"})
    assert made["run_uuid"] == made["run_id"]
    run = made["run_id"]
    post(api, f"/runs/{run}/update", run_name="second", status="RUNNING")
    info = get(api, f"/runs/{run}")["info"]
    assert (info["run_name"], info["status"], info["experiment_id"]) == ("second", "RUNNING", experiment)
    post(api, "/runs/update", run_id=run, status="FAILED", end_time=1_700_000_000_000)
    assert get(api, f"/runs/{run}")["info"]["end_time"] == 1_700_000_000_000
    post(api, "/runs/end", run_id=run)
    assert get(api, f"/runs/{run}")["info"]["status"] == "FINISHED"


def test_runs_are_searched_by_what_they_hold(api: httpx.Client, experiment: str) -> None:
    """The filter counts, the order too, and pages hold each run once."""
    for place in range(5):
        run = post(api, "/runs/create", experiment_id=experiment, run_name=f"run {place}")["run_id"]
        post(api, f"/runs/{run}/log-metric", key="accuracy", value=0.8 + place * 0.05)
    asked = {"experiment_ids": [experiment], "order_by": ["metrics.accuracy DESC"]}
    found = post(api, "/runs/search", filter_string="metrics.accuracy > 0.89", **asked)["runs"]
    assert [one["info"]["run_name"] for one in found] == ["run 4", "run 3", "run 2"]
    pages, token = [], None
    while True:
        page = post(api, "/runs/search", max_results=2, page_token=token, **asked)
        pages.append([one["info"]["run_name"] for one in page["runs"]])
        token = page["next_page_token"]
        if token is None:
            break
    assert [name for page in pages for name in page] == [f"run {place}" for place in (4, 3, 2, 1, 0)]
    check_problem(api.post(f"{M}/runs/search", json={"experiment_ids": [experiment], "filter_string": "a ~ b"}), 400)
    check_problem(api.post(f"{M}/runs/search", json={"experiment_ids": []}), 422)


def test_artifacts_come_back_as_they_were_sent(api: httpx.Client, run: str, served: Path) -> None:
    """Whole, to be saved and not to be shown; and nothing stays on the way."""
    sent = bytes(range(256)) * 20_000
    files = {"file": ("große Datei.html", sent, "text/html")}
    kept = api.post(f"{M}/runs/{run}/log-artifact", files=files, data={"artifact_path": "a/b"})
    assert kept.json() == {"run_id": run, "path": "a/b/große Datei.html", "size": len(sent)}
    alone = api.post(f"{M}/artifacts/log-artifact", files={"file": ("x.txt", b"x")}, data={"run_id": run})
    assert alone.status_code == 200, alone.text
    listed = get(api, f"/runs/{run}/artifacts/list")
    assert {entry["path"]: entry["file_size"] for entry in listed} == {"a/b/große Datei.html": len(sent), "x.txt": 1}
    assert [entry["path"] for entry in get(api, "/artifacts/list", run_id=run, path="a")] == ["a/b/große Datei.html"]
    for path in (f"{M}/runs/{run}/artifacts/download", f"{M}/artifacts/download"):
        answer = api.get(path, params={"run_id": run, "path": "a/b/große Datei.html"})
        assert answer.content == sent
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"].startswith("attachment")
        assert "sandbox" in answer.headers["content-security-policy"]
    check_problem(api.get(f"{M}/runs/{run}/artifacts/download", params={"path": "a"}), 404)
    check_problem(api.get(f"{M}/runs/{run}/artifacts/download", params={"path": "none"}), 404)
    assert list((served / ".service/uploads").iterdir()) == []


@pytest.mark.parametrize("path", ["..", "../x", "/etc/passwd", "a/../../x", "a//b", "a\\b", "a/\n", "./a", "C:x"])
def test_no_path_leads_out_of_a_runs_artifacts(api: httpx.Client, run: str, path: str) -> None:
    """Neither of an upload nor of a download; a file's own name is one without directories."""
    file = {"file": ("x.txt", b"x")}
    check_problem(api.post(f"{M}/runs/{run}/log-artifact", files=file, data={"artifact_path": path}), 400)
    check_problem(api.get(f"{M}/runs/{run}/artifacts/download", params={"path": path}), 400)
    check_problem(api.get(f"{M}/runs/{run}/artifacts/list", params={"path": path}), 400)


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "a\\b", "x" * 300])
def test_a_file_that_is_sent_has_a_name_of_its_own(api: httpx.Client, run: str, name: str, served: Path) -> None:
    """One that would be elsewhere is refused, and nothing of it stays."""
    check_problem(api.post(f"{M}/runs/{run}/log-artifact", files={"file": (name, b"x")}), 400)
    assert get(api, f"/runs/{run}/artifacts/list") == []
    assert list((served / ".service/uploads").iterdir()) == []


def test_artifacts_outside_of_the_project_are_not_touched(api: httpx.Client, run: str, served: Path) -> None:
    """Whatever an MLflow store says of where a run has them."""
    with sqlite3.connect(served / "mlflow.db") as database:
        database.execute("UPDATE runs SET artifact_uri = 'file:///etc' WHERE run_uuid = ?", (run,))
    database.close()
    check_problem(api.get(f"{M}/runs/{run}/artifacts/download", params={"path": "passwd"}), 403)
    check_problem(api.get(f"{M}/runs/{run}/artifacts/list"), 403)
    check_problem(api.post(f"{M}/runs/{run}/log-artifact", files={"file": ("x", b"x")}), 403)


def test_a_model_is_registered_and_what_is_none_is_not(api: httpx.Client, run: str) -> None:
    """A directory with the file MLmodel is one; each time it is another version."""
    body = {"name": "model of ' rates", "run_id": run, "artifact_path": "model"}
    api.post(f"{M}/runs/{run}/log-artifact", files={"file": ("model.pkl", b"x")}, data={"artifact_path": "model"})
    check_problem(api.post(f"{M}/model-versions/register", json=body), 400)
    about = f"artifact_path: model\nrun_id: {run}\nflavors: {{}}\n".encode()
    api.post(f"{M}/runs/{run}/log-artifact", files={"file": ("MLmodel", about)}, data={"artifact_path": "model"})
    assert post(api, "/model-versions/register", **body)["version"] == "1"
    assert post(api, "/models/register", 201, **body)["version"] == "2"
    assert post(api, "/artifacts/register-model", **body)["version"] == "3"
    found = get(api, f"/models/{body['name']}")
    assert {version["version"] for version in found["versions"]} == {"1", "2", "3"}
    check_problem(api.get(f"{M}/models/none"), 404)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/runs/create", {"experiment_id": "../../etc"}),
        ("/runs/create", {"experiment_id": "0", "more": 1}),
        ("/experiments/create", {"name": ""}),
        ("/experiments/create", {"name": "a\x00b"}),
        ("/runs/log-metric", {"run_id": "a" * 32, "key": "k", "value": "many"}),
        ("/runs/log-metric", {"run_id": "a" * 32, "key": "k", "value": True}),
        ("/runs/search", {"experiment_ids": ["0"], "max_results": 1_000_000}),
    ],
)
def test_a_request_of_another_form_is_refused(api: httpx.Client, path: str, body: dict[str, Any]) -> None:
    """With where and what; nothing of it is repeated."""
    problem = check_problem(api.post(f"{M}{path}", json=body), 422)
    assert problem["errors"][0]["where"].startswith("body.")


def test_what_is_not_there_is_404(api: httpx.Client) -> None:
    """Whatever is asked of it."""
    nobody = "0" * 32
    for path in ("", "/metrics", "/artifacts/list"):
        check_problem(api.get(f"{M}/runs/{nobody}{path}"), 404)
    check_problem(api.post(f"{M}/runs/{nobody}/log-metric", json={"key": "k", "value": 1}), 404)
    check_problem(api.post(f"{M}/runs/{nobody}/update", json={"status": "FINISHED"}), 404)
    check_problem(api.post(f"{M}/experiments/999999/delete"), 404)
    check_problem(api.post(f"{M}/runs/create", json={"experiment_id": "999999"}), 404)


def test_many_clients_lose_nothing(api: httpx.Client, run: str) -> None:
    """200 requests from 50 threads: every point is there, no answer is an error."""

    def log(step: int) -> int:
        body = {"key": "loss", "value": math.sqrt(step), "step": step}
        return int(api.post(f"{M}/runs/{run}/log-metric", json=body).status_code)

    with ThreadPoolExecutor(50) as pool:
        assert set(pool.map(log, range(200))) == {200}
    points = get(api, f"/runs/{run}/metrics", key="loss")["metrics"]["loss"]
    assert sorted(point["step"] for point in points) == list(range(200))


def test_the_store_says_who_it_is(api: httpx.Client, served: Path) -> None:
    """Its health, and that of the whole."""
    assert get(api, "/health") == {"status": "healthy", "tracking_uri": f"sqlite:///{served / 'mlflow.db'}"}
    assert api.get("/health").json()["mlflow"] == "healthy"
    assert api.get("/ready").status_code == 200
