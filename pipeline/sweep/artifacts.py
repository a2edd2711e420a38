"""What a sweep leaves in its directory beside what every run does."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.artifacts import parquet_bytes
from pipeline.backtest.catalogue import DIRECTIONS
from pipeline.files import write_atomic, write_json
from pipeline.open_run import OpenRun
from pipeline.secrets import mask_parameters
from pipeline.sweep.evaluate import bars_of
from pipeline.sweep.forward import ForwardSearch
from pipeline.sweep.search import Search
from pipeline.sweep.statistics import SweepStatistics
from pipeline.sweep.study import quiet
from pipeline.sweep.trial import Trial

if TYPE_CHECKING:
    import pandas as pd
    from optuna import Study


def returns_table(search: Search) -> pd.DataFrame:
    """Return the simple returns of completed trials: a row a bar from the second on, a column a trial."""
    import pandas as pd

    bars = pd.DatetimeIndex(bars_of(search.work).index)
    index = bars[1:].tz_convert("UTC").as_unit("ns").rename("timestamp")
    fitting = {number: values for number, values in search.returns.items() if len(values) == len(index)}
    columns = sorted(fitting)
    matrix = np.column_stack([fitting[number] for number in columns]) if columns else np.empty((len(index), 0))
    return pd.DataFrame(matrix, index=index, columns=columns)


def param_importances(study: Study, trials: Sequence[Trial], metric: str) -> dict[str, float]:
    """Return how much each param decides whether a trial is among the best by the first objective, `metric`.

    PED-ANOVA of the best tenth, in shares of 1; empty when unknown.
    """
    import optuna

    lowest_is_best = 1.0 if DIRECTIONS[metric] == "minimize" else -1.0
    complete = [trial for trial in trials if trial.state == "COMPLETE"]
    if len(complete) < 2 or len({trial.values[0] for trial in complete}) < 2:
        return {}
    with quiet():
        try:
            found = optuna.importance.get_param_importances(
                study,
                evaluator=optuna.importance.PedAnovaImportanceEvaluator(),
                target=lambda trial: lowest_is_best * trial.values[0],
            )
        except (ValueError, RuntimeError):
            return {}
    return {name: float(value) for name, value in found.items() if np.isfinite(value)}


def write_artifacts(
    run: OpenRun,
    search: Search,
    returns: pd.DataFrame,
    statistics: SweepStatistics,
    best_runs: Sequence[str],
    *,
    forward: ForwardSearch | None,
) -> None:
    """Write the trials, their returns, what they are worth, and the spec of the best one; raises StorageError."""
    files = run.dir
    write_atomic(files.trials, _json_lines(trial.to_dict() for trial in search.told))
    write_atomic(files.trial_returns, parquet_bytes(returns.rename(columns=str), index=True))
    write_json(files.statistics, {**statistics.to_dict(), "best_runs": list(best_runs)})
    best = next((trial for trial in search.told if trial.number == statistics.best), None)
    if best is not None:
        best_spec = search.work.spec.trial_spec(best.params, tags={}, chosen=True, number=best.number)
        write_atomic(files.best_config, mask_parameters(best_spec)[0].to_toml())
        write_json(files.stats, summary(statistics, best))
    if forward is not None:
        rows = ({"window": window, **trial.to_dict()} for window, trial in forward.trials())
        write_atomic(files.forward_trials, _json_lines(rows))


def _json_lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(f"{json.dumps(row, sort_keys=True, allow_nan=False)}\n" for row in rows).encode()


def summary(statistics: SweepStatistics, best: Trial) -> dict[str, float | int | None]:
    """Return a sweep's own metrics: counts, the best value of each objective, and what it is worth."""
    deflation, overfit, forward = statistics.deflation, statistics.overfitting, statistics.walk_forward
    return {
        "trials": statistics.counts.trials,
        "trials_complete": statistics.counts.complete,
        "trials_reused": statistics.counts.reused,
        **{f"best_{name}": value for name, value in zip(statistics.objectives, best.values, strict=True)},
        "deflated_sharpe": deflation.dsr if deflation else None,
        "effective_trials": deflation.effective if deflation else None,
        "pbo": overfit.pbo if overfit else None,
        "walk_forward_sharpe": forward.out_of_sample if forward else None,
    }
