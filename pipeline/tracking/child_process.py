"""MLflow loads this wherever it is imported: a process that a notebook started logs to the notebook's run and journal.

It is an entry point for tags that MLflow adds to new runs, and adds none: what matters is when MLflow makes it, which
is before it can log.
"""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.rundir import RunDir
from pipeline.tracking import fluent
from pipeline.tracking.journal_tracker import JOURNAL_VARIABLE, kernel_tracker


class ChildProcess:
    """Joins the run of the notebook that started this process, when one did."""

    def __init__(self) -> None:
        journal = Path(os.environ.get(JOURNAL_VARIABLE, ""))
        if journal.is_file() and os.environ.get(fluent.VARIABLE) and not fluent.is_kept():
            kernel_tracker(RunDir(journal.parents[2], journal.parents[1].name))

    def in_context(self) -> bool:
        """Return False: there are no tags to add."""
        return False

    def tags(self) -> dict[str, str]:
        """Return no tags."""
        return {}
