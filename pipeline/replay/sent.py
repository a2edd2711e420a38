"""Replay a bundle that somebody sent, in a temporary directory, with what came along instead of a project."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import UsageError
from pipeline.evidence.bundle import CODE, INPUTS, PACKAGE
from pipeline.evidence.compare import Inputs, read_inputs
from pipeline.evidence.modules import PACKAGE as OURS
from pipeline.evidence.modules import of_package
from pipeline.evidence.trust import Trust
from pipeline.evidence.unbundle import Sent, open_sent
from pipeline.open_run import Progress, silent
from pipeline.replay.explanation import sealed
from pipeline.replay.importable import present_modules
from pipeline.replay.packing import missing_code
from pipeline.replay.rerun import ReplayResult, refuse_sweep, replay_run
from pipeline.run import Run
from pipeline.settings import Settings


def replay_sent(
    sent_file: Path,
    *,
    tolerance: float | None = None,
    search: Sequence[Path] = (),
    trust: Trust | None = None,
    progress: Progress = silent,
) -> ReplayResult:
    """Verify a bundle, execute its run again with the code, notebook and inputs that came along, and compare.

    This executes what the sender wrote. Nothing is left: neither files nor a run. `trust` and what is raised are those
    of `replay_run`; a bundle without the code is refused with what its sender says about that (UsageError).
    """
    progress("verify")
    with open_sent(sent_file, trust=trust) as sent, tempfile.TemporaryDirectory(prefix="evidence-sent-") as directory:
        sent.verification.raise_for_problems()
        sent.needs_the_seal("replayed")
        run = Run(sent.run)
        refuse_sweep(run, sent_file)
        settings = _laid_out(sent, read_inputs(sealed(run)), Path(directory).resolve())
        places = [place for place in (sent.root / INPUTS, *search) if place.is_dir()]
        return replay_run(run, settings=settings, tolerance=tolerance, search=places, discard=True, progress=progress)


def _laid_out(sent: Sent, recorded: Inputs, directory: Path) -> Settings:
    """Make a project of what came along; the package comes along for when the installed one is another."""
    settings = Settings(directory / "project", directory / "results")
    code, package = sent.root / CODE, sent.root / PACKAGE / OURS
    if code.is_dir():
        shutil.copytree(code, settings.root)
    settings.root.mkdir(exist_ok=True)
    ours = {name: digest for name, digest in recorded.modules.items() if of_package(name)}
    if package.is_dir() and present_modules(ours, settings.root) != ours:
        shutil.copytree(package, settings.root / OURS)
    if missing := missing_code(recorded, settings.root):
        told = [item for item in sent.left_out if item["name"].startswith((CODE, "module "))]
        reasons = [f"{item['name']}: {item['why']}" for item in told] or ["the sender left the code out"]
        raise UsageError(
            f"The bundle cannot be replayed: the module {missing[0]} did not come along ({'; '.join(reasons)}). "
            "Ask for one made with `evidence bundle --with inputs,code,notebook`."
        )
    return settings
