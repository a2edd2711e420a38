"""Find a finished run that was made from the very same inputs, so that it need not be executed again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.digest import sha256_file
from pipeline.errors import VerificationError
from pipeline.evidence.compare import (
    InputDifference,
    Inputs,
    compare_inputs,
    read_inputs,
    reproduction_key,
    reproduction_parts,
)
from pipeline.evidence.problem import Problem
from pipeline.evidence.provenance import Environment
from pipeline.evidence.trust import Trust
from pipeline.evidence.verify import verify_run
from pipeline.evidence.verify_all import verify_ledger
from pipeline.objects import flat
from pipeline.replay.importable import present_modules
from pipeline.replay.rerun import is_replay
from pipeline.run import Run, all_runs
from pipeline.runner import plan_run
from pipeline.secrets import mask_parameters
from pipeline.settings import Settings
from pipeline.spec import RunSpec

DECISIVE = ("spec", "data", "benchmark", "input", "notebook", "module", "package", "seed", "python")
MACHINE = ("implementation", "machine")


@dataclass(frozen=True)
class Considered:
    """One earlier run, and why it is not the one: the first input that differs, or what is wrong with the run."""

    run_id: str
    why_not: str
    differing: int = 0

    def __str__(self) -> str:
        more = f" (and {self.differing - 1} more)" if self.differing > 1 else ""
        return f"{self.run_id}: {self.why_not}{more}"


@dataclass(frozen=True)
class Reuse:
    """The decision: a run to use instead of executing, or None; `considered` are the runs that were not it.

    `key` is the reproduction key of the run that was found, None without one; `refused` says why none was looked for.
    """

    run: Run | None
    key: str | None
    considered: tuple[Considered, ...]
    refused: str | None = None

    @property
    def why(self) -> str:
        """Return the reason in one line; of several runs that do not match, the one that comes nearest."""
        if self.run is not None:
            return f"the run {self.run.run_id} was made from the same inputs (reproduction key {str(self.key)[:12]})"
        if self.refused is not None:
            return self.refused
        if not self.considered:
            return "there is no earlier run"
        nearest = min(self.considered, key=lambda item: (item.differing == 0, item.differing))
        return f"no earlier run was made from the same inputs; nearest is {nearest}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        considered = [{"run_id": item.run_id, "why_not": item.why_not} for item in self.considered]
        run_id = None if self.run is None else self.run.run_id
        return {"reused": run_id, "reproduction_key": self.key, "why": self.why, "considered": considered}


def find_reusable(spec: RunSpec, settings: Settings, *, trust: Trust | None = None) -> Reuse:
    """Return the newest FINISHED run that matches its seal and was made from what `spec` would be run on now.

    Compared are the resolved spec without names, tags, tracking and report, the digests of data and notebook, the
    source of every module the run had imported as it is now, package versions, Python and the machine's kind.
    A spec with a secret among its parameters is never matched. Replays come after all others; `trust` decides whose
    signature is accepted, and the ledger must know the run as it is. Raises UsageError as `plan_run` does.
    """
    _, secret = mask_parameters(spec)
    if secret:
        text = f"{', '.join(secret)} is masked in every run: whether one was made with the same value is not known"
        return Reuse(None, None, (), text)
    now = inputs_now(spec, settings)
    sources = _Sources(settings.root, {})
    ledger, of_ledger = verify_ledger(settings.results, trust=trust, signatures=False)

    def problems(run: Run) -> Sequence[Problem]:
        return *of_ledger.problems, *verify_run(run.dir, trust=trust, ledger=ledger).problems

    considered: list[Considered] = []
    for run in sorted(all_runs(settings=settings), key=lambda run: is_replay(run) is not None):
        refusal, key = _judged(run, now, sources, problems)
        if refusal is None:
            return Reuse(run, key, tuple(considered))
        considered.append(refusal)
    return Reuse(None, None, tuple(considered))


def inputs_now(spec: RunSpec, settings: Settings) -> Inputs:
    """Return what a run of `spec` would be made from now; its modules are only known once it was executed."""
    plan = plan_run(spec, settings)
    environment = Environment.of_this_process().to_dict()
    return Inputs(
        spec=dict(flat(plan.spec.to_dict())),
        data=sha256_file(plan.inputs["data"][1]) if "data" in plan.inputs else None,
        notebook=plan.notebook.sha256,
        packages=environment.pop("packages"),
        python=environment.pop("python"),
        platform=environment,
        benchmark=sha256_file(plan.inputs["benchmark"][1]) if "benchmark" in plan.inputs else None,
    )


@dataclass(frozen=True)
class _Sources:
    """What modules and files hold now; the sources of modules are looked up once for all runs."""

    root: Path
    known: dict[str, str | None]

    def files(self, names: Iterable[str]) -> dict[str, str]:
        """Return the digests that files which were read have now."""
        paths = {name: self.root / Path(name).expanduser() for name in names}
        return {name: sha256_file(path) for name, path in paths.items() if path.is_file()}

    def of(self, names: Iterable[str]) -> dict[str, str]:
        new = set(names) - self.known.keys()
        self.known.update({**dict.fromkeys(new), **present_modules(new, self.root)})
        return {name: digest for name in names if (digest := self.known[name]) is not None}


def _judged(
    run: Run, now: Inputs, sources: _Sources, problems_of: Callable[[Run], Sequence[Problem]]
) -> tuple[Considered | None, str | None]:
    """Return why a run cannot be used instead, or None and its key. The seal is checked last: it reads every file."""
    if run.status != "FINISHED" or run.manifest is None:
        return Considered(run.run_id, f"it is {run.status}, not FINISHED"), None
    try:
        then = read_inputs(run.manifest)
    except VerificationError as error:
        return Considered(run.run_id, str(error)), None
    present = replace(now, modules=sources.of(then.modules), inputs=sources.files(then.inputs))
    differing = [*_decisive(then, present)]
    if differing:
        return Considered(run.run_id, str(differing[0]), len(differing)), None
    problems = problems_of(run)
    if problems:
        return Considered(run.run_id, f"it does not match its seal: {problems[0]}"), None
    if not then.modules or reproduction_parts(then) != reproduction_parts(present):
        return Considered(run.run_id, "its manifest does not say which modules were imported"), None
    return None, reproduction_key(then)


def _decisive(then: Inputs, now: Inputs) -> Iterator[InputDifference]:
    """Yield the differences that count; where a label of one kind differs, it never does."""
    causes, _ = compare_inputs(then, now)
    for item in causes:
        if item.kind in DECISIVE or (item.kind == "platform" and item.name in MACHINE):
            yield item
