"""Tracking: what a run logs, kept in its journal first and delivered to MLflow from there.

Imports without MLflow, and cheaply: MLflow, pandas and figures are imported where they are needed.
"""

from pipeline.tracking.backtest import log_backtest_artifacts, log_backtest_metadata
from pipeline.tracking.config import build_tracker_from_config
from pipeline.tracking.in_kernel import kernel_tracker
from pipeline.tracking.journal_tracker import JournalTracker
from pipeline.tracking.mlflow_tracker import MLflowTracker
from pipeline.tracking.noop import NoopTracker, NullTracker
from pipeline.tracking.protocol import Tracker, TrackingWarning
from pipeline.tracking.run_tracking import RunTracking, TrackingInfo, open_tracking
from pipeline.tracking.sync import (
    SyncResult,
    all_tracked,
    current_info,
    pending,
    publish_report,
    rebuild,
    sync_run,
    sync_runs,
)
from pipeline.tracking.uri import artifact_url, run_url

__all__ = [
    "JournalTracker",
    "MLflowTracker",
    "NoopTracker",
    "NullTracker",
    "RunTracking",
    "SyncResult",
    "Tracker",
    "TrackingInfo",
    "TrackingWarning",
    "all_tracked",
    "artifact_url",
    "build_tracker_from_config",
    "current_info",
    "kernel_tracker",
    "log_backtest_artifacts",
    "log_backtest_metadata",
    "open_tracking",
    "pending",
    "publish_report",
    "rebuild",
    "run_url",
    "sync_run",
    "sync_runs",
]
