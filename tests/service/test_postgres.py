"""PostgreSQL behind the service, for teams: MLflow's store and Optuna's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.servers import postgres_server
from tests.service.problems import check_problem
from tests.service.process import serving

pytestmark = [pytest.mark.slow, pytest.mark.postgres]
M, S = "/api/mlflow", "/api/optuna/studies"
X = {"x": {"type": "float", "low": 0.0, "high": 1.0}}


def test_several_services_share_postgres_and_say_when_it_is_gone(tmp_path: Path) -> None:
    """Two that start on empty databases: the tables are made once, nothing is lost; 503 when the server has ended."""
    (tmp_path / "_quarto.yml").touch()
    with ExitStack() as ends, ThreadPoolExecutor(20) as pool:
        url = ends.enter_context(postgres_server("mlflow", "optuna"))
        environ = {"MLFLOW_TRACKING_URI": f"{url}mlflow", "EVIDENCE_SERVICE_STORAGE": f"{url}optuna"}
        with serving(tmp_path, "--no-auth", environ=environ) as one:
            with serving(tmp_path, "--no-auth", environ=environ) as two:
                assert set(pool.map(lambda api: api.get("/ready").status_code, [one, two])) == {200}
                made = one.post(f"{M}/experiments/create", json={"name": "first"}).json()
                run = two.post(f"{M}/runs/create", json={"experiment_id": made["experiment_id"]}).json()["run_id"]
                bodies = [{"key": "loss", "value": step / 8, "step": step} for step in range(60)]
                metric = f"{M}/runs/{run}/log-metric"
                logged = pool.map(lambda api, body: api.post(metric, json=body).status_code, [one, two] * 30, bodies)
                assert set(logged) == {200}
                points = one.get(f"{M}/runs/{run}/metrics").json()["metrics"]["loss"]
                assert sorted(point["step"] for point in points) == list(range(60))
                assert two.post(f"{S}/create", json={"study_name": "shared"}).status_code == 200
                asked = pool.map(
                    lambda api: api.post(f"{S}/shared/suggest", json={"distributions": X}), [one, two] * 25
                )
                assert sorted(answer.json()["number"] for answer in asked) == list(range(50))
                text = one.get(f"{M}/health").text + one.get("/api/optuna/health").text
                assert "postgresql" in text
            ends.close()
            check_problem(one.get(f"{M}/experiments/list"), 503)
            check_problem(one.get(f"{S}/list"), 503)
            assert one.get("/health").json()["status"] == "degraded"
