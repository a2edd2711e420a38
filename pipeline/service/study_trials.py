"""What is done with Optuna's trials: added, asked for, told, and shown."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.service.problems import Refusal
from pipeline.service.study_store import FIXED, OWN, PARAMS
from pipeline.service.study_words import (
    Choices,
    Distribution,
    FloatRange,
    NewTrial,
    ParamValue,
    State,
    Tell,
    Trial,
    numbers,
)
from pipeline.service.words import as_number
from pipeline.tracking.failures import reason

STATES: Mapping[str, State] = {
    "RUNNING": "running",
    "COMPLETE": "complete",
    "PRUNED": "pruned",
    "FAIL": "fail",
    "WAITING": "waiting",
}


def shown_trial(frozen: Any) -> Trial:
    """Return a trial of Optuna's: its params are those it was given, or is to have."""
    params = {**frozen.system_attrs.get(FIXED, {}), **frozen.params, **frozen.user_attrs.get(PARAMS, {})}
    values = numbers(frozen.values)
    return Trial(
        trial_id=frozen.number,
        number=frozen.number,
        state=STATES[frozen.state.name],
        params=params,
        value=values[0] if values is not None and len(values) == 1 else None,
        values=values,
        intermediate_values={step: as_number(value) for step, value in frozen.intermediate_values.items()},
        user_attrs=shown_attrs(frozen.user_attrs),
        datetime_start=_utc(frozen.datetime_start),
        datetime_complete=_utc(frozen.datetime_complete),
    )


def _utc(moment: dt.datetime | None) -> dt.datetime | None:
    """Return a time of Optuna's, which is this machine's, with where it counts from."""
    return None if moment is None else moment.astimezone(dt.UTC)


def shown_attrs(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return user attributes without those that are ours."""
    return {name: value for name, value in attrs.items() if name not in OWN}


def find_trial(study: Any, number: int) -> tuple[int, Any]:
    """Return the id by which the store knows a trial, and the trial; raises Refusal, 404 for none."""
    storage = study._storage
    try:
        trial_id = storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
    except KeyError:
        raise Refusal(404, f"The study {study.study_name!r} has no trial {number}.") from None
    return trial_id, storage.get_trial(trial_id)


def add_trial(study: Any, given: NewTrial) -> Trial:
    """Add a trial that has ended, in one step of the store, and return it."""
    from optuna.trial import TrialState, create_trial

    values = _values(study, given.value, given.values, needed=given.state == "complete")
    distributions = {name: as_distribution(name, one) for name, one in given.distributions.items()}
    loose = {name: value for name, value in given.params.items() if name not in distributions}
    known = {name: value for name, value in loose.items() if isinstance(value, int | float) and value is not True}
    known = {name: float(value) for name, value in known.items() if not isinstance(value, bool)}
    kept = {PARAMS: loose} if loose else {}
    try:
        frozen = create_trial(
            state=TrialState[given.state.upper()],
            params={**known, **{name: given.params[name] for name in distributions if name in given.params}},
            distributions={**{name: _point(value) for name, value in known.items()}, **distributions},
            values=values,
            intermediate_values=given.intermediate_values,
            user_attrs={**given.user_attrs, **kept},
        )
    except ValueError as error:
        raise Refusal(400, reason(error, 500)) from None
    return _stored(study, frozen)


def queue_trial(study: Any, params: Mapping[str, ParamValue], attrs: Mapping[str, ParamValue]) -> Trial:
    """Add a trial that the next who asks is given, and return it."""
    from optuna.trial import TrialState, create_trial

    return _stored(
        study, create_trial(state=TrialState.WAITING, system_attrs={FIXED: dict(params)}, user_attrs=dict(attrs))
    )


def ask_trial(study: Any, distributions: Mapping[str, Distribution], fixed: Mapping[str, ParamValue]) -> Trial:
    """Begin a trial with params that are fixed, or proposed, and return it; raises Refusal."""
    import optuna
    from optuna.trial import TrialState, create_trial

    wanted = {name: as_distribution(name, one) for name, one in distributions.items()}
    for name, value in fixed.items():
        if name in wanted and not _fits(wanted[name], value):
            raise Refusal(400, f"fixed.{name}: {value!r} is not within its distribution.")
    if fixed:
        begun = create_trial(state=TrialState.RUNNING, system_attrs={FIXED: dict(fixed)})
        trial = optuna.Trial(study, study._storage.create_new_trial(study._study_id, template_trial=begun))
    else:
        trial = study.ask()
    try:
        for name, one in wanted.items():
            trial._suggest(name, one)
    except ValueError as error:  # the study has another kind of distribution under this name
        study.tell(trial, state=TrialState.FAIL)
        raise Refusal(400, f"The trial {trial.number} failed: {reason(error, 500)}") from None
    return shown_trial(study._storage.get_trial(trial._trial_id))


def tell_trial(study: Any, number: int, told: Tell) -> Trial:
    """End a trial, and return it; raises Refusal, 409 when it has ended or not begun."""
    from optuna.trial import TrialState

    trial_id, frozen = find_trial(study, number)
    if frozen.state != TrialState.RUNNING:
        raise Refusal(409, f"The trial {number} is {STATES[frozen.state.name]}, and only a running one can end.")
    state = told.state or "complete"
    values = _values(study, told.value, told.values, needed=state == "complete")
    if state == "fail" and values is not None:
        raise Refusal(400, "A trial that failed has no value.")
    try:
        study.tell(number, values if state == "complete" else None, state=TrialState[state.upper()])
    except (ValueError, RuntimeError) as error:  # another client told it meanwhile
        if not study._storage.get_trial(trial_id).state.is_finished():
            raise
        raise Refusal(409, f"The trial {number} has ended already: {reason(error, 300)}") from None
    return shown_trial(study._storage.get_trial(trial_id))


def report_trial(study: Any, number: int, step: int, value: float) -> Trial:
    """Note a value of the objective on the way; raises Refusal, 409 when there is one of that step."""
    import optuna

    trial_id, frozen = _running(study, number)
    if step in frozen.intermediate_values:
        raise Refusal(409, f"The trial {number} has a value of step {step} already.")
    optuna.Trial(study, trial_id).report(value, step)
    return shown_trial(study._storage.get_trial(trial_id))


def should_prune(study: Any, number: int) -> bool:
    """Say whether the study's pruner would stop a trial now, by what was reported of it and of others."""
    import optuna

    trial_id, _ = _running(study, number)
    return bool(optuna.Trial(study, trial_id).should_prune())


def as_distribution(name: str, given: Distribution) -> Any:
    """Return a distribution as Optuna has it; raises Refusal."""
    from optuna import distributions as kinds

    try:
        if isinstance(given, Choices):
            return kinds.CategoricalDistribution(given.choices)
        if isinstance(given, FloatRange):
            return kinds.FloatDistribution(given.low, given.high, log=given.log, step=given.step)
        return kinds.IntDistribution(given.low, given.high, log=given.log, step=given.step)
    except ValueError as error:
        raise Refusal(400, f"distributions.{name}: {reason(error, 300)}") from None


def _running(study: Any, number: int) -> tuple[int, Any]:
    from optuna.trial import TrialState

    trial_id, frozen = find_trial(study, number)
    if len(study.directions) > 1:
        raise Refusal(400, "Trials with several objectives cannot be pruned.")
    if frozen.state != TrialState.RUNNING:
        raise Refusal(409, f"The trial {number} is {STATES[frozen.state.name]}, not running.")
    return trial_id, frozen


def _stored(study: Any, frozen: Any) -> Trial:
    storage = study._storage
    return shown_trial(storage.get_trial(storage.create_new_trial(study._study_id, template_trial=frozen)))


def _values(study: Any, value: float | None, values: Sequence[float] | None, *, needed: bool) -> list[float] | None:
    """Return the value of each objective; raises Refusal for too many, too few, or none where they are needed."""
    if value is not None and values is not None:
        raise Refusal(400, "Give one of: value, values.")
    given = [value] if value is not None else None if values is None else list(values)
    count = len(study.directions)
    if (given is None and needed) or (given is not None and len(given) != count):
        raise Refusal(400, f"The study has {count} objective{'s' * (count > 1)}: give a value of each.")
    return given


def _point(value: float) -> Any:
    from optuna.distributions import FloatDistribution

    return FloatDistribution(value, value)


def _fits(distribution: Any, value: ParamValue) -> bool:
    try:
        return bool(distribution._contains(distribution.to_internal_repr(value)))
    except (ValueError, TypeError):
        return False
