"""A collector in this process: the services of OpenTelemetry's protocol over gRPC and over HTTP, on a free port."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc as logs_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as traces_grpc


@dataclass
class Collected:
    """What has arrived, as requests of the protocol, and the environment that sends it here."""

    environment: dict[str, str]
    traces: list[Any] = field(default_factory=list)
    metrics: list[Any] = field(default_factory=list)
    logs: list[Any] = field(default_factory=list)

    @property
    def spans(self) -> list[Seen]:
        return [
            Seen(span, attributes(span), attributes(part.resource))
            for request in [*self.traces]
            for part in request.resource_spans
            for scope in part.scope_spans
            for span in scope.spans
        ]

    @property
    def lines(self) -> list[Seen]:
        return [
            Seen(record, attributes(record), attributes(part.resource))
            for request in [*self.logs]
            for part in request.resource_logs
            for scope in part.scope_logs
            for record in scope.log_records
        ]

    @property
    def numbers(self) -> list[tuple[str, Any, dict[str, Any]]]:
        return [
            (metric.name, point, attributes(point))
            for request in [*self.metrics]
            for part in request.resource_metrics
            for scope in part.scope_metrics
            for metric in scope.metrics
            for point in getattr(metric, metric.WhichOneof("data")).data_points
        ]


@dataclass(frozen=True)
class Seen:
    """A span or a record of a log, with its attributes and those of the process that sent it."""

    what: Any
    attributes: dict[str, Any]
    resource: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.what.name)

    @property
    def span_id(self) -> str:
        return str(self.what.span_id.hex())

    @property
    def trace_id(self) -> str:
        return str(self.what.trace_id.hex())

    @property
    def parent(self) -> str:
        return str(self.what.parent_span_id.hex())


def attributes(what: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value") for pair in what.attributes}


@contextmanager
def grpc_collector() -> Iterator[Collected]:
    """Collect over gRPC."""
    server = grpc.server(ThreadPoolExecutor(4))
    port = server.add_insecure_port("127.0.0.1:0")
    found = Collected(
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        }
    )

    class Traces(traces_grpc.TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
            found.traces.append(request)
            return traces.ExportTraceServiceResponse()

    class Metrics(metrics_grpc.MetricsServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
            found.metrics.append(request)
            return metrics.ExportMetricsServiceResponse()

    class Logs(logs_grpc.LogsServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
            found.logs.append(request)
            return logs.ExportLogsServiceResponse()

    traces_grpc.add_TraceServiceServicer_to_server(Traces(), server)
    metrics_grpc.add_MetricsServiceServicer_to_server(Metrics(), server)
    logs_grpc.add_LogsServiceServicer_to_server(Logs(), server)
    server.start()
    try:
        yield found
    finally:
        server.stop(None).wait()


@contextmanager
def http_collector() -> Iterator[Collected]:
    """Collect over HTTP: POST /v1/traces, /v1/metrics, /v1/logs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            kind, place = {
                "/v1/traces": (traces.ExportTraceServiceRequest, found.traces),
                "/v1/metrics": (metrics.ExportMetricsServiceRequest, found.metrics),
                "/v1/logs": (logs.ExportLogsServiceRequest, found.logs),
            }[self.path]
            place.append(kind.FromString(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found = Collected(
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{server.server_address[1]}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        }
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


COLLECTORS = {"grpc": grpc_collector, "http/protobuf": http_collector}


@contextmanager
def refusing() -> Iterator[str]:
    """Yield an address where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: a connection is refused, and nobody else gets the port
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@contextmanager
def silent() -> Iterator[str]:
    """Yield an address where connections are taken and nothing is ever said."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
