"""What is done once a run is sealed: its tracked run ends, its report is made. Whatever goes wrong, the seal stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.errors import EvidenceError, RenderError, TrackingError, as_evidence_error
from pipeline.evidence.recording import record_report
from pipeline.open_run import OpenRun
from pipeline.telemetry import exporting, number
from pipeline.telemetry.measures import PENDING
from pipeline.tracking.of_run import finish_tracking
from pipeline.tracking.store import REPORT_TAG

if TYPE_CHECKING:
    from pipeline.report.record import RenderRecord
    from pipeline.tracking.protocol import Status
    from pipeline.tracking.run_tracking import RunTracking


def end_tracking(run: OpenRun, tracking: RunTracking, status: Status) -> TrackingError | None:
    """Deliver the rest and end the tracked run; return tracking's own error in mode `strict`.

    What a library raises becomes a warning; tracking's warnings are the run's.
    """
    error = None
    try:
        finish_tracking(run, tracking, status)
    except TrackingError as failure:
        error = failure
    except Exception as failure:  # noqa: BLE001 - the run is sealed; what a library raises does not undo that
        tracking.warnings.append(f"Tracking did not end: {as_evidence_error(failure, 'after the seal')}")
    run.warnings += tracking.warnings
    if exporting() is not None:
        number(PENDING, tracking.pending, run.log.labels, status=status)
    return error


def take_into_lake(run: OpenRun) -> None:
    """Take the run into the lake where the settings ask for it; what goes wrong is a warning."""
    if not run.settings.lake_ingest:
        return
    try:
        from pipeline.lake.ingest import ingest

        run.warnings += ingest(run.settings, only=[run.dir.run_id]).problems
    except Exception as failure:  # noqa: BLE001 - the run is sealed; the lake takes it in another time
        what = as_evidence_error(failure, "in the lake")
        run.warnings.append(f"The run was not taken into the lake: {what} `evidence lake ingest` does so.")


def add_report(run: OpenRun, tracking: RunTracking | None, render: Callable[[], RenderRecord]) -> None:
    """Render the report and attach it to the tracked run; without a renderer, or when it fails, warn and go on."""
    try:
        record = render()
        run.warnings += [record.note] if record.note else []
        record_report(run.dir, run.signer)
    except RenderError as failure:
        run.warnings.append(f"No report was rendered: {failure}")
        return
    except EvidenceError:
        raise
    except Exception as failure:  # noqa: BLE001 - the run is sealed; its report can be rendered again
        run.warnings.append(f"No report was rendered: {as_evidence_error(failure, 'in the report')}")
        return
    if tracking is not None:
        known = len(tracking.warnings)
        tags = {REPORT_TAG: record.report_sha256}
        tracking.attach_report(run.dir.report.relative_to(run.dir.path), tags)
        run.warnings += tracking.warnings[known:]
