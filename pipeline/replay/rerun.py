"""Replay a run: restore its inputs, execute it again into a run of its own, compare."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import EvidenceError, NotebookError, UsageError
from pipeline.evidence.compare import read_inputs
from pipeline.evidence.keys import PASSPHRASE, Prompt, check_signer, load_signer
from pipeline.evidence.ledger import REPLAY
from pipeline.evidence.trust import Trust
from pipeline.evidence.verify import verify_run
from pipeline.files import read_json
from pipeline.inputs.given import REPLAYED
from pipeline.layout import CELLS_BY_HAND, SCRIPT_BY_HAND
from pipeline.notebook.template import read_notebook
from pipeline.open_run import Progress, silent
from pipeline.replay import child
from pipeline.replay.explanation import Explanation, checked_tolerance, explain, sealed
from pipeline.replay.restore import Restored, Workspace, workspace
from pipeline.run import Run
from pipeline.rundir import RunDir, new_run_id
from pipeline.secrets import filled
from pipeline.settings import Settings
from pipeline.spec import ENGINE_SECTIONS, RunSpec
from pipeline.start import ORIGIN as BY_HAND
from pipeline.telemetry import about
from pipeline.template_files import template_path

USAGE = UsageError.exit_code
LAST_LINES = 15


@dataclass(frozen=True)
class ReplayResult:
    """What became of a replay: the run it left (None when discarded), how the inputs were found, the comparison.

    `warnings` say what speaks against the signature of the run it left.
    """

    run_id: str
    replay: Run | None
    restored: tuple[Restored, ...]
    explanation: Explanation
    warnings: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """Say whether the replay produced what the run had produced."""
        return self.explanation.equal

    def lines(self) -> Iterator[str]:
        """Yield the result for people, one fact a line."""
        yield from self.explanation.lines()
        for item in self.restored:
            yield str(item)
        kept = "discarded" if self.replay is None else f"kept as {self.replay.run_id}"
        yield f"replay of {self.run_id}, {kept}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "run_id": self.run_id,
            "replay_run_id": None if self.replay is None else self.replay.run_id,
            "restored": [asdict(item) for item in self.restored],
            "warnings": list(self.warnings),
            **self.explanation.to_dict(),
        }


@about("replay")
def replay_run(
    run: Run,
    *,
    settings: Settings,
    tolerance: float | None = None,
    search: Sequence[Path] = (),
    discard: bool = False,
    trust: Trust | None = None,
    progress: Progress = silent,
    prompt: Prompt | None = None,
) -> ReplayResult:
    """Execute a sealed run again from its recorded inputs, without tracking or report, and compare the two.

    The replay is a run of its own, whose origin names the run; with `discard` it is made outside the project's
    results and removed. `search` are directories to look for the data in, by its digest; `trust` decides whose
    signature on the run is accepted; `progress` is called with the name of each stage, `prompt` with a question when
    the key that signs the replay needs a passphrase (one that is discarded is not signed). Raises VerificationError
    when the run does not match its seal, UsageError when it was not executed from a notebook, an input is gone, the
    environment does not give the value of a masked parameter, or the key may not sign.
    """
    checked_tolerance(tolerance)
    refuse_sweep(run)
    recorded = read_inputs(sealed(run))
    verify_run(run.dir, trust=trust, report=False).raise_for_problems()
    if recorded.notebook is None:
        raise UsageError(
            f"The run {run.run_id} was started by hand ({run.record.origin}), and its code was not recorded, "
            "so it cannot be replayed. Execute the notebook with `evidence run`."
        )
    unlocked, unsigned = ({}, None) if discard else _signing(settings, prompt)
    asked = _asked_by_hand(run) if run.record.origin == BY_HAND else run.config
    spec = {**asked, "tracking": {"mode": "off"}, "report": {"enabled": False}}
    filled(RunSpec.from_mapping(spec), os.environ)
    progress("restore")
    with _results(settings, discard=discard) as results:
        with workspace(spec, recorded, settings, search=search) as space:
            progress("execute")
            origin = f"{REPLAY}{run.run_id}"
            replay = _execute(space, results, origin=origin, signed=not discard, unlocked=unlocked)
        progress("compare")
        explanation = explain(run, replay, tolerance=tolerance)
    warnings = () if unsigned is None else (unsigned,)
    return ReplayResult(run.run_id, None if discard else replay, space.restored, explanation, warnings)


def _asked_by_hand(run: Run) -> dict[str, Any]:
    """Return the spec that executes the code of a run by hand: its own cells ask for the sections."""
    kept = CELLS_BY_HAND if (run.dir.path / CELLS_BY_HAND).is_file() else SCRIPT_BY_HAND
    name = run.config["run"].get("notebook")
    fits = isinstance(name, str) and Path(name).suffix == Path(kept).suffix
    asked = {key: value for key, value in run.config.items() if key not in ENGINE_SECTIONS}
    return {**asked, "run": {**run.config["run"], "notebook": name if fits else kept}}


def refuse_sweep(run: Run, bundle: Path | None = None) -> None:
    """Raise UsageError for a sweep, with what can be done instead; `bundle` is what it was sent in."""
    if not run.is_sweep:
        return
    start = f"{run.run_id} is a sweep, which is not executed again as a run is"
    if bundle is not None:
        ask = "".join(f"; ask its sender for one of its best trial, the run {best}" for best in _best_runs(run)[:1])
        raise UsageError(f"{start}: `evidence recompute {bundle}` checks its table of trials{ask}.")
    if run.manifest is None:
        raise UsageError(f"{start}, and it has not ended: `evidence sweep` with its spec takes it up again.")
    best = _best_runs(run)
    instead = f"`evidence replay {best[0]}` repeats its best trial" if best else "none of its trials is a run"
    raise UsageError(
        f"{start}: {instead}; `evidence recompute` checks its table of trials; `evidence sweep --new` with "
        f"{run.dir.config_toml} searches again."
    )


def _best_runs(run: Run) -> list[str]:
    """Return the best trials of a sealed sweep that are whole runs, the best first, as its statistics name them."""
    try:
        told = read_json(run.dir.statistics)
        best = told.get("best_runs") or []
        lines = run.dir.trials.read_text(encoding="utf-8").splitlines() if not best else []
        ids = {trial["number"]: trial["run_id"] for trial in map(json.loads, lines)}
        full = run.config["sweep"].get("mode") == "full"
        return [*best, *(ids[number] for number in told["ranking"][:1] if full)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def _signing(settings: Settings, prompt: Prompt | None) -> tuple[dict[str, str], str | None]:
    """Return variables that unlock the key for the replay's process, and a warning when nothing signs there."""
    answers: dict[str, str] = {}

    def ask(question: str) -> str:
        assert prompt is not None  # noqa: S101 - it is called only then
        return answers.setdefault(PASSPHRASE, prompt(question))

    return answers, check_signer(load_signer(prompt=ask if prompt else None), settings)


@contextmanager
def _results(settings: Settings, *, discard: bool) -> Iterator[Path]:
    """Yield where the replay's run directory is made: a temporary place when it is not to be kept."""
    if not discard:
        yield settings.results
        return
    with tempfile.TemporaryDirectory(prefix="evidence-replay-") as directory:
        yield Path(directory).resolve() / "results"


def _execute(space: Workspace, results: Path, *, origin: str, signed: bool, unlocked: Mapping[str, str]) -> Run:
    """Execute the workspace's spec in a process of its own, which imports the workspace's modules, not ours."""
    run_id = new_run_id()
    request = {
        "spec": _handed_over(space),
        "root": str(space.root),
        "results": str(results),
        "run_id": run_id,
        "origin": origin,
        "signed": signed,
    }
    with tempfile.TemporaryDirectory(prefix="evidence-") as directory:
        file = Path(directory) / "request.json"
        file.write_text(json.dumps(request), encoding="utf-8")
        code, errors = _run_child(file, space.root, {**unlocked, REPLAYED: json.dumps(space.frames)})
    if code != 0:
        text = "\n".join(errors.strip().splitlines()[-LAST_LINES:])
        kind = UsageError if code == USAGE else EvidenceError
        raise kind(f"The replay could not be executed: {text or f'its process ended with {code}'}")
    return Run(RunDir(results, run_id))


def _handed_over(space: Workspace) -> dict[str, Any]:
    """Return the spec without sections that the notebook of an earlier version's run does not declare.

    They hold defaults there that nobody asked for.
    """
    name = space.spec["run"]["notebook"]
    declared = read_notebook(template_path(Settings(space.root, space.root), name, error=NotebookError)).parameters
    return {key: value for key, value in space.spec.items() if key not in ENGINE_SECTIONS or key in declared}


def _run_child(request: Path, root: Path, unlocked: Mapping[str, str]) -> tuple[int, str]:
    command = [sys.executable, "-P", str(Path(child.__file__).resolve()), str(request)]
    inherited = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    environment = {**os.environ, **unlocked, "PYTHONPATH": os.pathsep.join([str(root), *inherited])}
    process = subprocess.Popen(  # noqa: S603 - this interpreter, this package's own script
        command, cwd=root, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        _, errors = process.communicate()
    except BaseException:
        process.terminate()
        process.communicate()
        raise
    return process.returncode, errors.decode(errors="replace")


def is_replay(run: Run) -> str | None:
    """Return the run_id a run replays; None for a run that is not a replay."""
    origin = run.record.origin
    return origin.removeprefix(REPLAY) if origin.startswith(REPLAY) else None
