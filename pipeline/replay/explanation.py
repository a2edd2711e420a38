"""Say why two runs differ: the first input that differs, then the size of the differences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.errors import UsageError
from pipeline.evidence.compare import InputDifference, compare_inputs, read_inputs
from pipeline.evidence.problem import Problem
from pipeline.evidence.verify import verify_run
from pipeline.replay.outputs import OutputDifferences, compare_outputs
from pipeline.run import Run

MOST_LINES = 10
UNEXPLAINED = (
    "no recorded input differs: the notebook is not deterministic, or it reads something that is not recorded "
    "(the clock, the network, an environment variable, a file of its own, a value that is masked)"
)


@dataclass(frozen=True)
class Explanation:
    """Two runs compared. `inputs` may change results and come likeliest cause first, `labels` cannot change them.

    `unsound` says what of the two does not match its seal: a comparison with edited files proves nothing.
    """

    before: str
    after: str
    tolerance: float | None
    inputs: tuple[InputDifference, ...]
    labels: tuple[InputDifference, ...]
    outputs: OutputDifferences
    unsound: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """Say whether both runs produced the same, whatever they were made from."""
        return not self.outputs

    @property
    def first(self) -> InputDifference | None:
        """Return the first differing input; None when all recorded ones are the same."""
        return self.inputs[0] if self.inputs else None

    @property
    def verdict(self) -> str:
        """Return the answer in one line: equal, or the first differing input."""
        if self.equal:
            within = "" if self.tolerance is None else f" within {self.tolerance:g}"
            count = len(self.inputs)
            unlike = f", although {count} input{'s differ' if count > 1 else ' differs'}" if count else ""
            return f"equal{within}{unlike}"
        return f"different: {self.first if self.first is not None else UNEXPLAINED}"

    def lines(self) -> Iterator[str]:
        """Yield the explanation for people, one fact a line."""
        yield self.verdict
        yield from _listed("NOT AS SEALED, so this proves nothing", self.unsound)
        yield from _listed("differing inputs", self.inputs)
        if self.outputs.status:
            yield f"status: {' -> '.join(self.outputs.status)}"
        yield from _listed("differing stats", self.outputs.stats)
        for name in ("equity", "trades"):
            table = getattr(self.outputs, name)
            if table is not None:
                yield f"{name}: {table}"
        yield from _listed("differing cells", self.outputs.cells)
        yield from _listed("differing files", self.outputs.files)
        yield from _listed("also different, without effect on results", self.labels)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        first = None if self.first is None else asdict(self.first)
        return {"equal": self.equal, "verdict": self.verdict, "first_differing_input": first, **asdict(self)}


def explain(before: Run, after: Run, *, tolerance: float | None = None) -> Explanation:
    """Compare what two sealed runs were made from and what they produced, without executing anything.

    `tolerance` is relative to the larger of two numbers; None compares exactly. Raises UsageError for a run
    that was never sealed, VerificationError for a manifest that cannot be read.
    """
    causes, labels = compare_inputs(read_inputs(sealed(before)), read_inputs(sealed(after)))
    outputs = compare_outputs(before, after, tolerance=checked_tolerance(tolerance))
    unsound = tuple(f"{run.run_id}: {problem}" for run in (before, after) for problem in _problems(run))
    return Explanation(before.run_id, after.run_id, tolerance, causes, labels, outputs, unsound)


def _problems(run: Run) -> tuple[Problem, ...]:
    return verify_run(run.dir, report=False).problems


def sealed(run: Run) -> dict[str, Any]:
    """Return the manifest of a sealed run; raises UsageError for any other."""
    if run.manifest is None:
        raise UsageError(f"The run {run.run_id} was never sealed ({run.status}): what it was made from is not known.")
    return run.manifest


def checked_tolerance(tolerance: float | None) -> float | None:
    """Return the tolerance; raises UsageError unless it is None or from 0 to below 1."""
    if tolerance is not None and not 0 <= tolerance < 1:
        raise UsageError(f"The tolerance {tolerance:g} is not a relative difference: give a number from 0 to below 1.")
    return tolerance


def _listed(title: str, items: tuple[Any, ...]) -> Iterator[str]:
    if items:
        yield f"{title}: {len(items)}"
        yield from (f"  {item}" for item in items[:MOST_LINES])
        if len(items) > MOST_LINES:
            yield f"  and {len(items) - MOST_LINES} more"
