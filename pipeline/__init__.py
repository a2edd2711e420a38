"""evidence-chain: turn a trading backtest into evidence another person can trust.

The public names are imported when they are first used, so that `import pipeline` stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.errors import EvidenceError
    from pipeline.listing.query import list_runs
    from pipeline.run import Run, compare, load_run
    from pipeline.run_record import RunRecord
    from pipeline.runner import RunOutcome, run_backtest
    from pipeline.session import NotebookRun
    from pipeline.settings import Settings
    from pipeline.spec import RunSpec, read_spec
    from pipeline.start import start_run
    from pipeline.verbs import build_site, explain, make_bundle, recompute, render_report, replay_run, run_sweep, verify

_HOMES = {
    "EvidenceError": "pipeline.errors",
    "NotebookRun": "pipeline.session",
    "Run": "pipeline.run",
    "RunOutcome": "pipeline.runner",
    "RunRecord": "pipeline.run_record",
    "RunSpec": "pipeline.spec",
    "Settings": "pipeline.settings",
    "build_site": "pipeline.verbs",
    "compare": "pipeline.run",
    "explain": "pipeline.verbs",
    "list_runs": "pipeline.listing.query",
    "load_run": "pipeline.run",
    "make_bundle": "pipeline.verbs",
    "read_spec": "pipeline.spec",
    "recompute": "pipeline.verbs",
    "render_report": "pipeline.verbs",
    "replay_run": "pipeline.verbs",
    "run_backtest": "pipeline.runner",
    "run_sweep": "pipeline.verbs",
    "start_run": "pipeline.start",
    "verify": "pipeline.verbs",
}

__all__ = [
    "EvidenceError",
    "NotebookRun",
    "Run",
    "RunOutcome",
    "RunRecord",
    "RunSpec",
    "Settings",
    "build_site",
    "compare",
    "explain",
    "list_runs",
    "load_run",
    "make_bundle",
    "read_spec",
    "recompute",
    "render_report",
    "replay_run",
    "run_backtest",
    "run_sweep",
    "start_run",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
