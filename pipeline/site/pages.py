"""Pages over several runs, and the seam through which another module adds its own.

A provider gets the entries of all runs and returns pages. The site puts them into its frame, lists each group on
`<group>/index.html`, and removes the ones that are not returned any more. Experiments are the provider it comes with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.escape import html_text
from pipeline.site.entry import Entry
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

    def pages(self, entries: Sequence[Entry], shown: Shown) -> Iterable[ExtraPage]:
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

    def pages(self, entries: Sequence[Entry], shown: Shown) -> Iterable[ExtraPage]:  # noqa: ARG002 - entries are enough
        """Return a page for each experiment that has a name."""
        for name in sorted({entry.experiment for entry in entries} - {""}):
            title = html_text(name)
            main = (
                f'<p class="kicker">Experiment</p>\n<h1>{title}</h1>\n'
                '<div class="spread" hidden></div>\n'
                f"{listing(experiment=name, newest_plain=root_of(experiment_page(name)) + INDEX)}"
            )
            yield ExtraPage(experiment_page(name), name, main, (PLOTLY, "metrics.js", "chart.js", "listing.js"))


def group_page(provider: PageProvider, pages: Sequence[ExtraPage]) -> str:
    """Return the content of the page that lists a group."""
    root = root_of(group_index(provider.group))
    if not pages:
        return f'<h1>{html_text(provider.label)}</h1>\n<p class="empty">There are none yet.</p>'
    titles = ((html_text(page.title), page.path) for page in pages)
    items = "\n".join(
        f'<li data-item="{title}"><a href="{root}{link_to(path)}">{title}</a></li>' for title, path in titles
    )
    return f'<h1>{html_text(provider.label)}</h1>\n<ul class="group" data-group="{provider.group}">\n{items}\n</ul>'


def listing(*, experiment: str = "", newest_plain: str = "") -> str:
    """Return the place of the listing; the script fills it, and without scripts there is a link to plain pages."""
    locked = f' data-experiment="{html_text(experiment)}"' if experiment else ""
    link = f' <a href="{newest_plain}">The runs as plain pages</a>.' if newest_plain else ""
    return (
        f'<div id="listing"{locked}></div>\n'
        f'<noscript><p class="note">Searching and sorting need JavaScript.{link}</p></noscript>'
    )


def index_page(title: str, shards: Sequence[Shard]) -> str:
    """Return the content of the start page."""
    if not shards:
        return f'<h1>{html_text(title)}</h1>\n<p class="empty">There are no runs yet.</p>'
    newest = plain_page(shards[-1][0].run_id)
    plain = f'<p class="note plain-link"><a href="{link_to(newest)}">All runs as plain pages</a>, without search.</p>'
    return f"<h1>{html_text(title)}</h1>\n{listing(newest_plain=link_to(newest))}\n{plain}"


def compare_page() -> str:
    """Return the content of the comparison page."""
    return (
        "<h1>Compare runs</h1>\n"
        '<div id="compare"><p class="empty">Choose two to eight runs in the <a href="index.html">list of runs</a>, '
        "then Compare.</p></div>\n"
        '<noscript><p class="note">Comparing needs JavaScript.</p></noscript>'
    )


def plain_main(shard: Shard, older: str | None) -> str:
    """Return the content of a plain page: one shard's runs as a table, the last started first."""
    root = root_of(plain_page(shard[0].run_id))
    rows = "\n".join(_plain_row(entry, root) for entry in reversed(shard))
    heads = "".join(f'<th scope="col">{name}</th>' for name in PLAIN_COLUMNS)
    link = f'<p><a href="{root}{link_to(older)}" rel="next">Older runs</a></p>' if older else ""
    return (
        "<h1>Runs</h1>\n"
        f'<div class="table-box" tabindex="0" role="region" aria-label="Runs"><table>\n'
        f"<caption>{_status_counts(shard)}</caption>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n"
        f"</table></div>\n{link}"
    )


def _plain_row(entry: Entry, root: str) -> str:
    link = f'<a href="{root}{run_page(entry.run_id)}">{html_text(entry.title)}</a>'
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
    shown = "".join(f"<td>{html_text(cell)}</td>" for cell in cells)
    found = f'<span class="found">{html_text(entry.found)}</span>' if entry.found else ""
    return f'<tr><th scope="row">{link}{found}</th>{shown}</tr>'


def _status_counts(shard: Shard) -> str:
    counts = Counter(entry.status for entry in shard)
    return ", ".join(f"{number} {status}" for status, number in sorted(counts.items()))
