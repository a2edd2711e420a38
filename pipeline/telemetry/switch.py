"""Whether anything is exported, and how: the standard variables of OpenTelemetry, and one of our own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ENABLED = "EVIDENCE_OTEL_ENABLED"
TRACES, METRICS, LOGS = SIGNALS = ("traces", "metrics", "logs")
OTLP, CONSOLE = "otlp", "console"
GRPC, HTTP = "grpc", "http/protobuf"
YES, NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
DEFAULT_SECONDS, LONGEST_SECONDS = 1.0, 10.0


@dataclass(frozen=True)
class Wanted:
    """Which signals go out by which exporter (`otlp`, `console`) and protocol, and how a trace is chosen.

    `ratio` is the part of new traces that is kept,
    `seconds` is what one export may take.
    """

    exporters: Mapping[str, str]
    protocols: Mapping[str, str]
    ratio: float = 1.0
    seconds: float = DEFAULT_SECONDS

    def keeps(self, trace_id: str) -> bool:
        """Say whether a new trace is kept, as OpenTelemetry's sampler by ratio does: by the id."""
        return int(trace_id[16:], 16) < round(self.ratio * 2**64)


def wanted(environ: Mapping[str, str]) -> Wanted | None:
    """Return what is to be exported, None for nothing, which is the default.

    OTEL_SDK_DISABLED and EVIDENCE_OTEL_ENABLED=0 switch off. EVIDENCE_OTEL_ENABLED=1 and OTEL_EXPORTER_OTLP_ENDPOINT
    switch all signals on, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT and OTEL_TRACES_EXPORTER (METRICS, LOGS) one of them.
    """
    ours = environ.get(ENABLED, "").strip().lower()
    if ours in NO or environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    every = ours in YES or bool(environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"))
    chosen = {signal: _exporter(environ, signal, every=every) for signal in SIGNALS}
    exporters = {signal: name for signal, name in chosen.items() if name is not None}
    if not exporters:
        return None
    protocols = {signal: _protocol(environ, signal) for signal in exporters}
    return Wanted(exporters, protocols, _ratio(environ), _seconds(environ))


def _exporter(environ: Mapping[str, str], signal: str, *, every: bool) -> str | None:
    name = environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip().lower()
    if name:
        return name if name in {OTLP, CONSOLE} else None
    return OTLP if every or environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT") else None


def _protocol(environ: Mapping[str, str], signal: str) -> str:
    of_all = environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "")
    name = environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL", of_all).strip().lower()
    return GRPC if name == GRPC else HTTP


def _ratio(environ: Mapping[str, str]) -> float:
    """Return the part of new traces that OTEL_TRACES_SAMPLER keeps; all for what is not known."""
    name = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower().removeprefix("parentbased_")
    if name == "always_off":
        return 0.0
    if name != "traceidratio":
        return 1.0
    return min(1.0, max(0.0, _number(environ.get("OTEL_TRACES_SAMPLER_ARG"), 1.0)))


def _seconds(environ: Mapping[str, str]) -> float:
    """Return what one export may take: OTEL_EXPORTER_OTLP_TIMEOUT, milliseconds as the specification says."""
    milliseconds = _number(environ.get("OTEL_EXPORTER_OTLP_TIMEOUT"), DEFAULT_SECONDS * 1000)
    return min(LONGEST_SECONDS, max(0.1, milliseconds / 1000))


def _number(text: str | None, default: float) -> float:
    try:
        found = float(text or default)
    except ValueError:
        return default
    return found if found == found and abs(found) < 1e12 else default  # noqa: PLR0124 - NaN is not itself
