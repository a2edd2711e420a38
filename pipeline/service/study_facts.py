"""What a study says as a whole: its best, its history, and which params matter."""

from __future__ import annotations

from collections import Counter
from typing import Any

from pipeline.service.problems import Refusal
from pipeline.service.study_store import PRUNER, SAMPLER
from pipeline.service.study_trials import STATES, shown_attrs, shown_trial
from pipeline.service.study_words import Direction, HistoryEntry, State, Study, StudyHead, Trial, numbers
from pipeline.service.words import as_number

Trials = list[Any]
MOST_KINDS = 100  # of a param's values that are text, to say how much it matters


def directions_of(found: Any) -> list[Direction]:
    """Return the directions of a study or its summary."""
    return ["maximize" if one.name == "MAXIMIZE" else "minimize" for one in found.directions]


def shown_head(summary: Any) -> StudyHead:
    """Return a study as it is listed."""
    directions = directions_of(summary)
    return StudyHead(
        study_name=summary.study_name,
        direction=directions[0] if len(directions) == 1 else None,
        directions=directions,
        n_trials=summary.n_trials,
    )


def shown_study(study: Any) -> Study:
    """Return a study: how many trials it has in which state, and the best value yet."""
    trials, directions = study.get_trials(deepcopy=False), directions_of(study)
    states: Counter[State] = Counter(STATES[trial.state.name] for trial in trials)
    best = best_of(trials, directions[0]) if len(directions) == 1 else None
    return Study(
        study_name=study.study_name,
        direction=directions[0] if len(directions) == 1 else None,
        directions=directions,
        sampler=str(study.user_attrs.get(SAMPLER, "tpe")),
        pruner=str(study.user_attrs.get(PRUNER, "none")),
        n_trials=len(trials),
        states=dict(states),
        best_value=None if best is None else as_number(best.value),
        user_attrs=shown_attrs(study.user_attrs),
    )


def best_of(trials: Trials, direction: Direction) -> Any:
    """Return the completed trial with the best value, of equal ones the first; None without any."""
    done = [trial for trial in trials if trial.state.name == "COMPLETE"]
    chosen = max if direction == "maximize" else min
    return chosen(done, key=lambda trial: trial.value) if done else None


def best_trial(study: Any) -> Trial:
    """Return the best trial; raises Refusal, 404 when none is complete, 409 for several objectives."""
    directions = directions_of(study)
    if len(directions) > 1:
        raise Refusal(409, "A study with several objectives has no single best trial: ask for best-trials.")
    best = best_of(study.get_trials(deepcopy=False), directions[0])
    if best is None:
        raise Refusal(404, f"The study {study.study_name!r} has no completed trial yet.")
    return shown_trial(best)


def history_of(study: Any) -> list[HistoryEntry]:
    """Return the completed trials in the order in which they ended."""
    trials = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
    single = directions_of(study)[0] if len(study.directions) == 1 else None
    entries, best = [], None
    for trial in sorted(trials, key=lambda one: (one.datetime_complete, one.number)):
        if single is not None:
            best = trial if best is None else best_of([best, trial], single)
        shown = None if best is None else as_number(best.value)
        entries.append(HistoryEntry(number=trial.number, values=numbers(trial.values) or [], best_value=shown))
    return entries


def importances_of(study: Any, objective: int) -> dict[str, float]:
    """Return how much each param matters, by what the completed trials had, whatever they were proposed from.

    Raises Refusal, 409 when there are too few trials or no param that differs.
    """
    import optuna
    from optuna.trial import TrialState, create_trial

    if objective >= len(study.directions):
        raise Refusal(400, f"The study has objectives 0 to {len(study.directions) - 1}.")
    trials = [trial for trial in study.get_trials(deepcopy=False) if trial.state == TrialState.COMPLETE]
    table = [(dict(shown_trial(trial).params), trial.values[objective]) for trial in trials]
    common = set.intersection(*({*params} for params, _ in table)) if table else set()
    spaces = {name: _space([params[name] for params, _ in table]) for name in sorted(common)}
    spaces = {name: space for name, space in spaces.items() if space is not None}
    if len(table) < 2 or not spaces:
        raise Refusal(409, "There must be at least two completed trials, and a param that all have and that differs.")
    plain = optuna.create_study(direction=directions_of(study)[objective])
    for params, value in table:
        had = {name: _plain(params[name], space) for name, space in spaces.items()}
        plain.add_trial(create_trial(params=had, distributions=spaces, value=value))
    found = optuna.importance.get_param_importances(plain)
    return {name: float(found[name]) for name in sorted(found, key=lambda name: -found[name])}


def _space(values: list[Any]) -> Any:
    """Return the distribution that a param's values span; None when they do not differ, or are too many texts."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        low, high = float(min(values)), float(max(values))
        return FloatDistribution(low, high) if low < high else None
    kinds = sorted({str(value) for value in values})
    return CategoricalDistribution(kinds) if 1 < len(kinds) <= MOST_KINDS else None


def _plain(value: Any, space: Any) -> Any:
    return str(value) if hasattr(space, "choices") else float(value)
