"""What the report of a sweep knows: its trials, statistics and the runs made of them, each read at its first use."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from pipeline.digest import canonical_json, sha256_bytes
from pipeline.errors import EvidenceError
from pipeline.report.page import Page
from pipeline.rundir import RunDir
from pipeline.sweep.ranking import rank
from pipeline.sweep.repeats import first_of_each
from pipeline.sweep.spec import ADAPTIVE, SweepSpec
from pipeline.sweep.statistics import Counts, SweepStatistics
from pipeline.sweep.stored import Sweep
from pipeline.sweep.trial import Trial

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.robustness_record import Robustness

Number = float | int
SHORT = 8


@dataclass(frozen=True)
class SweepFacts(Page):
    """The facts of one sweep. A sweep is a run of its own kind, so its seal and provenance are those of any run."""

    @property
    def title(self) -> str:
        """The sweep's name."""
        return f"Sweep {self.run.run_id[:SHORT]}" if self.asked is None else self.asked.sweep.name

    @cached_property
    def asked(self) -> SweepSpec | None:
        """What the sweep was asked to do; None when that cannot be read."""
        try:
            return self._stored.spec
        except (EvidenceError, ValueError, TypeError, AttributeError):
            return None

    @cached_property
    def tried(self) -> tuple[Trial, ...]:
        """The trials by number; empty when the sweep left none that can be read."""
        try:
            return self._stored.trials
        except (OSError, ValueError, KeyError, TypeError):
            return ()

    @cached_property
    def judged(self) -> SweepStatistics:
        """The statistics; of a sweep without any that can be read, only the counts."""
        try:
            found = self._stored.statistics
        except (OSError, ValueError, KeyError, TypeError):
            found = None
        return found or SweepStatistics(self.objectives, self._counted(), None, (), (), None)

    @cached_property
    def _stored(self) -> Sweep:
        return Sweep(self.run)

    def _counted(self) -> Counts:
        states = [trial.state for trial in self.tried]
        return Counts(len(states), states.count("COMPLETE"), states.count("PRUNED"), states.count("FAIL"), len(states))

    @property
    def storage(self) -> str | None:
        """Where the study is, when the spec names a storage for it."""
        return None if self.asked is None else self.asked.sweep.storage

    @property
    def objectives(self) -> tuple[str, ...]:
        """The objectives, the one that ranks first."""
        return ("sharpe",) if self.asked is None else tuple(self.asked.sweep.objectives)

    @property
    def adaptive(self) -> bool:
        """Say whether the sampler learned from the trials before, which all saw the whole period."""
        return self.asked is not None and self.asked.sweep.sampler in ADAPTIVE

    @cached_property
    def by_number(self) -> dict[int, Trial]:
        """The trials by their numbers."""
        return {trial.number: trial for trial in self.tried}

    @cached_property
    def ranked(self) -> list[Trial]:
        """The completed trials, the best first."""
        complete = [trial for trial in self.tried if trial.state == "COMPLETE"]
        numbers = self.judged.ranking or rank(complete, self.objectives[0])
        return [self.by_number[number] for number in numbers if number in self.by_number]

    @cached_property
    def configurations(self) -> list[Trial]:
        """The completed trials, the best first, each configuration once."""
        return first_of_each(self.ranked)

    @property
    def best(self) -> Trial | None:
        """The best trial; None when no trial was completed."""
        return self.ranked[0] if self.ranked else None

    @property
    def chosen(self) -> bool:
        """Say whether there was a choice: two completed trials at least."""
        return self.judged.counts.complete > 1

    @cached_property
    def failed(self) -> list[Trial]:
        """The failed trials by number."""
        return [trial for trial in self.tried if trial.state == "FAIL"]

    @cached_property
    def params(self) -> tuple[str, ...]:
        """The names of the params that were varied, in the order of the trials'."""
        names = dict.fromkeys(name for trial in self.tried for name in trial.params)
        return tuple(names)

    @cached_property
    def numeric(self) -> frozenset[str]:
        """The params whose values are all numbers."""
        return frozenset(name for name in self.params if all(is_number(trial.params.get(name)) for trial in self.tried))

    def logarithmic(self, name: str) -> bool:
        """Say whether a param was searched on a logarithmic scale."""
        dimension = None if self.asked is None else self.asked.space.get(name)
        return dimension is not None and bool(dimension.log)

    def by_importance(self, names: Sequence[str]) -> list[str]:
        """Return params, the most important first; those of unknown importance keep their order."""
        return sorted(names, key=lambda name: -self.judged.importances.get(name, 0.0))

    @property
    def annual(self) -> float:
        """What turns a Sharpe ratio per bar into one a year."""
        return math.sqrt(self.judged.periods_per_year or 0.0)

    @cached_property
    def span(self) -> tuple[str, str, int] | None:
        """The first and the last day of the returns, and their number; None without returns."""
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(self.run.dir.trial_returns, columns=["timestamp"])
        except (OSError, ValueError, KeyError):
            return None
        stamps = table["timestamp"].to_pylist()
        return (f"{stamps[0]:%d %b %Y}", f"{stamps[-1]:%d %b %Y}", len(stamps)) if stamps else None

    def growth(self, numbers: Sequence[int]) -> pd.DataFrame:
        """Return the growth of 1 of some trials, a column each; those without returns are left out."""
        import pandas as pd
        import pyarrow.parquet as pq

        try:
            kept = set(pq.read_schema(self.run.dir.trial_returns).names)
            wanted = [str(number) for number in dict.fromkeys(numbers) if str(number) in kept]
            table = pd.read_parquet(self.run.dir.trial_returns, columns=wanted)
        except (OSError, ValueError, KeyError):
            return pd.DataFrame()
        return (1.0 + table).cumprod().rename(columns=int)

    @cached_property
    def reports(self) -> dict[str, str]:
        """Links to the reports of the trials that became whole runs, by run_id."""
        ids = [trial.run_id for trial in self.tried] if self.linked else []
        there = [run_id for run_id in ids if (self.run.dir.results / run_id).is_dir()]
        return {
            run_id: f"../../{run_id}/report/index.html"
            for run_id in there
            if RunDir(self.run.dir.results, run_id).report.is_file()
        }

    @cached_property
    def held(self) -> pd.Series | None:
        """The growth of 1 of the benchmark, as the best trial's run sealed it; None without such a run."""
        from pipeline.run import Run

        if self.best is None:
            return None
        directory = RunDir(self.run.dir.results, self.best.run_id)
        if not directory.manifest.is_file():
            return None
        try:
            curve = Run(directory).equity["benchmark_equity"].dropna()
        except (OSError, ValueError, KeyError):
            return None
        return curve / float(curve.iloc[0]) if len(curve) > 1 and curve.iloc[0] > 0 else None

    @cached_property
    def best_examined(self) -> Robustness:
        """What the best trial's run found out about itself; nothing without such a run."""
        from pipeline.robustness_record import Robustness

        return Robustness() if self.best is None else Robustness.read(RunDir(self.run.dir.results, self.best.run_id))

    @property
    def around_sha256(self) -> str:
        """Return one digest over what the page shows that is not in the sweep's own directory."""
        benchmark = None if self.held is None else [float(self.held.iloc[-1]), len(self.held)]
        around = {
            "reports": sorted(self.reports),
            "benchmark": benchmark,
            "look_ahead": [self.best_examined.leak_status, self.best_examined.blind_reason],
        }
        return sha256_bytes(canonical_json(around))


def is_number(value: object) -> bool:
    """Say whether a value of a param is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)
