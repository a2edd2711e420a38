"""One sweep as a row: what listings show of it, and what `--json` prints of it and of its trials."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from pipeline.sweep.stored import Sweep
from pipeline.sweep.trial import Trial


@dataclass(frozen=True)
class SweepRow:
    """What is known of one sweep. `best` is the best value of the first objective.

    What is not known is None: until the sweep has ended, and of one that cannot be read, whose `error` says why.
    """

    sweep: str
    name: str
    status: str
    strategy: str | None = None
    objectives: tuple[str, ...] = ()
    trials: int | None = None
    best: float | None = None
    deflated_sharpe: float | None = None
    pbo: float | None = None
    error: dict[str, str] | None = None

    @classmethod
    def of(cls, found: Sweep) -> SweepRow:
        """Read the row of a sweep; one that cannot be read is a row with the status UNREADABLE, never an error."""
        known = cls(found.run.run_id, found.name, found.status)
        if found.problem is not None:
            return replace(known, error={"kind": "EvidenceError", "message": found.problem})
        stats: dict[str, Any] = found.run.stats
        section = found.spec.sweep
        return replace(
            known,
            strategy=found.run.what.strategy or None,
            objectives=tuple(section.objectives),
            trials=stats.get("trials"),
            best=stats.get(f"best_{section.objectives[0]}"),
            deflated_sharpe=stats.get("deflated_sharpe"),
            pbo=stats.get("pbo"),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON values that `evidence study list --json` prints."""
        return asdict(self)


def trial_values(found: Sweep, trial: Trial) -> dict[str, Any]:
    """Return the JSON values of a trial: `run_id` None where it is no run, `trial_id` as the ledger knows it."""
    return {**trial.to_dict(), "run_id": found.run_of(trial), "trial_id": trial.run_id}
