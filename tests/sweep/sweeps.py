"""Sweeps for tests: small ones, over the bundled sample."""

from __future__ import annotations

from threading import Event
from typing import Any

from pipeline.settings import Settings
from pipeline.sweep.executor import Executor, InlineExecutor
from pipeline.sweep.spec import SweepSpec
from pipeline.sweep.sweep import Hooks, SweepOutcome, run_sweep
from pipeline.sweep.trial import Trial

BASE: dict[str, Any] = {
    "data": {"start": "2014-01-01"},
    "tracking": {"mode": "off"},
    "report": {"enabled": False},
    "sweep": {"name": "small", "sampler": "grid", "best": 0},
    "space": {"fast": [5, 10, 20], "slow": [15, 30, 60]},
    "validation": {"blocks": 8, "walk_forward_windows": 3, "folds": 5},
}


def spec(**changes: Any) -> SweepSpec:
    """Return a small sweep, with sections and keys of sections replaced: `sweep={"trials": 5}`."""
    values = {name: dict(section) for name, section in BASE.items()}
    for name, section in changes.items():
        values[name] = section if name == "space" else {**values.get(name, {}), **section}
    return SweepSpec.from_mapping(values)


def search(settings: Settings, wanted: SweepSpec, executor: Executor | None = None, **options: Any) -> SweepOutcome:
    """Run a sweep without signing."""
    chosen = executor or InlineExecutor()
    return run_sweep(wanted, settings=settings, executor=chosen, signing_key=lambda: None, **options)


def facts(trials: tuple[Trial, ...]) -> list[tuple[Any, ...]]:
    """Return what must not depend on where and when trials were executed."""
    return [(t.number, t.params, t.state, t.values, t.intermediate, t.stats, t.error) for t in trials]


def stop_after(count: int) -> tuple[Event, Hooks]:
    """Return an event that is set once so many trials have ended, as the first Ctrl-C would."""
    stop, seen = Event(), []

    def ended(_: object) -> None:
        seen.append(1)
        if len(seen) == count:
            stop.set()

    return stop, Hooks(trial=ended)
