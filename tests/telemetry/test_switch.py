"""What switches export on, and what of it; what a trace is called elsewhere."""

from __future__ import annotations

import sys
from subprocess import run

import pytest

from pipeline.telemetry.measures import MEASURES
from pipeline.telemetry.span import SpanContext
from pipeline.telemetry.switch import wanted

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
ALL = {"traces": "otlp", "metrics": "otlp", "logs": "otlp"}


@pytest.mark.parametrize(
    ("environ", "exporters"),
    [
        ({}, None),
        ({"EVIDENCE_OTEL_ENABLED": "1"}, ALL),
        (ENDPOINT, ALL),
        ({**ENDPOINT, "EVIDENCE_OTEL_ENABLED": "0"}, None),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "true"}, None),
        ({"EVIDENCE_OTEL_ENABLED": "1", "OTEL_SDK_DISABLED": "TRUE"}, None),
        ({**ENDPOINT, "OTEL_LOGS_EXPORTER": "none"}, {"traces": "otlp", "metrics": "otlp"}),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, {"traces": "otlp"}),
        ({"OTEL_TRACES_EXPORTER": "console"}, {"traces": "console"}),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, None),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://127.0.0.1:9"}, {"metrics": "otlp"}),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}, None),
    ],
)
def test_the_standard_variables_switch_it(environ: dict[str, str], exporters: dict[str, str] | None) -> None:
    """Off by default, on by an endpoint or an exporter, each signal by itself; off wins."""
    found = wanted(environ)
    assert (None if found is None else dict(found.exporters)) == exporters


@pytest.mark.parametrize(
    ("environ", "protocol", "seconds", "ratio"),
    [
        ({}, "http/protobuf", 1.0, 1.0),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TIMEOUT": "2500"}, "grpc", 2.5, 1.0),
        ({"OTEL_EXPORTER_OTLP_TIMEOUT": "60000", "OTEL_TRACES_SAMPLER": "always_off"}, "http/protobuf", 10.0, 0.0),
        ({"OTEL_EXPORTER_OTLP_TIMEOUT": "nan", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"}, "grpc", 1.0, 1.0),
        (
            {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"},
            "http/protobuf", 1.0, 0.25,
        ),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "often"}, "http/protobuf", 1.0, 1.0),
    ],
)  # fmt: skip
def test_how_it_is_sent(environ: dict[str, str], protocol: str, seconds: float, ratio: float) -> None:
    """Protocol, time of an export and part of the traces are as the variables say; what is no number is passed over."""
    found = wanted({**ENDPOINT, **environ})
    assert found is not None
    assert (found.protocols["traces"], found.seconds, found.ratio) == (protocol, seconds, ratio)


def test_a_trace_is_chosen_as_the_library_does() -> None:
    """By its id, so that every process of a trace chooses alike."""
    from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

    found = wanted({**ENDPOINT, "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.3"})
    assert found is not None
    sampler = TraceIdRatioBased(0.3)
    for context in [SpanContext.new(None) for _ in range(200)]:
        theirs = sampler.should_sample(None, int(context.trace_id, 16), "run").decision
        assert found.keeps(context.trace_id) == (theirs is Decision.RECORD_AND_SAMPLE)


@pytest.mark.parametrize("flags", ["01", "03", "00"])
def test_a_context_is_read_as_it_is_written(flags: str) -> None:
    """Also one with more flags than we know."""
    text = f"00-{'ab' * 16}-{'cd' * 8}-{flags}"
    found = SpanContext.parse(text)
    assert found == SpanContext("ab" * 16, "cd" * 8, sampled=flags != "00")
    assert SpanContext.parse(found.traceparent) == found
    below = SpanContext.new(found)
    assert (below.trace_id, below.sampled) == (found.trace_id, found.sampled)
    assert below.span_id != found.span_id


@pytest.mark.parametrize("text", [None, "", "00", f"00-{'0' * 32}-{'cd' * 8}-01", f"00-{'zz' * 16}-{'cd' * 8}-01"])
def test_what_is_no_context_is_none(text: str | None) -> None:
    """A variable that holds anything else begins a new trace."""
    assert SpanContext.parse(text) is None


def test_the_names_of_prometheus() -> None:
    """As OpenTelemetry says how names and units are written there."""
    names = [name for measure in MEASURES.values() for name in measure.prometheus]
    assert "evidence_runs_total" in names
    assert "evidence_run_duration_seconds_bucket" in names
    assert "evidence_tracking_pending" in names


OFF = """
import sys, threading
import pipeline.telemetry as telemetry
with telemetry.step("a"):
    pass
assert telemetry.traceparent() == "" and telemetry.exporting() is None
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
assert threading.active_count() == 1
"""
MISSING = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "opentelemetry":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
import pipeline.telemetry as telemetry
for name in ("a", "b"):
    with telemetry.step(name):
        pass
print("done")
"""


def test_off_is_free() -> None:
    """Nothing is imported, no thread is started."""
    assert run([sys.executable, "-c", OFF], check=False).returncode == 0


def test_a_missing_extra_is_one_warning() -> None:
    """What is asked for goes on."""
    environ = {"EVIDENCE_OTEL_ENABLED": "1"}
    done = run([sys.executable, "-c", MISSING], check=False, capture_output=True, text=True, env=environ)
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert done.stderr.count("\n") == 1
    assert "pip install 'evidence-chain[observability]'" in done.stderr
