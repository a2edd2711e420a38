"""evidence-chain: turn a trading backtest into evidence another person can trust.

The public names are imported when they are first used, so that `import pipeline` stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.errors import EvidenceError
    from pipeline.run import Run, RunRecord, compare, list_runs, load_run
    from pipeline.runner import RunOutcome, run_backtest
    from pipeline.session import NotebookRun
    from pipeline.settings import Settings
    from pipeline.spec import RunSpec, read_spec
    from pipeline.start import start_run

_HOMES = {
    "EvidenceError": "pipeline.errors",
    "NotebookRun": "pipeline.session",
    "Run": "pipeline.run",
    "RunOutcome": "pipeline.runner",
    "RunRecord": "pipeline.run",
    "RunSpec": "pipeline.spec",
    "Settings": "pipeline.settings",
    "compare": "pipeline.run",
    "list_runs": "pipeline.run",
    "load_run": "pipeline.run",
    "read_spec": "pipeline.spec",
    "run_backtest": "pipeline.runner",
    "start_run": "pipeline.start",
}

__all__ = [
    "EvidenceError",
    "NotebookRun",
    "Run",
    "RunOutcome",
    "RunRecord",
    "RunSpec",
    "Settings",
    "compare",
    "list_runs",
    "load_run",
    "read_spec",
    "run_backtest",
    "start_run",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
