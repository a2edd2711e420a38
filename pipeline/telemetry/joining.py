"""Spans that a notebook makes itself join the trace of its run. With `sink`, the only door to OpenTelemetry.

The library asks for its tracer provider by name when a notebook uses it first: a kernel's environment names
`tracer_provider`, an entry point. A notebook that makes no spans pays nothing, one that sets a provider has that.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import threading
from typing import TYPE_CHECKING, Any

from pipeline.telemetry.exporting import LAST_WORD
from pipeline.telemetry.sink import exporter, quiet, resource
from pipeline.telemetry.span import TRACEPARENT, SpanContext
from pipeline.telemetry.step import TRACED, traceparent
from pipeline.telemetry.switch import TRACES, wanted

if TYPE_CHECKING:
    from pipeline.telemetry.run_log import Labels

PROVIDER = "OTEL_PYTHON_TRACER_PROVIDER"
ENTRY_POINT = "evidence-chain"


def kernel_environment(labels: Labels) -> dict[str, str]:
    """Return what hands the step that is going on, and the labels of its run, to a kernel; nothing where none is."""
    within = traceparent()
    if not within:
        return {}
    told = {TRACED: json.dumps(labels.known()), TRACEPARENT: within}
    return told if PROVIDER in os.environ or not _is_installed() else {**told, PROVIDER: ENTRY_POINT}


def _is_installed() -> bool:
    """Say whether the library would find the entry point: it raises when it does not."""
    from importlib.metadata import entry_points

    return bool(entry_points(group="opentelemetry_tracer_provider", name=ENTRY_POINT))


def tracer_provider() -> Any:
    """Return the provider of a kernel's spans: below the run's own, with its labels, sent by a thread."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    quiet()
    asked, above = wanted(os.environ), SpanContext.parse(os.environ.get(TRACEPARENT))
    made = TracerProvider(resource=resource(), shutdown_on_exit=False, id_generator=_ids())
    vars(made)["get_tracer"] = functools.partial(_joined, made.get_tracer, above)
    made.add_span_processor(_labelling(json.loads(os.environ.get(TRACED) or "{}")))
    if asked is not None and TRACES in asked.exporters:
        made.add_span_processor(BatchSpanProcessor(exporter(TRACES, asked)))
        atexit.register(_end, made)
    return made


def _end(provider: Any) -> None:
    """Send what is left, and wait for it only so long."""
    thread = threading.Thread(target=provider.shutdown, daemon=True)
    thread.start()
    thread.join(LAST_WORD)


def _joined(get_tracer: Any, above: SpanContext | None, *args: Any, **kwargs: Any) -> Any:
    """Return a tracer whose spans lie below the run's where they lie in none."""
    tracer = get_tracer(*args, **kwargs)
    if above is not None:
        tracer.start_span = functools.partial(_start, tracer.start_span, above)
    return tracer


def _start(start_span: Any, above: SpanContext, name: str, context: Any = None, *args: Any, **kwargs: Any) -> Any:
    from opentelemetry.trace import get_current_span

    from pipeline.telemetry.sink import within

    if not get_current_span(context).get_span_context().is_valid:
        context = within(above, remote=True)
    return start_span(name, context, *args, **kwargs)


def _labelling(labels: dict[str, str]) -> Any:
    from opentelemetry.sdk.trace import SpanProcessor

    class Labelling(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:  # noqa: ARG002
            span.set_attributes(labels)

    return Labelling()


def _ids() -> Any:
    """Return what makes ids: from the system, as the random numbers of a kernel are seeded, and the notebook's."""
    from opentelemetry.sdk.trace.id_generator import IdGenerator

    class FromTheSystem(IdGenerator):
        def generate_span_id(self) -> int:
            return int.from_bytes(os.urandom(8)) or 1

        def generate_trace_id(self) -> int:
            return int.from_bytes(os.urandom(16)) or 1

    return FromTheSystem()
