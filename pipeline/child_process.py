"""MLflow loads this wherever it is imported: a process that a notebook started logs to the notebook's run and journal.

It is an entry point for tags that MLflow adds to new runs, and adds none: what matters is when MLflow makes it, which
is before it can log. It costs nothing in processes that no notebook started.
"""

from __future__ import annotations

import os
from pathlib import Path

JOURNAL_VARIABLE, RUN_VARIABLE = "EVIDENCE_TRACKING_JOURNAL", "MLFLOW_RUN_ID"


class ChildProcess:
    """Joins the run of the notebook that started this process, when one did."""

    def __init__(self) -> None:
        given = os.environ.copy()  # a fork server fixes for its kernels what it looks up one by one
        journal = Path(given.get(JOURNAL_VARIABLE, ""))
        if journal.is_file() and given.get(RUN_VARIABLE):
            _join(journal)

    def in_context(self) -> bool:
        """Return False: there are no tags to add."""
        return False

    def tags(self) -> dict[str, str]:
        """Return no tags."""
        return {}


def _join(journal: Path) -> None:
    from pipeline.rundir import RunDir
    from pipeline.tracking import fluent
    from pipeline.tracking.in_kernel import kernel_tracker

    if not fluent.is_kept():
        kernel_tracker(RunDir(journal.parents[2], journal.parents[1].name))
