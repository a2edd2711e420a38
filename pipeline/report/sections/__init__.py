"""The parts of the report: functions from the facts of a run to blocks."""

from pipeline.report.sections import (
    data,
    failure,
    folds,
    own,
    performance,
    portfolio,
    provenance,
    result,
    risk,
    sensitivity,
    summary,
    timeline,
    trades,
    trust,
)

__all__ = [
    "data",
    "failure",
    "folds",
    "own",
    "performance",
    "portfolio",
    "provenance",
    "result",
    "risk",
    "sensitivity",
    "summary",
    "timeline",
    "trades",
    "trust",
]
