"""What is exported, as OpenTelemetry's exporters take it. With `joining`, the only door to that library."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import uuid
from collections.abc import Iterable
from importlib import import_module
from typing import Any

from pipeline.telemetry.measures import MEASURES, SECONDS
from pipeline.telemetry.span import Item, Line, Number, Span, SpanContext
from pipeline.telemetry.switch import CONSOLE, GRPC, LOGS, METRICS, TRACES, Wanted

SCOPE = "evidence-chain"
QUIET = ("opentelemetry.exporter", "opentelemetry.sdk", "opentelemetry.attributes")
logger = logging.getLogger("pipeline.telemetry")


def open_sink(asked: Wanted) -> OpenTelemetry | None:
    """Return the exporters that are asked for; None, and a warning, when they cannot be made."""
    quiet()
    try:
        return OpenTelemetry(asked)
    except ImportError as error:
        logger.warning(
            "Telemetry is switched on, and %s is not installed, so nothing is exported: "
            "pip install 'evidence-chain[observability]'.", error.name,
        )  # fmt: skip
    except Exception as error:  # noqa: BLE001 - an endpoint that is none, a certificate that cannot be read
        if threading.main_thread().is_alive():  # else the process is at its end
            logger.warning("Telemetry is switched on, and cannot begin, so nothing is exported: %s", error)
    return None


def quiet() -> None:
    """Have the library's loggers say nothing: a collector that is away is no news of a run."""
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def resource() -> Any:
    """Return what the library says of this process: a name unless one is given, and an id of its own.

    `Resource.create` would ask threads of a pool, which is refused at the end of a process.
    """
    from importlib.metadata import version

    from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, OTELResourceDetector, Resource

    given = os.environ.get("OTEL_SERVICE_NAME") or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    name = {} if given else {SERVICE_NAME: SCOPE}
    library = {"name": "opentelemetry", "language": "python", "version": version("opentelemetry-sdk")}
    known = Resource({f"telemetry.sdk.{key}": value for key, value in library.items()})
    own = Resource({**name, SERVICE_INSTANCE_ID: str(uuid.uuid4())})
    return known.merge(OTELResourceDetector().detect()).merge(own)


class OpenTelemetry:
    """Sends items by the exporters of the library, each signal by its own."""

    def __init__(self, asked: Wanted) -> None:
        self.resource = resource()
        self.seconds = asked.seconds
        self.exporters: dict[str, Any] = {signal: exporter(signal, asked) for signal in asked.exporters}

    def send(self, items: list[Item]) -> bool:
        """Send some items; say whether all arrived that somebody takes."""
        ways = ((TRACES, self._spans, Span), (LOGS, self._lines, Line), (METRICS, self._numbers, Number))
        for signal, way, kind in ways:
            chosen = [item for item in items if isinstance(item, kind)]
            if chosen and signal in self.exporters and not _arrives(way, chosen, self.exporters[signal]):
                return False
        return True

    def close(self) -> None:
        """Let go of the connections of all exporters."""
        for each in self.exporters.values():
            with contextlib.suppress(Exception):
                each.shutdown()

    def _spans(self, spans: Iterable[Span], exporter: Any) -> Any:
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        from opentelemetry.trace import Link, Status, StatusCode

        scope = InstrumentationScope(SCOPE)
        made = [
            ReadableSpan(
                name=span.name,
                context=_context(span.context),
                parent=None if span.parent is None else _context(span.parent),
                resource=self.resource,
                attributes=dict(span.attributes),
                links=[Link(_context(link)) for link in span.links],
                status=Status(StatusCode.ERROR, span.error) if span.error else Status(StatusCode.OK),
                start_time=span.began,
                end_time=span.ended,
                instrumentation_scope=scope,
            )
            for span in spans
        ]
        return exporter.export(made)

    def _lines(self, lines: Iterable[Line], exporter: Any) -> Any:
        from opentelemetry._logs import LogRecord, SeverityNumber
        from opentelemetry.sdk._logs import LoggerProvider
        from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor

        kept: Any = _Kept()
        provider = LoggerProvider(self.resource, shutdown_on_exit=False)
        provider.add_log_record_processor(SimpleLogRecordProcessor(kept))
        emitter = provider.get_logger(SCOPE)
        for line in lines:
            record = LogRecord(
                timestamp=line.time,
                severity_text=logging.getLevelName(line.level),
                severity_number=SeverityNumber(SEVERITY.get(line.level, 9)),
                body=line.text,
                attributes=dict(line.attributes),
                context=None if line.context is None else within(line.context),
            )
            emitter.emit(record)
        return exporter.export(kept.records)

    def _numbers(self, numbers: Iterable[Number], exporter: Any) -> Any:
        """Send numbers: of each export its own sums, since each run is a series of its own."""
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader

        reader = InMemoryMetricReader()
        provider = MeterProvider([reader], resource=self.resource, shutdown_on_exit=False)
        meter = provider.get_meter(SCOPE)
        made: dict[str, Any] = {}
        for number in numbers:
            if number.measure not in made:
                made[number.measure] = _instrument(meter, number.measure)
            made[number.measure](number.value, dict(number.attributes))
        data = reader.get_metrics_data()
        return exporter.export(data, timeout_millis=self.seconds * 1000)


class _Kept:
    """Keeps records of logs, to send them in one request."""

    def __init__(self) -> None:
        self.records: list[Any] = []

    def export(self, batch: Iterable[Any]) -> None:
        """Keep some."""
        self.records += batch

    def shutdown(self) -> None:
        """Nothing is open."""


SEVERITY = {logging.DEBUG: 5, logging.INFO: 9, logging.WARNING: 13, logging.ERROR: 17, logging.CRITICAL: 21}


def _arrives(way: Any, chosen: list[Any], exporter: Any) -> bool:
    try:
        result = way(chosen, exporter)
    except Exception:  # noqa: BLE001 - whatever a library raises, no run is held up by it
        return False
    return getattr(result, "name", "SUCCESS") == "SUCCESS"


def _context(context: SpanContext, *, remote: bool = False) -> Any:
    from opentelemetry.trace import SpanContext as Context
    from opentelemetry.trace import TraceFlags

    flags = TraceFlags(TraceFlags.SAMPLED if context.sampled else TraceFlags.DEFAULT)
    return Context(int(context.trace_id, 16), int(context.span_id, 16), is_remote=remote, trace_flags=flags)


def within(context: SpanContext, *, remote: bool = False) -> Any:
    """Return the library's context in which a span is the current one."""
    from opentelemetry.trace import NonRecordingSpan, set_span_in_context

    return set_span_in_context(NonRecordingSpan(_context(context, remote=remote)))


def _instrument(meter: Any, name: str) -> Any:
    """Return what takes a number of a measure."""
    measure = MEASURES[name]
    told = {"unit": measure.unit, "description": measure.what}
    if measure.kind == "counter":
        return meter.create_counter(name, **told).add
    if measure.kind == "gauge":
        return meter.create_gauge(name, **told).set
    return meter.create_histogram(name, explicit_bucket_boundaries_advisory=SECONDS, **told).record


def exporter(signal: str, asked: Wanted) -> Any:
    """Return the exporter of a signal; it reads address, headers and certificates from the environment itself."""
    if asked.exporters[signal] == CONSOLE:
        return _console(signal)
    return _otlp(signal, grpc=asked.protocols[signal] == GRPC)(timeout=asked.seconds)


def _otlp(signal: str, *, grpc: bool) -> Any:
    """Return the class of an exporter; those of logs lie in a module that may still change its name."""
    package = f"opentelemetry.exporter.otlp.proto.{'grpc' if grpc else 'http'}"
    module, name = {
        TRACES: ("trace_exporter", "OTLPSpanExporter"),
        METRICS: ("metric_exporter", "OTLPMetricExporter"),
        LOGS: ("_log_exporter", "OTLPLogExporter"),
    }[signal]
    return getattr(import_module(f"{package}.{module}"), name)


def _console(signal: str) -> Any:
    import sys

    from opentelemetry.sdk._logs import export as logs
    from opentelemetry.sdk.metrics.export import ConsoleMetricExporter
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter

    named = getattr(logs, "ConsoleLogRecordExporter", None) or logs.ConsoleLogExporter
    return {TRACES: ConsoleSpanExporter, METRICS: ConsoleMetricExporter, LOGS: named}[signal](out=sys.stderr)
