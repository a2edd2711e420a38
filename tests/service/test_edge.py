"""What every request passes before the framework, and every answer after it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from pipeline.service.app import build_app
from pipeline.service.edge import HEADERS, Edge
from pipeline.service.limits import RateLimit
from pipeline.service.metrics import Metrics
from pipeline.service.problems import MEDIA_TYPE, Refusal
from pipeline.service.settings import ServiceSettings
from pipeline.service.tokens import TokenFile
from pipeline.settings import Settings
from tests.service.problems import check_problem

LOCAL = ServiceSettings(auth=False)


async def read_body(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


def fail(_request: Request) -> Response:
    raise RuntimeError("the password is hunter2")


def inner() -> Starlette:
    routes = [Route("/health", read_body, methods=["GET", "POST"]), Route("/fail", fail)]
    return Starlette(routes=routes, max_body_size=1000)


def client(tmp_path: Path, settings: ServiceSettings = LOCAL) -> TestClient:
    edge = Edge(inner(), settings, TokenFile(tmp_path / "tokens.json"), Metrics())
    return TestClient(edge, base_url="http://127.0.0.1", raise_server_exceptions=False)


def test_every_answer_has_its_headers_and_an_id(tmp_path: Path) -> None:
    """An id that a client gives is kept when it is one; anything else is replaced."""
    here = client(tmp_path)
    response = here.get("/health", headers={"X-Request-ID": "from-the-client"})
    assert response.headers.items() >= HEADERS.items()
    assert response.headers["x-request-id"] == "from-the-client"
    assert here.get("/health", headers={"X-Request-ID": "a b"}).headers["x-request-id"] != "a b"


def test_what_the_framework_refuses_is_a_problem(tmp_path: Path) -> None:
    """No route, another method, a body that says it is too large, and one that turns out to be."""
    here = client(tmp_path)
    check_problem(here.get("/nothing"), 404)
    refused = here.delete("/health")
    check_problem(refused, 405)
    assert "GET" in refused.headers["allow"]
    check_problem(here.post("/health", content=bytes(1001)), 413)
    check_problem(here.post("/health", content=iter([bytes(600), bytes(600)])), 413)
    assert here.post("/health", content=bytes(1000)).text == "1000"


def test_an_error_that_nobody_thought_of_tells_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The client has the id, the log the rest under it."""
    problem = check_problem(client(tmp_path).get("/fail"), 500)
    assert "hunter2" not in str(problem)
    assert problem["request_id"] in caplog.text
    assert "hunter2" in caplog.text


def test_another_host_and_another_site_are_refused(tmp_path: Path) -> None:
    """A page elsewhere can neither have its name lead here nor have a browser change something."""
    here = client(tmp_path)
    check_problem(here.get("/health", headers={"Host": "evil.example"}), 421)
    check_problem(here.get("/health", headers={"Host": "["}), 421)
    check_problem(here.post("/health", headers={"Origin": "http://evil.example"}), 403)
    check_problem(here.post("/health", headers={"Origin": "http://127.0.0.1:1"}), 403)
    check_problem(here.post("/health", headers={"Origin": "null"}), 403)
    assert here.post("/health", headers={"Origin": "http://127.0.0.1"}).status_code == 200
    named = client(tmp_path, ServiceSettings(auth=True, hosts=("runs.example",)))
    assert named.get("/health", headers={"Host": "runs.example:99"}).status_code == 200
    check_problem(named.get("/health", headers={"Host": "evil.example"}), 421)


def test_a_token_is_asked_for_before_anything_is_read(tmp_path: Path) -> None:
    """401 without one, with another one and with one that was revoked; the health is for everybody."""
    here = client(tmp_path, ServiceSettings())
    tokens = TokenFile(tmp_path / "tokens.json")
    token, text = tokens.create("ci", ["read"], None)
    assert here.get("/health").status_code == 200
    refused = here.get("/fail")
    check_problem(refused, 401)
    assert refused.headers["www-authenticate"].startswith("Bearer")
    check_problem(here.get("/fail", headers={"Authorization": f"Bearer {text}x"}), 401)
    check_problem(here.get("/fail", headers={"Authorization": f"Basic {text}"}), 401)
    check_problem(here.get("/none", headers={"Authorization": f"Bearer {text}"}), 404)
    tokens.revoke(token.token_id)
    check_problem(here.get("/none", headers={"Authorization": f"Bearer {text}"}), 401)


def test_who_asks_too_often_waits(tmp_path: Path) -> None:
    """429, and after how many seconds it may ask again."""
    here = client(tmp_path, ServiceSettings(auth=False, rate=0.001, burst=2))
    assert [here.get("/health").status_code for _ in range(2)] == [200, 200]
    refused = here.get("/health")
    check_problem(refused, 429)
    assert 0 < int(refused.headers["retry-after"]) <= 1000


def test_a_bucket_fills_again_and_is_each_clients_own() -> None:
    """A second later there is one more; another client has all of its own."""
    now = [0.0]
    limit = RateLimit(1.0, 2, lambda: now[0])
    assert [limit.wait("a") for _ in range(3)] == [0, 0, 1]
    assert limit.wait("b") == 0
    now[0] = 1.5
    assert [limit.wait("a") for _ in range(2)] == [0, 0.5]


def test_a_client_that_sends_nothing_is_let_go(tmp_path: Path) -> None:
    """408, when the next piece of a body does not come in time."""
    settings = ServiceSettings(auth=False, body_seconds=0.1)
    edge = Edge(inner(), settings, TokenFile(tmp_path / "tokens.json"), Metrics())
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.sleep(60)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"127.0.0.1"), (b"content-length", b"5")]
    scope = {"type": "http", "method": "POST", "path": "/health", "headers": headers, "query_string": b""}
    asyncio.run(edge(scope, receive, send))
    assert sent[0]["status"] == 408


def test_a_busy_service_says_so(tmp_path: Path) -> None:
    """503 at once for more requests than it takes at a time."""
    edge = Edge(inner(), LOCAL, TokenFile(tmp_path / "tokens.json"), Metrics())
    edge._running = LOCAL.concurrency + 1
    scope = {"path": "/health", "method": "GET", "headers": [(b"host", b"localhost")], "state": {}}
    with pytest.raises(Refusal, match="busy"):
        edge._admit(scope)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Return a client of the whole service."""
    root = tmp_path_factory.mktemp("project")
    app = build_app(Settings(root, root / "results"), ServiceSettings(auth=False, origins=("http://desk.example",)))
    with TestClient(app, base_url="http://127.0.0.1") as made:
        yield made


def test_the_service_describes_itself(whole: TestClient) -> None:
    """Every operation says which problems it may answer with, in the one shape; the page has a policy of its own."""
    found = whole.get("/openapi.json").json()
    operations = [operation for path in found["paths"].values() for operation in path.values()]
    assert operations
    for operation in operations:
        assert operation["responses"]["503"]["content"].keys() == {MEDIA_TYPE}
    assert "HTTPValidationError" not in found["components"]["schemas"]
    assert "jsdelivr" in whole.get("/docs").headers["content-security-policy"]


def test_a_method_that_a_path_has_not_is_told_with_those_it_has(whole: TestClient) -> None:
    """All of them, and none of a path that only looks alike."""
    refused = whole.put("/api/optuna/studies/any", headers={"Origin": "http://127.0.0.1"})
    check_problem(refused, 405)
    assert refused.headers["allow"] == "DELETE, GET"
    for path in ("/api/mlflow/experiments/create", "/api/optuna/studies/any/trials/create"):
        assert whole.put(path).headers["allow"] == "POST"


def test_a_page_of_an_allowed_origin_may_call(whole: TestClient) -> None:
    """And no other."""
    asked = {"Access-Control-Request-Method": "POST"}
    allowed = whole.options("/health", headers={"Origin": "http://desk.example", **asked})
    assert allowed.headers["access-control-allow-origin"] == "http://desk.example"
    refused = whole.options("/health", headers={"Origin": "http://evil.example", **asked})
    assert "access-control-allow-origin" not in refused.headers


def test_requests_are_counted_by_their_routes(whole: TestClient) -> None:
    """A path that a client makes up is no new counter."""
    whole.get("/made-up-by-a-client")
    whole.get("/openapi.json")
    whole.get("/metrics")
    text = whole.get("/metrics").text
    assert 'route="/metrics"' in text
    assert "made-up" not in text
