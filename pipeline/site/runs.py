"""Make the pages of runs: each run on its own, so that many processes can share the work."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pipeline.evidence.tombstone import Tombstone
from pipeline.evidence.trust import Trust
from pipeline.evidence.unmasked import unmasked_files
from pipeline.evidence.verify import verify_run
from pipeline.layout import MANIFEST, REPORT_DIR, SIGNATURE
from pipeline.run import Run
from pipeline.rundir import RunDir
from pipeline.settings import Settings
from pipeline.site import run_page
from pipeline.site.entry import BROKEN, SiteEntry, comparison, make_entry, script, seal_word
from pipeline.site.frame import Frame
from pipeline.site.layout import FILES, run_data, run_folder
from pipeline.site.layout import run_page as page_of
from pipeline.site.options import SiteOptions
from pipeline.site.output import Output
from pipeline.site.public_report import render_public
from pipeline.site.redaction import RedactedRun, Redactor, make_redactor
from pipeline.site.state import RunState, fingerprint

if TYPE_CHECKING:
    import pandas as pd

ALONE = 12  # so many runs are done before other processes have started
BATCH = 8
REPORT_PAGE = f"{REPORT_DIR}/index.html"


@dataclass(frozen=True)
class RunJob:
    """How the pages of runs are to be made. `recorded` has the digests of manifests that the ledger knows, by run,
    `tombstones` what it says of runs of which files were dropped.
    """

    settings: Settings
    options: SiteOptions
    output: Path
    frame: Frame
    trust: Trust | None
    recorded: Mapping[str, frozenset[str]]
    tombstones: Mapping[str, Tombstone] = field(default_factory=dict)


@dataclass(frozen=True)
class BuiltRun:
    """What became of one run: its state, and how many files changed."""

    run_id: str
    state: RunState
    written: int
    removed: int


def build_runs(run_ids: Sequence[str], seals: dict[str, str], job: RunJob, *, processes: int) -> Iterator[BuiltRun]:
    """Make the pages of these runs and yield each as it is done; `seals` has what is verified already."""
    work = [(run_id, seals.get(run_id)) for run_id in run_ids]
    if processes <= 1 or len(work) <= ALONE:
        yield from (build_run(run_id, seal, job) for run_id, seal in work)
        return
    batches = [work[i : i + BATCH] for i in range(0, len(work), BATCH)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(batches)), context, initializer=_start, initargs=(job,)) as pool:
        for done in pool.map(_build_batch, batches):
            yield from done


_job: list[RunJob] = []


def _start(job: RunJob) -> None:
    _job[:] = [job]


def _build_batch(batch: list[tuple[str, str | None]]) -> list[BuiltRun]:
    return [build_run(run_id, seal, _job[0]) for run_id, seal in batch]


def build_run(run_id: str, seal: str | None, job: RunJob) -> BuiltRun:
    """Write everything of one run; files of an earlier build that do not belong to it any more are removed."""
    directory = RunDir(job.settings.results, run_id)
    seen = fingerprint(directory.path)
    found: Run = Run(directory)
    if seal is None:
        verification = verify_run(directory, trust=job.trust, tombstone=job.tombstones.get(run_id))
        seal = seal_word(found, verification, trusted=job.trust is not None)
        if job.recorded.get(run_id, frozenset()) - {found.manifest_digest}:
            seal = BROKEN  # sealed again with other contents
    redactor = make_redactor(job.options, job.settings) if job.options.public else None
    run = found if redactor is None else RedactedRun(found, redactor)
    out = Output(job.output)
    held = unmasked_files(directory)
    files = _copy_files(run, out, redactor, held) if job.options.files else set()
    equity = _equity(run)
    entry = make_entry(run, seal, equity)
    bare = REPORT_PAGE not in held or redactor is not None
    html = _page(run, entry, files, redactor, job) if bare else _summary(run, entry, files, redactor, job)
    data = script("run", comparison(run, entry, equity))
    if redactor is not None:
        redactor.check(data, f"The data of {run_id}")
    out.put(page_of(run_id), html)
    out.put(run_data(run_id), data)
    base = run_folder(run_id)
    wanted = {page_of(run_id), run_data(run_id), *(f"{base}/{FILES}/{name}" for name in files)}
    out.keep_only(base, wanted)
    state = RunState(seen, seal, entry.to_dict(), fingerprint(out.root / base), held)
    return BuiltRun(run_id, state, out.written, out.removed)


def _page(run: Run, entry: SiteEntry, files: set[str], redactor: Redactor | None, job: RunJob) -> str:
    report = None if entry.seal == BROKEN else _report(run, redactor, job.settings)
    if report is not None:
        return run_page.from_report(report, entry, job.frame.title, files)
    return _summary(run, entry, files, redactor, job)


def _summary(run: Run, entry: SiteEntry, files: set[str], redactor: Redactor | None, job: RunJob) -> str:
    html = job.frame.page(page_of(entry.run_id), entry.title, run_page.summary(run, entry, files))
    return html if redactor is None else redactor.check(html, f"The page of {entry.run_id}")


def _report(run: Run, redactor: Redactor | None, settings: Settings) -> str | None:
    """Return the report as it lies in the run directory, one made for the public, or None without one.

    There is no public report of a sweep: its page is a summary.
    """
    if not run.dir.report.is_file() or run.dir.report.is_symlink() or (redactor is not None and run.is_sweep):
        return None
    if redactor is not None and isinstance(run, RedactedRun):
        return render_public(run, redactor, settings)
    return run.dir.report.read_text(encoding="utf-8", errors="replace")


def _copy_files(run: Run, out: Output, redactor: Redactor | None, held: Sequence[str]) -> set[str]:
    """Copy the sealed files and the seal, but what is `held` back; for the public only what may be shown.

    Returns the names of what was copied.
    """
    names = set(run.dir.sealed_paths()) if run.manifest_digest else set()
    names |= {name for name in (MANIFEST, SIGNATURE) if redactor is None and (run.dir.path / name).is_file()}
    copied = set()
    for name in sorted(names - {*held}):
        source = run.dir.path / PurePosixPath(name)
        if source.is_symlink() or (redactor is not None and not redactor.shows(name, source.read_bytes())):
            continue
        out.copy(source, f"{run_folder(run.run_id)}/{FILES}/{name}")
        copied.add(name)
    return copied


def _equity(run: Run) -> pd.DataFrame:
    """Return the equity curve; empty when it cannot be read (the seal says why)."""
    import pandas as pd

    try:
        return run.equity
    except (OSError, ValueError, KeyError):
        return pd.DataFrame()
