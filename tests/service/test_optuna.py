"""Optuna's studies and trials over HTTP: a journal file, and what several clients and services do to it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.service.problems import check_problem
from tests.service.process import serving

pytestmark = pytest.mark.slow
S = "/api/optuna/studies"
X = {"x": {"type": "float", "low": 0.0, "high": 1.0}}


@pytest.fixture
def study(api: httpx.Client, request: pytest.FixtureRequest) -> str:
    """Return the path of a new study that has the test's name."""
    name = f"of {request.node.name}"
    assert api.post(f"{S}/create", json={"study_name": name, "pruner": "median"}).status_code == 200
    return f"{S}/{name}"


def post(api: httpx.Client, path: str, /, **body: Any) -> Any:
    response = api.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


def get(api: httpx.Client, path: str, /, **query: Any) -> Any:
    response = api.get(path, params=query)
    assert response.status_code == 200, response.text
    return response.json()


def test_a_study_is_as_it_was_made(api: httpx.Client) -> None:
    """Direction, sampler and pruner are kept with it; a second one of the name is refused unless it may be there."""
    body = {"study_name": "made ü", "direction": "maximize", "sampler": "random", "pruner": "hyperband"}
    made = post(api, f"{S}/create", **body, pruner_options={"min_resource": 2}, user_attrs={"desk": "rates"})
    assert get(api, f"{S}/made ü") == made
    assert (made["direction"], made["sampler"], made["pruner"]) == ("maximize", "random", "hyperband")
    assert made["user_attrs"] == {"desk": "rates"}
    check_problem(api.post(f"{S}/create", json=body), 409)
    assert post(api, f"{S}/create", **body, load_if_exists=True)["study_name"] == "made ü"
    check_problem(api.post(f"{S}/create", json={**body, "direction": "minimize", "load_if_exists": True}), 409)
    heads = get(api, f"{S}/list", limit=1000)["studies"]
    assert "made ü" in [head["study_name"] for head in heads]
    assert api.delete(f"{S}/made ü").json()["status"] == "deleted"
    check_problem(api.get(f"{S}/made ü"), 404)
    check_problem(api.delete(f"{S}/made ü"), 404)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"study_name": "list"}, 400),
        ({"study_name": "a/b"}, 422),
        ({"study_name": "n", "direction": "up"}, 422),
        ({"study_name": "n", "sampler": "best"}, 422),
        ({"study_name": "n", "storage": "sqlite:////etc/x"}, 422),
        ({"study_name": "n", "direction": "minimize", "directions": ["minimize"]}, 400),
        ({"study_name": "n", "directions": ["minimize", "maximize"], "pruner": "median"}, 400),
        ({"study_name": "n", "pruner": "median", "pruner_options": {"none": 1}}, 400),
        ({"study_name": "n", "pruner": "median", "pruner_options": {"n_startup_trials": -1}}, 400),
    ],
)
def test_a_study_that_cannot_be_is_not_made(api: httpx.Client, body: dict[str, Any], status: int) -> None:
    """And says why."""
    check_problem(api.post(f"{S}/create", json=body), status)
    check_problem(api.get(f"{S}/n"), 404)


def test_trials_that_were_evaluated_elsewhere_keep_their_params(api: httpx.Client, study: str) -> None:
    """Numbers, whole numbers, text, booleans; kinds and ranges may differ from trial to trial."""
    first = post(api, f"{study}/trials/create", params={"x": 32, "y": 0.001, "kind": "sma", "on": True}, value=0.15)
    second = post(api, f"{study}/trials/create", params={"x": 3.5, "kind": 7, "on": "off"}, value=-1)
    post(api, f"{study}/trials/create", params={"x": 1}, state="fail")
    assert first["params"] == {"x": 32, "y": 0.001, "kind": "sma", "on": True}
    assert (first["trial_id"], first["number"], first["value"], first["state"]) == (0, 0, 0.15, "complete")
    assert get(api, f"{study}/best-trial")["number"] == second["number"]
    assert get(api, f"{study}/best-params") == {"x": 3.5, "kind": 7, "on": "off"}
    page = get(api, f"{study}/trials/list", limit=1, offset=1)
    assert ([trial["number"] for trial in page["trials"]], page["total"]) == ([1], 3)
    failed = get(api, f"{study}/trials/list", state="fail")
    assert [trial["number"] for trial in failed["trials"]] == [2]
    assert get(api, f"{study}/trials/0") == first
    assert [entry["best_value"] for entry in get(api, f"{study}/history")["history"]] == [0.15, -1]
    shown = get(api, study)
    assert (shown["n_trials"], shown["best_value"]) == (3, -1)
    assert shown["states"] == {"complete": 2, "fail": 1}


def test_a_trial_that_cannot_be_is_refused(api: httpx.Client, study: str) -> None:
    """No value, two, one that is none; a param outside of its own distribution."""
    path = f"{study}/trials/create"
    check_problem(api.post(path, json={"params": {"x": 1}}), 400)
    check_problem(api.post(path, json={"params": {"x": 1}, "values": [1, 2]}), 400)
    check_problem(api.post(path, json={"params": {"x": 1}, "value": 1, "values": [1]}), 400)
    check_problem(api.post(path, json={"params": {"x": [1]}, "value": 1}), 422)
    json = {"Content-Type": "application/json"}
    check_problem(api.post(path, content=b'{"params": {"x": NaN}, "value": 1}', headers=json), 422)
    check_problem(api.post(path, content=b'{"params"', headers=json), 422)
    check_problem(api.post(path, json={"params": {"x": 9}, "value": 1, "distributions": X}), 400)
    assert get(api, f"{study}/trials/list")["total"] == 0


def test_ask_and_tell(api: httpx.Client, study: str) -> None:
    """A trial has its params as soon as it is asked for, and ends once."""
    space = {**X, "n": {"type": "int", "low": 2, "high": 50}, "k": {"type": "categorical", "choices": ["a", "b"]}}
    asked = post(api, f"{study}/suggest", distributions=space)
    assert asked["state"] == "running"
    assert 0 <= asked["params"]["x"] <= 1
    assert 2 <= asked["params"]["n"] <= 50
    assert asked["params"]["k"] in ("a", "b")
    trial = f"{study}/trials/{asked['number']}"
    check_problem(api.post(f"{trial}/tell", json={}), 400)
    check_problem(api.post(f"{trial}/tell", json={"state": "fail", "value": 1}), 400)
    assert post(api, f"{trial}/tell", value=0.5)["state"] == "complete"
    check_problem(api.post(f"{trial}/tell", json={"value": 0.4}), 409)
    assert get(api, trial)["value"] == 0.5
    check_problem(api.post(f"{study}/trials/99/tell", json={"value": 1}), 404)


def test_fixed_params_are_there_at_once(api: httpx.Client, study: str) -> None:
    """Of one that is asked for with them, and of one that waits; each goes to one client."""
    fixed = post(api, f"{study}/suggest", distributions=X, fixed={"x": 0.25, "label": "mine"})
    assert fixed["params"] == {"x": 0.25, "label": "mine"}
    check_problem(api.post(f"{study}/suggest", json={"distributions": X, "fixed": {"x": 2.0}}), 400)
    queued = post(api, f"{study}/trials/enqueue", params={"x": 0.75})
    assert (queued["state"], queued["params"]) == ("waiting", {"x": 0.75})
    check_problem(api.post(f"{study}/trials/{queued['number']}/tell", json={"value": 1}), 409)
    asked = post(api, f"{study}/suggest", distributions=X)
    assert (asked["number"], asked["params"]) == (queued["number"], {"x": 0.75})
    assert post(api, f"{study}/suggest", distributions=X)["number"] > queued["number"]


def test_a_distribution_of_another_kind_fails_the_trial(api: httpx.Client, study: str) -> None:
    """It is said, and no trial stays that nobody has."""
    post(api, f"{study}/suggest", distributions=X)
    other = {"x": {"type": "categorical", "choices": ["a"]}}
    check_problem(api.post(f"{study}/suggest", json={"distributions": other}), 400)
    assert get(api, study)["states"] == {"running": 1, "fail": 1}
    wrong = {"x": {"type": "float", "low": 2, "high": 1}}
    check_problem(api.post(f"{study}/suggest", json={"distributions": wrong}), 400)
    assert get(api, study)["n_trials"] == 2


def test_should_prune_prunes(api: httpx.Client) -> None:
    """A trial that is worse than the median of those before it; a better one goes on."""
    name = "prunes"
    post(api, f"{S}/create", study_name=name, pruner="median", pruner_options={"n_startup_trials": 3})
    study = f"{S}/{name}"
    for value in (1.0, 2.0, 3.0):
        post(api, f"{study}/trials/create", params={"x": value}, value=value, intermediate_values={"1": value})
    good, bad = (post(api, f"{study}/suggest", distributions=X)["number"] for _ in range(2))
    post(api, f"{study}/trials/{good}/intermediate", step=1, value=0.5)
    post(api, f"{study}/trials/{bad}/intermediate", step=1, value=9.0)
    check_problem(api.post(f"{study}/trials/{bad}/intermediate", json={"step": 1, "value": 8.0}), 409)
    assert not get(api, f"{study}/trials/{good}/should-prune")["should_prune"]
    assert get(api, f"{study}/trials/{bad}/should-prune")["should_prune"]
    pruned = post(api, f"{study}/trials/{bad}/tell", state="pruned")
    assert (pruned["state"], pruned["intermediate_values"]) == ("pruned", {"1": 9.0})
    check_problem(api.get(f"{study}/trials/{bad}/should-prune"), 409)


def test_several_objectives(api: httpx.Client) -> None:
    """A value of each; the best are those that none beats, and there is no single one."""
    post(api, f"{S}/create", study_name="several", directions=["minimize", "maximize"])
    study = f"{S}/several"
    for values in ([1, 1], [2, 2], [2, 1]):
        post(api, f"{study}/trials/create", params={"x": values[0]}, values=values)
    assert [trial["values"] for trial in get(api, f"{study}/best-trials")["trials"]] == [[1, 1], [2, 2]]
    check_problem(api.get(f"{study}/best-trial"), 409)
    check_problem(api.get(f"{study}/best-params"), 409)
    check_problem(api.post(f"{study}/trials/create", json={"value": 1}), 400)
    shown = get(api, study)
    assert (shown["direction"], shown["directions"]) == (None, ["minimize", "maximize"])


def test_a_study_without_a_completed_trial_says_so(api: httpx.Client, study: str) -> None:
    """404, not an empty answer."""
    check_problem(api.get(f"{study}/best-trial"), 404)
    check_problem(api.get(f"{study}/best-params"), 404)
    check_problem(api.get(f"{study}/importance"), 409)
    assert get(api, f"{study}/history")["history"] == []


def test_what_matters_is_found(api: httpx.Client, study: str) -> None:
    """Of trials that were told as they are, without distributions: the param that the value follows."""
    for place in range(12):
        params = {"x": place, "noise": (place * 7) % 12, "kind": "ab"[place % 2]}
        post(api, f"{study}/trials/create", params=params, value=float(place**2))
    found = get(api, f"{study}/importance")["importances"]
    assert next(iter(found)) == "x"
    assert sum(found.values()) == pytest.approx(1)
    check_problem(api.get(f"{study}/importance", params={"objective": 1}), 400)


def test_parallel_clients_get_trials_of_their_own(api: httpx.Client, study: str) -> None:
    """50 trials that are created, and 50 that are asked for, at the same time: 100 numbers, no error."""

    def create(place: int) -> int:
        return int(post(api, f"{study}/trials/create", params={"x": place}, value=place)["number"])

    def ask(_place: int) -> int:
        return int(post(api, f"{study}/suggest", distributions=X)["number"])

    with ThreadPoolExecutor(50) as pool:
        numbers = [*pool.map(create, range(50)), *pool.map(ask, range(50))]
    assert sorted(numbers) == list(range(100))


@pytest.mark.parametrize("storage", ["", "sqlite:///studies.db"])
def test_several_services_share_a_store(tmp_path: Path, storage: str) -> None:
    """Two that start on an empty store at the same time: it is made once, and each sees the other's trials."""
    (tmp_path / "_quarto.yml").touch()
    environ = {"EVIDENCE_SERVICE_STORAGE": storage}
    with serving(tmp_path, "--no-auth", environ=environ) as one, serving(tmp_path, "--no-auth", environ=environ) as two:
        with ThreadPoolExecutor(8) as pool:
            healthy = pool.map(lambda client: client.get("/api/optuna/health").status_code, [one, two] * 4)
            assert set(healthy) == {200}
            post(one, f"{S}/create", study_name="shared")
            asked = pool.map(lambda client: post(client, f"{S}/shared/suggest", distributions=X), [one, two] * 10)
            assert sorted(trial["number"] for trial in asked) == list(range(20))
        assert get(two, f"{S}/shared")["n_trials"] == get(one, f"{S}/shared")["n_trials"] == 20


def test_a_service_that_was_killed_leaves_its_store_usable(tmp_path: Path) -> None:
    """Nobody waits for the lock of a process that is gone, and what it answered is there."""
    (tmp_path / "_quarto.yml").touch()
    with serving(tmp_path, "--no-auth", kill=True) as api:
        post(api, f"{S}/create", study_name="kept")
        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(post, api, f"{S}/kept/suggest", distributions=X) for _ in range(20)]
            answered = [future.result()["number"] for future in asked[:10]]
    with serving(tmp_path, "--no-auth") as api:
        numbers = {trial["number"] for trial in get(api, f"{S}/kept/trials/list", limit=1000)["trials"]}
        assert {*answered} <= numbers
        assert post(api, f"{S}/kept/suggest", distributions=X)["number"] not in numbers
