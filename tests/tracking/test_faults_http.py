"""Faults between the run and a real `mlflow server`: a proxy that refuses, fails, cuts and waits, call by call."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import mlflow
import pytest
from test_run_tracking import execute, seal
from tracking_checks import assert_mlflow_equals_journal

from pipeline.rundir import RunDir
from pipeline.settings import Settings
from pipeline.tracking import RunTracking, kernel_tracker, pending, sync_run
from pipeline.tracking.children import children_of
from pipeline.tracking.journal import read_journal
from pipeline.tracking.load import load_of
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
            dead = self.fault.startswith("dies") and self.fail_at and self.seen > self.fail_at
            fault = "refuse" if dead else self.fault.removeprefix("dies ") if self.seen == self.fail_at else ""
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


def raw_notebook() -> None:
    """Raw calls, one after another, and a nested run."""
    mlflow.log_param("raw", 1)
    for step in range(3):
        mlflow.log_metric("loss", 1 / (step + 1), step=step)
    mlflow.log_text("raw", "raw.txt")
    with mlflow.start_run(nested=True, run_name="child"):
        mlflow.log_metrics({"a": 1.0, "b": 2.0}, step=4)
        mlflow.log_text("inner", "inner.txt")
    mlflow.set_tag("last", "raw")


def run_raw(open_run: Opener, uri: str) -> RunDir:
    """Execute a run with a raw notebook in a process of its own; its exit status says whether a cell failed."""
    results = multiprocessing.get_context("fork").Queue()

    def work() -> None:
        warnings.simplefilter("ignore")
        run, tracking = open_run(uri)
        os.environ.update(tracking.environment())
        os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
        kernel_tracker(run)
        raw_notebook()
        mlflow.end_run()
        tracking.deliver()
        tracking.finish("FINISHED", artifacts=seal(run))
        results.put(run)

    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    run: RunDir = results.get(timeout=60)
    child.join()
    return run


@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("fault", ["refuse", "500 after", "cut after"])
def test_a_server_that_dies_under_raw_calls(
    proxy: Proxy, open_run: Opener, settings: Settings, tmp_path: Path, fault: str
) -> None:
    """Dead from some request on, the first of them perhaps obeyed: no cell fails; after sync all is there, once."""
    proxy.arm("", 0)
    run_raw(open_run, proxy.address)
    requests, cases = proxy.seen, 0
    for fail_at in range(4, requests, 2):
        proxy.arm(f"dies {fault}", fail_at)
        run = run_raw(open_run, proxy.address)
        proxy.arm("", 0)
        result = sync_run(run, settings)
        assert result.error is None, (fail_at, result)
        load = assert_mlflow_equals_journal(Home.of_run(run), Store(proxy.address), tmp_path / "read")
        assert len(load.points) == 3
        assert load.tags["last"] == "raw"
        assert (load.params["raw"], set(load.files) >= {"raw.txt"}) == ("1", True)
        children = children_of(read_journal(Home.of_run(run).journal).entries)
        assert [len(load_of(own).points) for own in children.values()] == [2]
        cases += 1
    assert cases >= 8
    print(f"{cases} of {requests} requests")
