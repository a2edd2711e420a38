"""What a notebook logs with in its kernel, as the variables that its run's owner set there say."""

from __future__ import annotations

import os

from pipeline.rundir import RunDir
from pipeline.tracking import fluent
from pipeline.tracking.journal_tracker import JournalTracker
from pipeline.tracking.noop import NoopTracker
from pipeline.tracking.outbox import Home
from pipeline.tracking.protocol import Tracker
from pipeline.tracking.raw_calls import RawCalls

MODE_VARIABLE = "EVIDENCE_TRACKING_MODE"
JOURNAL_VARIABLE = "EVIDENCE_TRACKING_JOURNAL"
RUN_ID_VARIABLE = "EVIDENCE_MLFLOW_RUN_ID"
STORE_VARIABLE = "EVIDENCE_TRACKING_STORE"  # a notebook may change MLFLOW_TRACKING_URI


def kernel_tracker(run: RunDir) -> Tracker:
    """Return the tracker for the notebook of `run`, its run active; a NoopTracker when tracking is off.

    From here on raw MLflow calls in this process stay in the notebook's run too.
    """
    mode = os.environ.get(MODE_VARIABLE, "warn")
    if mode == "off":
        return NoopTracker()
    tracker = JournalTracker(
        Home.of_run(run),
        mode="strict" if mode == "strict" else "warn",
        mlflow_run_id=os.environ.get(RUN_ID_VARIABLE) or None,
    )
    tracker.start_run()
    if os.environ.get(fluent.VARIABLE):
        place = os.environ.get("MLFLOW_EXPERIMENT_ID", ""), os.environ.get(STORE_VARIABLE, "")
        fluent.keep_to_run(RawCalls(tracker, os.environ[fluent.VARIABLE], *place))
    return tracker
