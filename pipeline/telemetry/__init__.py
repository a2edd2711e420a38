"""What happened in a run and how long it took: the log of a run, its timeline, and what is exported of both.

with step("render", log=run.log):      # a line in the log of the run, and a span where spans are exported
    ...

Nothing here imports OpenTelemetry before a thread has something to export (`exporting`, `sink`).
"""

from pipeline.telemetry.exporting import exporting
from pipeline.telemetry.forwarding import forward_kernel
from pipeline.telemetry.joining import kernel_environment
from pipeline.telemetry.run_log import Labels, RunLog
from pipeline.telemetry.step import (
    Step,
    about,
    begin_run,
    flush_worker,
    linked_to,
    number,
    step,
    tell_run,
    tell_trial,
    traceparent,
    waiting_begins,
)

__all__ = [
    "Labels", "RunLog", "Step", "about", "begin_run", "exporting", "flush_worker", "forward_kernel",
    "kernel_environment", "linked_to", "number", "step", "tell_run", "tell_trial", "traceparent", "waiting_begins",
]  # fmt: skip
