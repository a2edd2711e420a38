"""What arrives at a real collector, over gRPC and HTTP; and what a collector that is away costs."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from io import StringIO
from typing import Any

import pytest

import pipeline
from pipeline.cli.edge import run_command
from pipeline.kernels import ForkServer
from pipeline.run import Run
from pipeline.rundir import RunDir, new_run_id
from pipeline.runner import RunOutcome, run_backtest
from pipeline.settings import Settings
from pipeline.spec import RunSpec
from pipeline.telemetry import Labels, RunLog, exporting, linked_to, number, step
from pipeline.telemetry.exporting import BATCH, forget
from pipeline.telemetry.measures import RUNS
from pipeline.telemetry.run_log import read_log
from pipeline.telemetry.terminal import listen
from tests.notebooks import ARTIFACTS, write_notebook
from tests.site.site_runs import make_runs, varied
from tests.telemetry.collector import Collected, Seen, refusing, silent

LONG = 60.0  # seconds; a live collector answers in milliseconds
ABOVE = f"00-{'ab' * 16}-{'cd' * 8}-01"
PARAMETERS = "run_id = None\ndata = None\nstrategy = None"
LABELS = {"experiment": "lab", "strategy": "ma_crossover", "symbol": "SPX"}


def run_cells(project: Settings, kernels: ForkServer | None, *cells: str) -> RunOutcome:
    write_notebook(project.root / "notebooks" / "n.ipynb", *cells, parameters=PARAMETERS)
    spec = RunSpec.from_mapping(
        {
            "run": {"notebook": "notebooks/n.ipynb", "experiment": "lab"},
            "data": {"symbol": "SPX"},
            "strategy": {"name": "ma_crossover"},
            "tracking": {"mode": "off"},
            "report": {"enabled": False},
        }
    )
    return run_backtest(spec, settings=project, kernels=kernels, check=False)


def arrived() -> None:
    """Wait until all that was exported has arrived."""
    out = exporting()
    assert out is not None
    assert out.flush(LONG)


def named(found: Collected, name: str) -> list[Seen]:
    return [span for span in found.spans if span.name == name]


def test_a_run_arrives_whole(collector: Collected, project: Settings, server: ForkServer | None) -> None:
    """One trace: the run, its stages, its cells and what its kernel noted; its log; its numbers; all labelled."""
    cells = ("import pipeline\nrun = pipeline.start_run(run_id)\nbars = run.load_data()", ARTIFACTS)
    outcome = run_cells(project, server, *cells)
    arrived()
    assert outcome.error is None
    spans = collector.spans
    assert len({span.trace_id for span in spans}) == 1
    [root] = named(collector, "run")
    assert (root.parent, root.attributes["status"]) == ("", "FINISHED")
    stages = {span.name: span for span in spans if span.attributes["kind"] == "stage"}
    assert {*stages} == {"open", "tracking", "notebook", "artifacts", "seal", "tracking_end"}
    assert {span.parent for span in stages.values()} == {root.span_id}
    found = {span.attributes["index"]: span for span in named(collector, "cell")}
    assert {*found} == {0, -1, 1, 2}
    assert {span.parent for span in found.values()} == {stages["notebook"].span_id}
    [data] = named(collector, "data")
    assert (data.parent, data.attributes["in"]) == (found[1].span_id, "kernel")
    for what in (*spans, *collector.lines):
        assert {**what.attributes, **LABELS, "run_id": outcome.run.run_id} == what.attributes
        assert what.attributes["status"] in {"RUNNING", "FINISHED"}
        assert what.resource["service.name"] == "evidence-chain"
    assert {line.trace_id for line in collector.lines} == {root.trace_id}
    assert "stage notebook took" in " ".join(line.what.body.string_value for line in collector.lines)
    counted = {name: labels for name, _, labels in collector.numbers}
    assert {"evidence.runs", "evidence.run.duration", "evidence.stage.duration"} <= {*counted}
    assert all({**labels, **LABELS, "run_id": outcome.run.run_id} == labels for labels in counted.values())
    assert counted["evidence.runs"]["status"] == "FINISHED"


def test_a_cell_that_fails_says_why(http: Collected, project: Settings, server: ForkServer | None) -> None:
    """On its span, its stage, the run and in the log; the numbers say FAILED. No secret is among it."""
    os.environ["DB_PASSWORD"] = "hunter2-hunter2"
    try:
        run_cells(project, server, "raise ValueError('no login with hunter2-hunter2')")
        arrived()
    finally:
        del os.environ["DB_PASSWORD"]
    failed = {span.name: span.what.status for span in http.spans if span.what.status.code == 2}
    assert {*failed} == {"cell", "notebook", "run"}
    assert failed["cell"].message == "ValueError: no login with ***"
    errors = [line for line in http.lines if line.what.severity_text == "ERROR"]
    assert [line.attributes["status"] for line in errors] == ["FAILED"]
    assert {labels["status"] for name, _, labels in http.numbers if name == "evidence.runs"} == {"FAILED"}
    assert "evidence.cell.errors" in {name for name, _, _ in http.numbers}
    sent = b"".join(request.SerializeToString() for request in (*http.traces, *http.logs, *http.metrics))
    assert b"hunter2" not in sent


OWN = """
import random
before = random.random()
from opentelemetry import trace
with trace.get_tracer("mine").start_as_current_span("signals"):
    with trace.get_tracer("mine").start_as_current_span("deeper"):
        pass
print("drawn", before, random.random())
"""
PLAIN = "import random\nprint('drawn', random.random(), random.random())"


def drawn(run: Run) -> str:
    assert run.notebook is not None
    texts = [str(output.get("text", "")) for cell in run.notebook.cells for output in cell.get("outputs", [])]
    return next(text for text in texts if text.startswith("drawn"))


@pytest.mark.slow
@pytest.mark.parametrize("fresh", [True, False])
def test_spans_of_a_notebook_join(http: Collected, project: Settings, server: ForkServer | None, fresh: bool) -> None:
    """Below the notebook's stage, with the run's labels, once, from a process of its own; its random numbers are as
    without."""
    kernels = None if fresh else server
    outcome = run_cells(project, kernels, OWN, ARTIFACTS)
    arrived()
    [signals], [deeper], [notebook] = (named(http, name) for name in ("signals", "deeper", "notebook"))
    assert (signals.trace_id, signals.parent) == (notebook.trace_id, notebook.span_id)
    assert deeper.parent == signals.span_id
    assert signals.attributes == {**LABELS, "run_id": outcome.run.run_id}
    assert signals.resource["service.instance.id"] != notebook.resource["service.instance.id"]
    assert {span.name for span in http.spans if span.resource == signals.resource} == {"signals", "deeper"}
    plain = run_cells(project, kernels, PLAIN, ARTIFACTS)
    assert drawn(outcome.run) == drawn(plain.run)


@pytest.mark.slow
def test_a_run_joins_the_trace_it_was_started_in(
    http: Collected, project: Settings, server: ForkServer | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TRACEPARENT is what a pipeline of somebody else hands over; a trace that is not kept is not sent."""
    monkeypatch.setenv("TRACEPARENT", ABOVE)
    run_cells(project, server, ARTIFACTS)
    monkeypatch.setenv("TRACEPARENT", ABOVE[:-2] + "00")
    run_cells(project, server, ARTIFACTS)
    arrived()
    [root] = named(http, "run")
    assert (root.trace_id, root.parent) == ("ab" * 16, "cd" * 8)
    assert len([name for name, _, _ in http.numbers if name == "evidence.runs"]) == 2


def test_a_trial_is_linked_to_its_sweep(http: Collected, project: Settings, server: ForkServer | None) -> None:
    """It is a trace of its own, which names the other one."""
    with linked_to(ABOVE):
        run_cells(project, server, ARTIFACTS)
    arrived()
    [root] = named(http, "run")
    assert root.parent == ""
    assert [(link.trace_id.hex(), link.span_id.hex()) for link in root.what.links] == [("ab" * 16, "cd" * 8)]
    assert not [span for span in http.spans if span.name != "run" and span.what.links]


@pytest.mark.slow
def test_a_sweep_shows_its_trials(http: Collected, project: Settings) -> None:
    """Those in process lie within its search, with their numbers; they are counted by their state."""
    from tests.sweep.sweeps import search, spec

    outcome = search(project, spec(sweep={"sampler": "random", "trials": 5}))
    arrived()
    [root], [stage] = named(http, "sweep"), named(http, "search")
    trials = named(http, "trial")
    assert {span.attributes["trial"] for span in trials} == {*range(5)}
    assert {(span.trace_id, span.parent) for span in trials} == {(root.trace_id, stage.span_id)}
    assert {span.attributes["run_id"] for span in trials} == {outcome.run.run_id}
    counted = [point for name, point, _ in http.numbers if name == "evidence.trials"]
    assert sum(point.as_int + int(point.as_double) for point in counted) == 5


@pytest.mark.slow
def test_what_is_done_to_runs_arrives_too(http: Collected, project: Settings, capsys: Any) -> None:
    """Verification, report and website, with the run they are about."""
    runs = make_runs(project.results, [varied(number, bars=30) for number in range(2)])
    assert run_command(["verify", runs[0].run_id, "--json"]) in {0, 3}
    assert run_command(["render", runs[1].run_id, "--json"]) == 0
    assert run_command(["site", "build", "--jobs", "1", "--json"]) == 0
    arrived()
    assert runs[0].run_id in {span.attributes.get("run_id") for span in named(http, "verify")}
    [render] = named(http, "render")
    assert render.attributes["run_id"] == runs[1].run_id
    assert len(named(http, "site build")) == 1
    [seconds] = [point for name, point, _ in http.numbers if name == "evidence.render.duration"]
    assert seconds.count == 1
    assert not runs[1].late_log.exists()


def test_more_than_one_batch_arrives(collector: Collected) -> None:
    """In the order in which it ended."""
    for place in range(2 * BATCH + 1):
        with step("many", labels=Labels("x"), place=place):
            pass
        number(RUNS, 1, Labels("x"))
    arrived()
    assert [span.attributes["place"] for span in named(collector, "many")] == [*range(2 * BATCH + 1)]
    assert sum(point.as_int + int(point.as_double) for name, point, _ in collector.numbers) == 2 * BATCH + 1


@pytest.fixture(params=["grpc", "http/protobuf"])
def protocol(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", request.param)
    return str(request.param)


Away = Callable[[], AbstractContextManager[str]]


@pytest.mark.parametrize("away", [refusing, silent])
@pytest.mark.slow
def test_a_collector_that_is_away_is_no_news(
    away: Away, protocol: str, project: Settings, server: ForkServer | None, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    """The run ends well, warns of nothing that it would not warn of without, and nothing is printed."""
    with away() as address:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "200")
        forget()
        outcome = run_cells(project, server, ARTIFACTS)
        out = exporting()
        assert out is not None
        assert not out.flush(LONG)
        assert out.failed
        assert out.flush(0.0) is False  # and is not waited for again
        forget()
    assert outcome.error is None
    assert [text for text in outcome.warnings if "work tree" not in text] == []
    assert outcome.run.verify().ok
    assert capfd.readouterr() == ("", "")


def test_an_end_does_not_wait_for_an_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one is under way to a collector that says nothing, the process goes on after the time it grants."""
    with silent() as address:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "10000")
        forget()
        with step("said"):
            pass
        out = exporting()
        assert out is not None
        out.flush(0.3)
        assert not out.failed  # it is still tried
        assert all(thread.daemon for thread in threading.enumerate() if thread.name == "evidence-telemetry")
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")
    monkeypatch.setattr(out, "failed", True)  # the test does not wait either
    forget()


@pytest.mark.slow
def test_an_address_that_is_none_is_one_warning(
    project: Settings, server: ForkServer | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is exported does not decide what is run."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "nowhere at all")
    forget()
    outcome = run_cells(project, server, ARTIFACTS)
    forget()
    assert outcome.error is None


@pytest.mark.slow
def test_the_log_names_the_trace(http: Collected, project: Settings, server: ForkServer | None) -> None:
    """So that one leads to the other; without export there is no id in it."""
    outcome = run_cells(project, server, ARTIFACTS)
    arrived()
    told = [*read_log(outcome.run.dir.log)]
    [root] = named(http, "run")
    assert {line["trace_id"] for line in told if "step" in line} == {root.trace_id}
    assert run_command(["trace", outcome.run.run_id, "--json"]) == 0
    http_environment = dict(http.environment)
    for name in http_environment:
        os.environ.pop(name)
    forget()
    plain = run_cells(project, server, ARTIFACTS)
    assert "trace_id" not in json.dumps([*read_log(plain.run.dir.log)])


@pytest.mark.slow
def test_a_run_by_hand_arrives(http: Collected, project: Settings) -> None:
    """As one that was executed does, with what its result says it is about."""
    run = pipeline.start_run(tracking={"mode": "off"}, settings=project)
    bars = run.load_data()
    run.save(run.backtest(bars))
    run.finish()
    arrived()
    [root] = named(http, "run")
    assert (root.attributes["run_id"], root.attributes["status"]) == (run.run_id, "FINISHED")
    assert root.attributes["strategy"]
    assert root.attributes["symbol"]
    assert {"open", "data"} <= {span.name for span in http.spans}


def test_the_log_is_printed_for_people_where_it_is_asked_for(project: Settings) -> None:
    """Time, level, run, what happened; no code that moves the cursor, no secret of a URL."""
    told = StringIO()
    handler = listen({"EVIDENCE_LOG": "info"}, told)
    assert handler is not None
    log = logging.getLogger("pipeline")
    try:
        run = RunDir.create(project.results, new_run_id())
        RunLog(run, Labels(run.run_id)).write(logging.INFO, "at \x1b[31mhttps://me:secret@host/ it was")
        RunLog(run, Labels(run.run_id)).write(logging.DEBUG, "not this")
    finally:
        log.removeHandler(handler)
        log.setLevel(logging.NOTSET)
    [line] = told.getvalue().splitlines()
    assert line.split()[1:3] == ["INFO", run.run_id[:8]]
    assert "https://me:***@host/ it was" in line
    assert line.isprintable()
    assert listen({}) is None
