"""Pages over several runs, and the seam through which another module adds its own.

A provider gets the entries of all runs and returns pages. The site puts them into its frame, lists each group on
`<group>/index.html`, and removes the ones that are not returned any more. Experiments are the provider it comes with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.report.markup import NOTHING, Html, html, together
from pipeline.site.entry import SiteEntry
from pipeline.site.layout import (
    EXPERIMENTS,
    INDEX,
    experiment_page,
    group_index,
    link_to,
    plain_page,
    root_of,
    run_page,
)
from pipeline.site.shards import Shard

PLOTLY = "plotly-basic.min.js"
PLAIN_COLUMNS = (
    "Run", "Started (UTC)", "Strategy", "Symbol", "Period", "Engine", "Data", "Experiment", "Status", "Seal", "Parts",
)  # fmt: skip
LISTING_SCRIPTS = ("metrics.js", "listing.js")


Shown = Callable[[str], str]


@dataclass(frozen=True)
class ExtraPage:
    """One page: `path` starts with its provider's group; `main` is HTML whose links are relative to that path.

    `scripts` are names in `assets/`. A page must be a function of the runs: no clock, no random id.
    """

    path: str
    title: str
    main: str
    scripts: tuple[str, ...] = ()


class PageProvider(Protocol):
    """Makes the pages of one group."""

    @property
    def group(self) -> str:
        """The folder of the pages, as `experiments`; plain lower-case letters."""
        ...

    @property
    def label(self) -> str:
        """What the navigation calls the group."""
        ...

    def pages(self, entries: Sequence[SiteEntry], shown: Shown) -> Iterable[ExtraPage]:
        """Return the pages for these runs, the run started last coming last.

        The entries are as they may be shown; whatever else is read of a run goes through `shown`, which leaves out
        of a text what a public site must not say.
        """
        ...


class ExperimentPages:
    """One page an experiment: its runs, and how its results are spread.

    The page holds no numbers: the script counts, so a new run in an experiment that is known changes no page.
    """

    group = EXPERIMENTS
    label = "Experiments"

    def pages(self, entries: Sequence[SiteEntry], shown: Shown) -> Iterable[ExtraPage]:  # noqa: ARG002 - entries are enough
        """Return a page for each experiment that has a name."""
        for name in sorted({entry.experiment for entry in entries} - {""}):
            main = html(
                '<p class="kicker">Experiment</p>\n<h1>{name}</h1>\n<div class="spread" hidden></div>\n{listing}',
                name=name,
                listing=listing(experiment=name, newest_plain=root_of(experiment_page(name)) + INDEX),
            )
            yield ExtraPage(experiment_page(name), name, main.text, (PLOTLY, "metrics.js", "chart.js", "listing.js"))


def group_page(provider: PageProvider, pages: Sequence[ExtraPage]) -> Html:
    """Return the content of the page that lists a group."""
    root = root_of(group_index(provider.group))
    if not pages:
        return html('<h1>{label}</h1>\n<p class="empty">There are none yet.</p>', label=provider.label)
    item = '<li data-item="{title}"><a href="{url}">{title}</a></li>'
    items = (html(item, title=page.title, url=root + link_to(page.path)) for page in pages)
    return html(
        '<h1>{label}</h1>\n<ul class="group" data-group="{group}">\n{items}\n</ul>',
        label=provider.label,
        group=provider.group,
        items=together(items, "\n"),
    )


def listing(*, experiment: str = "", newest_plain: str = "") -> Html:
    """Return the place of the listing; the script fills it, and without scripts there is a link to plain pages."""
    locked = html(' data-experiment="{name}"', name=experiment) if experiment else NOTHING
    link = html(' <a href="{url}">The runs as plain pages</a>.', url=newest_plain) if newest_plain else NOTHING
    return html(
        '<div id="listing"{locked}></div>\n'
        '<noscript><p class="note">Searching and sorting need JavaScript.{link}</p></noscript>',
        locked=locked,
        link=link,
    )


def index_page(title: str, shards: Sequence[Shard]) -> Html:
    """Return the content of the start page."""
    if not shards:
        return html('<h1>{title}</h1>\n<p class="empty">There are no runs yet.</p>', title=title)
    newest = link_to(plain_page(shards[-1][0].run_id))
    return html(
        "<h1>{title}</h1>\n{listing}\n"
        '<p class="note plain-link"><a href="{newest}">All runs as plain pages</a>, without search.</p>',
        title=title,
        listing=listing(newest_plain=newest),
        newest=newest,
    )


def compare_page() -> Html:
    """Return the content of the comparison page."""
    return Html(
        "<h1>Compare runs</h1>\n"
        '<div id="compare"><p class="empty">Choose two to eight runs in the <a href="index.html">list of runs</a>, '
        "then Compare.</p></div>\n"
        '<noscript><p class="note">Comparing needs JavaScript.</p></noscript>'
    )


def plain_main(shard: Shard, older: str | None) -> Html:
    """Return the content of a plain page: one shard's runs as a table, the last started first."""
    root = root_of(plain_page(shard[0].run_id))
    next_page = '<p><a href="{url}" rel="next">Older runs</a></p>'
    return html(
        "<h1>Runs</h1>\n"
        '<div class="table-box" tabindex="0" role="region" aria-label="Runs"><table>\n'
        "<caption>{counts}</caption>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n"
        "</table></div>\n{link}",
        counts=_status_counts(shard),
        heads=together(html('<th scope="col">{name}</th>', name=name) for name in PLAIN_COLUMNS),
        rows=together((_plain_row(entry, root) for entry in reversed(shard)), "\n"),
        link=html(next_page, url=root + link_to(older)) if older else NOTHING,
    )


def _plain_row(entry: SiteEntry, root: str) -> Html:
    cells = (
        entry.started_at.replace("T", " "),
        entry.strategy,
        entry.symbol,
        entry.period,
        entry.engine,
        entry.data,
        entry.experiment,
        entry.status,
        entry.seal,
        entry.reconciled.lower(),
    )
    return html(
        '<tr><th scope="row"><a href="{url}">{title}</a>{found}</th>{cells}</tr>',
        url=root + run_page(entry.run_id),
        title=entry.title,
        found=html('<span class="found">{found}</span>', found=entry.found) if entry.found else NOTHING,
        cells=together(html("<td>{cell}</td>", cell=cell) for cell in cells),
    )


def _status_counts(shard: Shard) -> str:
    counts = Counter(entry.status for entry in shard)
    return ", ".join(f"{number} {status}" for status, number in sorted(counts.items()))
