"""What happened in a run and how long it took: the log of a run, its timeline, and what is exported of both.

with step("report", renderer="auto"):      # a line in the log of the run it belongs to, and a span where one is wanted
    ...
"""

from pipeline.telemetry.run_log import Labels, RunLog
from pipeline.telemetry.step import Step, step

__all__ = ["Labels", "RunLog", "Step", "step"]
