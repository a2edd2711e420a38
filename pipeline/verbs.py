"""What is done with runs, as functions: verify, render, replay, explain, recompute, bundle, sweep, website.

Each does what the command of that name does, for a run that is given as such, by its id, the start of its id, or as
`last`; and returns what the command prints. Keys are those of the environment: nobody is asked for a passphrase.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import RenderError, SigningWarning, UsageError
from pipeline.run import LAST, Run, load_run
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.evidence.bundle import BundleInfo
    from pipeline.evidence.problem import Verification
    from pipeline.evidence.signer import Signer
    from pipeline.evidence.trust import Trust
    from pipeline.replay import Explanation, ReplayResult
    from pipeline.replay.recompute import Recomputation
    from pipeline.report.bulk import Rendered
    from pipeline.report.job import RenderJob
    from pipeline.report.record import RenderRecord
    from pipeline.site.build import SiteBuild
    from pipeline.sweep.spec import SweepSpec
    from pipeline.sweep.sweep import SweepOutcome
    from pipeline.tracking.sync import SyncResult

BUNDLE = ".zip"


def verify(
    run: Run | Path | str = LAST,
    *,
    trust: Path | None = None,
    checkpoint: str | None = None,
    settings: Settings | None = None,
) -> Verification:
    """Compare a run with its seal, its signature, its report and the ledger, or a bundle with what its sender signed.

    What ends with `.zip` is a bundle; a Path may also be the directory of a run or of an unpacked bundle. `trust` is a
    file of trusted keys, by default the project's for its own runs and nobody's for what was sent. `checkpoint` is
    one of the ledger (SEQ:SHA256) that was printed earlier. Nothing is raised for what does not match: see `.ok`,
    `.problems` and `.verdict` of what is returned. Raises RunNotFoundError, UsageError.
    """
    from pipeline.evidence.ledger import Checkpoint
    from pipeline.evidence.trust import project_trust
    from pipeline.evidence.unbundle import verify_bundle, verify_path
    from pipeline.evidence.verify import verify_run
    from pipeline.evidence.verify_all import verify_ledger

    known = Checkpoint.parse(checkpoint) if checkpoint else None
    if (sent := _sent(run)) is not None:
        check = verify_path if sent.is_dir() else verify_bundle
        return check(sent, trust=_named(trust), checkpoint=known)
    settings = settings or Settings.load()
    allowed = project_trust(settings, trust)
    chain, ledger = verify_ledger(settings.results, trust=allowed, checkpoint=known, signatures=False)
    own = verify_run(_found(run, settings).dir, trust=allowed, ledger=chain)
    return replace(own, problems=(*ledger.problems, *own.problems))


def render_report(
    run: Run | str = LAST,
    *,
    renderer: str = "auto",
    template: Path | None = None,
    static: bool | None = None,
    settings: Settings | None = None,
) -> RenderRecord:
    """Render the report of a run or a sweep, sign and record it, attach it to the tracked run; return its record.

    `renderer` is auto, quarto or embedded; `template` a source instead of `reports/backtest_report.qmd`; `static` draws
    the figures instead of using plotly.js. A store that is away is a TrackingWarning. Raises RenderError.
    """
    from pipeline.report.job import RenderJob
    from pipeline.tracking import TrackingWarning

    settings = settings or Settings.load()
    job = RenderJob(settings, renderer, template, static)
    rendered, delivered = next(render_reports([_found(run, settings)], job, signer=_signer(settings)))
    if rendered.record is None:
        raise RenderError(rendered.error or "The report was not rendered.")
    if delivered is not None and delivered.error:
        warnings.warn(f"not in MLflow yet: {delivered.error}", TrackingWarning, stacklevel=2)
    return rendered.record


def render_reports(
    runs: Sequence[Run], job: RenderJob, *, signer: Signer | None, processes: int = 1
) -> Iterator[tuple[Rendered, SyncResult | None]]:
    """Render the reports of runs and yield each as it is done, recorded, and what its delivery to MLflow came to."""
    from pipeline.digest import sha256_file
    from pipeline.evidence.recording import record_report
    from pipeline.sweep.report.bulk import render_all
    from pipeline.tracking import publish_report

    before = {run.run_id: sha256_file(run.dir.report) if run.dir.report.is_file() else None for run in runs}
    for rendered in render_all(runs, job, processes=processes):
        delivered = None
        if rendered.record is not None and rendered.run.manifest_digest is not None:
            record_report(rendered.run.dir, signer)
            if rendered.record.report_sha256 != before[rendered.run.run_id]:
                delivered = publish_report(rendered.run.dir, job.settings)
        yield rendered, delivered


def replay_run(
    run: Run | Path | str = LAST,
    *,
    tolerance: float | None = None,
    search: Sequence[Path] = (),
    discard: bool = False,
    trust: Path | None = None,
    settings: Settings | None = None,
) -> ReplayResult:
    """Execute a run again from its recorded inputs and compare; see `.equal` of what is returned.

    A Path is a bundle: its code, notebook and inputs are used in a temporary directory, and what its sender wrote is
    executed. `tolerance` is relative, None exact. `search` are directories where inputs are looked for by their digest;
    `discard` removes the replay's run directory. Raises UsageError when something is missing, VerificationError.
    """
    from pipeline.evidence.trust import project_trust
    from pipeline.replay import replay_run as execute_again
    from pipeline.replay.sent import replay_sent

    if (sent := _sent(run)) is not None:
        return replay_sent(sent, tolerance=tolerance, search=search, trust=_named(trust))
    settings = settings or Settings.load()
    return execute_again(
        _found(run, settings),
        settings=settings,
        tolerance=tolerance,
        search=search,
        discard=discard,
        trust=project_trust(settings, trust),
    )


def recompute(run: Run | str = LAST, *, settings: Settings | None = None) -> Recomputation:
    """Compute the figures of a run again from its sealed tables, of a sweep from its trials; nothing is executed.

    This says nothing about who sealed what: `verify` the run first. Raises UsageError where nothing can be computed.
    """
    from pipeline.replay.recompute import recompute_run
    from pipeline.sweep.recompute import recompute_sweep

    found = _found(run, settings)
    return recompute_sweep(found) if found.is_sweep else recompute_run(found)


def explain(
    before: Run | str, after: Run | str = LAST, *, tolerance: float | None = None, settings: Settings | None = None
) -> Explanation:
    """Say why two runs differ: the first input that does, then by how much their outputs do."""
    from pipeline.replay import explain as explain_runs

    return explain_runs(_found(before, settings), _found(after, settings), tolerance=tolerance)


def make_bundle(
    run: Run | str = LAST,
    output: Path | str | None = None,
    *,
    parts: Sequence[str] | None = None,
    public: bool = False,
    trust: Path | None = None,
    settings: Settings | None = None,
) -> BundleInfo:
    """Pack a run for somebody who has none of this, to `output`, by default `evidence-RUN_ID.zip`; return what it is.

    `parts` are some of ledger, notebook, code, inputs, strategies; None takes what can be had, up to 64 MiB. `public`
    leaves out the seal, and files with paths, hosts and users. Raises VerificationError for a run that does not verify,
    UsageError for a part that cannot be had.
    """
    from pipeline.evidence.bundle import make_bundle as pack
    from pipeline.evidence.trust import project_trust
    from pipeline.replay.packing import gathered, known_parts
    from pipeline.replay.public import public_luggage

    settings, parts = settings or Settings.load(), None if parts is None else known_parts(parts)
    found = _found(run, settings)
    target = Path(output or f"evidence-{found.run_id}{'-public' * public}.zip")
    allowed = project_trust(settings, trust)
    gathering = nullcontext(public_luggage(found, settings, wanted=parts)) if public else None
    with gathering or gathered(found, settings, wanted=parts) as luggage:
        return pack(
            found.dir, target, ledger=found.dir.ledger, signer=_signer(settings), trust=allowed, luggage=luggage
        )


def run_sweep(
    spec: SweepSpec | Path | str,
    *,
    overrides: Mapping[str, Any] | None = None,
    jobs: int | None = None,
    executor: str = "local",
    resume: bool = True,
    settings: Settings | None = None,
) -> SweepOutcome:
    """Search the parameter space of a strategy, and judge what was found.

    `spec` is a sweep spec or its file, `overrides` are laid over it (`{"sweep.trials": 50}`). `executor` is local with
    `jobs` processes, by default one a core; inline; or dask://HOST:PORT. An interrupted sweep of the same spec goes on
    unless `resume` is false. Raises SpecError, UsageError before anything starts.
    """
    from pipeline.sweep.executor import open_executor
    from pipeline.sweep.spec import SweepSpec, read_sweep
    from pipeline.sweep.sweep import run_sweep as search

    read, given = (spec, None) if isinstance(spec, SweepSpec) else read_sweep(Path(spec), overrides)
    with open_executor(executor, jobs or os.cpu_count() or 1) as where:
        return search(
            read,
            settings=settings or Settings.load(),
            executor=where,
            given=given,
            overrides=overrides,
            resume=resume,
        )


def build_site(
    output: Path | str = "_site",
    *,
    public: bool = False,
    force: bool = False,
    processes: int = 1,
    settings: Settings | None = None,
) -> SiteBuild:
    """Make or update the website of all runs in `output`, relative to the project; `force` makes everything again.

    `public` leaves out paths, addresses, names of hosts and users, environments. Raises UsageError, StorageError.
    """
    from pipeline.site.build import build_site as build
    from pipeline.site.options import load_options
    from pipeline.sweep.site_pages import SweepPages

    settings = settings or Settings.load()
    return build(
        settings,
        settings.resolve(Path(output)),
        load_options(settings, public=public),
        force=force,
        processes=processes,
        providers=[SweepPages(settings.results)],
    )


def _sent(run: Run | Path | str) -> Path | None:
    """Return the bundle or directory that is meant, None for a run of the project; raises UsageError."""
    if isinstance(run, Run) or not (isinstance(run, Path) or run.endswith(BUNDLE)):
        return None
    if not os.path.exists(run):  # noqa: PTH110 - a Path raises for a name that is too long
        raise UsageError(f"There is no {run}. Give a bundle, or the directory of a run.")
    return Path(run)


def _found(run: Run | Path | str, settings: Settings | None) -> Run:
    return run if isinstance(run, Run) else load_run(run, settings=settings)


def _named(trust: Path | None) -> Trust | None:
    """Return the keys of a trust file that was named; a project's own says nothing about what was sent."""
    from pipeline.evidence.trust import load_trust

    return load_trust(trust, named=True) if trust else None


def _signer(settings: Settings) -> Signer | None:
    """Return what signs; that nobody does although the project names keys is a SigningWarning."""
    from pipeline.evidence.keys import check_signer, load_signer

    signer = load_signer()
    if told := check_signer(signer, settings):
        warnings.warn(told, SigningWarning, stacklevel=3)
    return signer
