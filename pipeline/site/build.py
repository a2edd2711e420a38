"""Build the website: only what changed since the last build, the head last.

What may be changed is in the folders of `layout.MANAGED`, in the folders of page providers and in pages at the top; a
file of one's own beside them (CNAME, robots.txt) stays. A build that ends early, the first one too, is gone on with by
the next; of two at once one waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.backtest.catalogue import METRICS
from pipeline.digest import canonical_json, sha256_bytes, sha256_file
from pipeline.errors import StorageError, UsageError
from pipeline.evidence.ledger_check import check_ledger
from pipeline.evidence.tombstone import Tombstone
from pipeline.evidence.trust import TRUST_FILE, Trust, project_trust
from pipeline.file_lock import locked
from pipeline.file_names import is_plain_name
from pipeline.report.markup import Html, html
from pipeline.report.resolve import ASSETS as REPORT_ASSETS
from pipeline.run import Run
from pipeline.rundir import LEDGER, RUN_ID, RunDir, run_ids
from pipeline.settings import Settings
from pipeline.site import pages
from pipeline.site.entry import SiteEntry, script
from pipeline.site.frame import OWN, Frame
from pipeline.site.layout import (
    ASSETS,
    COMPARE,
    DATA,
    EXPERIMENTS,
    HEAD,
    INDEX,
    LOCK,
    MANAGED,
    PLAIN,
    RUNS,
    STATE,
    group_index,
    plain_page,
    run_folder,
)
from pipeline.site.options import SiteOptions
from pipeline.site.output import Output
from pipeline.site.prose import Prose, read_prose, render_prose
from pipeline.site.redaction import Redactor, make_redactor
from pipeline.site.runs import BuiltRun, RunJob, build_runs
from pipeline.site.shards import cut, head_script, shard_script
from pipeline.site.state import RunState, SiteState, fingerprint, read_state, write_state
from pipeline.telemetry import step

SHARED = ("plotly-basic.min.js", "LICENSE-plotly.txt", "report.css", "report.js", "tables.js")
SCRIPTS = ("site.css", "site.js", "listing.js", "chart.js", "compare.js")
OF_HOSTS = {"CNAME", "robots.txt", "favicon.ico", ".nojekyll", ".well-known", ".git"}  # a host asks for these
Progress = Callable[[Iterator[BuiltRun], int], Iterator[BuiltRun]]


@dataclass(frozen=True)
class SiteBuild:
    """What a build did: runs on the site, runs whose pages were made, files written and removed.

    `held` are, by run, the files that hold a secret in clear, which the site does not have.
    """

    output: Path
    runs: int
    built: int
    written: int
    removed: int
    held: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class _Plan:
    """What one build knows: where to, how, what was there, and what is wanted."""

    settings: Settings
    options: SiteOptions
    out: Output
    before: SiteState
    providers: Sequence[pages.PageProvider]
    prose: list[Prose]
    now: SiteState
    redactor: Redactor | None
    wanted: set[str] = field(default_factory=set)

    def put(self, path: str, content: str | bytes) -> None:
        self.wanted.add(path)
        if self.redactor is not None and isinstance(content, str):
            self.redactor.check(content, f"The page {path}")
        self.out.put(path, content)


@step("site build")
def build_site(
    settings: Settings,
    output: Path,
    options: SiteOptions | None = None,
    *,
    force: bool = False,
    processes: int = 1,
    providers: Sequence[pages.PageProvider] = (),
    progress: Progress = lambda items, _total: items,
) -> SiteBuild:
    """Make or update the website of a project's runs in `output`. Runs that are executed right now are left out.

    `providers` add pages besides those of experiments. `force` makes everything again. A build that is interrupted
    leaves the pages of the last one usable; the next build goes on. Raises UsageError, RenderError, StorageError.
    """
    root = output.resolve()
    _check_output(root, settings)
    prose = read_prose(settings)
    with _begun(root):
        plan = _make_plan(
            settings, options or SiteOptions(), root, (pages.ExperimentPages(), *providers), prose, force=force
        )
        return _build(plan, processes, progress)


def _build(plan: _Plan, processes: int, progress: Progress) -> SiteBuild:
    settings, root = plan.settings, plan.out.root
    frame = _frame(plan)
    changed, seals = _changed(plan)
    trust = project_trust(settings)
    recorded, tombstones = _recorded(settings, set(changed) - seals.keys(), trust)
    job = RunJob(settings, plan.options, root, frame, trust, recorded, tombstones)
    for built in progress(build_runs(changed, seals, job, processes=processes), len(changed)):
        plan.now.runs[built.run_id] = built.state
        plan.out.written += built.written
        plan.out.removed += built.removed
    _write_shared(plan, frame)
    _write_lists(plan, frame)
    _remove_rest(plan)
    write_state(root, plan.now)
    held = {run_id: state.held for run_id, state in plan.now.runs.items() if state.held}
    return SiteBuild(root, len(plan.now.runs), len(changed), plan.out.written, plan.out.removed, held)


def _check_output(root: Path, settings: Settings) -> None:
    """Refuse a directory that a site must not be written to; raises UsageError."""
    if root == settings.root or root in settings.root.parents or settings.results in (root, *root.parents):
        raise UsageError(f"{root} cannot hold the site: it is the project or its runs. Give a directory of its own.")
    if root.exists() and not root.is_dir():
        raise UsageError(f"{root} is a file, and a site is a directory. Give another name.")
    there = {path.name for path in root.iterdir()} if root.is_dir() else set()
    if not there & {LOCK, STATE} and not (root / HEAD).is_file() and (other := sorted(there - OF_HOSTS)):
        raise UsageError(
            f"{root} is not empty and holds no site ({other[0]!r} is there). Give another directory, or empty it."
        )


@contextmanager
def _begun(root: Path) -> Iterator[None]:
    """Mark the directory as one of a site, and wait for the end of another build of it; raises StorageError."""
    with ExitStack() as held:
        try:
            root.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked(root / LOCK))
        except OSError as error:
            raise StorageError(f"{root} cannot be written: {error.strerror}. Check its permissions.") from error
        yield


def _make_plan(
    settings: Settings,
    options: SiteOptions,
    root: Path,
    providers: Sequence[pages.PageProvider],
    prose: list[Prose],
    *,
    force: bool,
) -> _Plan:
    before, out = read_state(root), Output(root)
    if before.public != options.public:
        before = SiteState(groups=before.groups)
        for folder in (*MANAGED, *before.groups):  # nothing of the other kind of site may stay
            out.remove(folder)
    trust = settings.root / TRUST_FILE
    now = SiteState(
        key=_key(options, prose, providers),
        trust=sha256_file(trust) if trust.is_file() else "",
        public=options.public,
        prose=render_prose(prose, before.prose),
    )
    if force:
        before = replace(before, runs={})
    redactor = make_redactor(options, settings) if options.public else None
    return _Plan(settings, options, out, before, providers, prose, now, redactor)


def _key(options: SiteOptions, prose: Sequence[Prose], providers: Sequence[pages.PageProvider]) -> str:
    """Return one digest over everything that shapes the page of every run."""
    sources = sorted([*Path(__file__).parent.glob("*.py"), *OWN.iterdir(), *REPORT_ASSETS.iterdir()])
    digests = [f"{path.name} {sha256_file(path)}" for path in sources if path.is_file()]
    navigation = [*(provider.label for provider in providers), *(page.title for page in prose)]
    return sha256_bytes(canonical_json([digests, navigation, repr(options)]))


def _frame(plan: _Plan) -> Frame:
    groups = ((provider.label, group_index(provider.group)) for provider in plan.providers)
    prose = ((page.title, page.path) for page in plan.prose)
    return Frame(plan.options.title, (*Frame.navigation, *groups, *prose))


def _changed(plan: _Plan) -> tuple[list[str], dict[str, str]]:
    """Return the runs whose pages must be made, oldest known first, and the seals that are still known.

    Runs that stay as they are are taken over into the new state.
    """
    changed, seals = [], {}
    before, now = plan.before, plan.now
    for run_id in sorted(run_ids(plan.settings.results)):
        directory = RunDir(plan.settings.results, run_id)
        if not directory.manifest.is_file() and Run(directory).status == "RUNNING":
            continue
        known = before.runs.get(run_id)
        same = known is not None and known.fingerprint == fingerprint(directory.path)
        if known is not None and same and before.trust == now.trust:
            seals[run_id] = known.seal
            if before.key == now.key and _intact(plan.out.root, run_id, known):
                now.runs[run_id] = known
                continue
        changed.append(run_id)
    return changed, seals


def _recorded(
    settings: Settings, wanted: Set[str], trust: Trust | None
) -> tuple[dict[str, frozenset[str]], dict[str, Tombstone]]:
    """Return what the ledger says of the runs that are to be verified: digests of manifests, and what was dropped."""
    if not wanted:
        return {}, {}
    ledger = check_ledger(settings.results / LEDGER, trust=trust, signatures=False)
    seals = {run_id: ledger.seals_of(run_id) for run_id in wanted}
    stones = {run_id: stone for run_id in wanted if (stone := ledger.tombstone_of(run_id)) is not None}
    recorded = {
        run_id: frozenset(str(entry.event.subject_sha256) for entry in found) for run_id, found in seals.items()
    }
    return recorded, stones


def _intact(root: Path, run_id: str, state: RunState) -> bool:
    """Say whether everything of a run on the site is as it was written."""
    try:
        return fingerprint(root / run_folder(run_id)) == state.written
    except OSError:
        return False


def _write_shared(plan: _Plan, frame: Frame) -> None:
    """Write scripts, style, and the prose pages."""
    for name in SHARED:
        plan.put(f"{ASSETS}/{name}", (REPORT_ASSETS / name).read_bytes())
    for name in SCRIPTS:
        plan.put(f"{ASSETS}/{name}", (OWN / name).read_bytes())
    known = {name: [item.label, item.kind, item.meaning] for name, item in METRICS.items()}
    plan.put(f"{ASSETS}/metrics.js", script("metrics", [[name, *said] for name, said in known.items()]))
    for page in plan.prose:
        main = html('<div class="prose">\n{shown}\n</div>', shown=Html(plan.now.prose[page.name][1]))
        plan.put(page.path, frame.page(page.path, page.title, main))
    plan.put(".nojekyll", b"")


def _write_lists(plan: _Plan, frame: Frame) -> None:
    """Write the pages over several runs, then the shards, and last the head that names them."""
    entries = [SiteEntry.from_dict(state.entry) for state in plan.now.runs.values()]
    shards = cut(entries)
    ordered = [entry for shard in shards for entry in shard]
    for provider in plan.providers:
        _write_group(plan, frame, provider, ordered)
    older = None
    for shard in shards:
        path = plain_page(shard[0].run_id)
        plan.put(path, frame.page(path, "Runs", pages.plain_main(shard, older), crumb=INDEX))
        older = path
    scripts = pages.LISTING_SCRIPTS if shards else ()
    plan.put(INDEX, frame.page(INDEX, frame.title, pages.index_page(frame.title, shards), scripts=scripts))
    comparing = (pages.PLOTLY, "metrics.js", "chart.js", "compare.js")
    plan.put(COMPARE, frame.page(COMPARE, "Compare runs", pages.compare_page(), scripts=comparing))
    made = [shard_script(shard) for shard in shards]
    for name, text in made:
        plan.put(name, text)
    plan.put(HEAD, head_script([name for name, _ in made], len(ordered)))


def _write_group(plan: _Plan, frame: Frame, provider: pages.PageProvider, entries: Sequence[SiteEntry]) -> None:
    index = group_index(provider.group)
    made = list(provider.pages(entries, str if plan.redactor is None else plan.redactor.text))
    for page in made:
        inside = is_plain_name(page.path) and page.path.startswith(f"{provider.group}/")
        if not inside or page.path in plan.wanted:
            raise UsageError(f"The page {page.path!r} must be in the folder {provider.group!r}, and be there once.")
        plan.put(page.path, frame.page(page.path, page.title, Html(page.main), scripts=page.scripts, crumb=index))
    scripts = pages.LISTING_SCRIPTS if provider.group == EXPERIMENTS else ()
    plan.put(index, frame.page(index, provider.label, pages.group_page(provider, made), scripts=scripts))
    plan.now.groups.append(provider.group)


def _remove_rest(plan: _Plan) -> None:
    """Remove pages of runs, experiments and prose that are no more, and shards that the head names no longer."""
    groups = {*plan.before.groups, *plan.now.groups}
    for folder in (ASSETS, DATA, PLAIN, *sorted(groups)):
        plan.out.keep_only(folder, plan.wanted)
    plan.out.remove_unfinished()
    for run_id in plan.out.names(RUNS) - plan.now.runs.keys():
        if RUN_ID.fullmatch(run_id):
            plan.out.remove(run_folder(run_id))
    for name in plan.before.prose.keys() - plan.now.prose.keys():
        plan.out.remove(f"{name}.html")
