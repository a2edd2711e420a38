"""The numbers that are exported: what each is called, what it counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)  # upper bounds of buckets


@dataclass(frozen=True)
class Measure:
    """A measure: a counter adds up, a gauge is what was found last, a histogram sorts into buckets."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    what: str

    @property
    def prometheus(self) -> tuple[str, ...]:
        """Return the names under which Prometheus has it, by the rules of OpenTelemetry."""
        name = self.name.replace(".", "_") + ("_seconds" if self.unit == "s" else "")
        if self.kind == "histogram":
            return f"{name}_bucket", f"{name}_count", f"{name}_sum"
        return (f"{name}_total",) if self.kind == "counter" else (name,)


RUNS = Measure("evidence.runs", "counter", "{run}", "Runs that ended, by their status")
RUN_DURATION = Measure("evidence.run.duration", "histogram", "s", "From the beginning of a run to its end")
STAGE_DURATION = Measure("evidence.stage.duration", "histogram", "s", "How long a stage of a run took")
CELL_ERRORS = Measure("evidence.cell.errors", "counter", "{error}", "Cells that raised")
PENDING = Measure("evidence.tracking.pending", "gauge", "{entry}", "Entries of journals that have not reached MLflow")
RENDER_DURATION = Measure("evidence.render.duration", "histogram", "s", "How long a report took to be rendered")
TRIALS = Measure("evidence.trials", "counter", "{trial}", "Trials of sweeps that ended, by their state")

MEASURES = {
    measure.name: measure
    for measure in (RUNS, RUN_DURATION, STAGE_DURATION, CELL_ERRORS, PENDING, RENDER_DURATION, TRIALS)
}
