"""Faults between the run and a real `mlflow server`: a proxy that refuses, fails, cuts and waits, call by call."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from test_session import execute
from tracking_checks import assert_mlflow_equals_journal

from pipeline.rundir import RunDir
from pipeline.settings import Settings
from pipeline.tracking import RunTracking, pending, sync_run
from pipeline.tracking.outbox import Home
from pipeline.tracking.store import Store

pytestmark = [pytest.mark.server, pytest.mark.slow]
Opener = Callable[..., tuple[RunDir, RunTracking]]
FAULTS = ("refuse", "500", "500 after", "cut after", "slow after")


class Proxy:
    """Forwards to a server; the `fail_at`-th request meets a fault, before or after it was forwarded."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.fault = ""
        self.fail_at = 0
        self.seen = 0
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except OSError:
                    self.close_connection = True

            def _any(self) -> None:
                proxy.handle(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _any  # noqa: N815 - http.server's names

            def log_message(self, *arguments: object) -> None:
                """Be quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def arm(self, fault: str, fail_at: int) -> None:
        """Start counting anew; fail_at 0 forwards everything."""
        with self._lock:
            self.fault, self.fail_at, self.seen = fault, fail_at, 0

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        with self._lock:
            self.seen += 1
            fault = self.fault if self.seen == self.fail_at else ""
        request.close_connection = True
        if fault == "refuse":
            return
        if fault == "500":
            request.send_error(500)
            return
        status, headers, answer = self._forward(request, body)
        if fault == "cut after":
            return
        if fault == "slow after":
            time.sleep(1.6)
            return
        if fault == "500 after":
            request.send_error(500)
            return
        request.send_response(status)
        for name, value in headers:
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                request.send_header(name, value)
        request.send_header("Content-Length", str(len(answer)))
        request.end_headers()
        request.wfile.write(answer)

    def _forward(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        headers = {k: v for k, v in request.headers.items() if k.lower() not in ("host", "connection")}
        asked = urllib.request.Request(f"{self.target}{request.path}", body or None, headers, method=request.command)
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:
                return answer.status, answer.getheaders(), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, list(error.headers.items()), error.read()


@pytest.fixture
def proxy(sqlite_server: str) -> Iterator[Proxy]:
    made = Proxy(sqlite_server)
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_a_run_over_http_arrives_complete(open_run: Opener, sqlite_server: str, tmp_path: Path) -> None:
    """Without a fault; artifacts go through the server too, and the run has an address."""
    run, tracking = open_run(sqlite_server)
    execute(run, tracking)
    assert tracking.warnings == []
    assert_mlflow_equals_journal(Home.of_run(run), Store(sqlite_server), tmp_path / "read")
    info = tracking.info
    assert info.run_url == f"{sqlite_server}/#/experiments/{info.experiment_id}/runs/{info.mlflow_run_id}"


@pytest.mark.timeout(900)
def test_a_fault_at_every_request(
    proxy: Proxy, open_run: Opener, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Every request of a run, in five ways: the run ends in time, and after sync MLflow equals the journal."""
    monkeypatch.setenv("EVIDENCE_TRACKING_TIMEOUT", "1")
    proxy.arm("", 0)
    execute(*open_run(proxy.address))
    requests = proxy.seen
    cases = 0
    for fail_at in range(1, requests + 1):
        for fault in FAULTS:
            proxy.arm(fault, fail_at)
            began = time.monotonic()
            run, tracking = open_run(proxy.address)
            execute(run, tracking)
            took = time.monotonic() - began
            assert took < 20, (fault, fail_at, took)
            proxy.arm("", 0)
            with monkeypatch.context() as patient:
                patient.delenv("EVIDENCE_TRACKING_TIMEOUT")
                result = sync_run(run, settings)
                assert result.error is None, (fault, fail_at, result)
                assert pending(run) == 0
                assert_mlflow_equals_journal(Home.of_run(run), Store(proxy.address), tmp_path / "read")
            cases += 1
    assert cases == requests * len(FAULTS) >= 80
    print(f"{cases} cases over {requests} requests")


def test_a_server_that_is_gone_holds_up_nobody(open_run: Opener, proxy: Proxy) -> None:
    """Nobody listens any more: a whole run costs less than a second of waiting."""
    proxy.server.shutdown()
    proxy.server.server_close()
    began = time.monotonic()
    run, tracking = open_run(proxy.address)
    execute(run, tracking)
    assert time.monotonic() - began < 3
    assert pending(run) > 0
