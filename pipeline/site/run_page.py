"""The page of one run: its report with a way back into the site, or what is known of a run without a report."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache
from html import unescape
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from pipeline.backtest.catalogue import metric
from pipeline.escape import html_lines
from pipeline.report.markup import NOTHING, Html, code, html, link, mark, together
from pipeline.report.numbers import DASH, format_bytes, format_number, ordered
from pipeline.report.resolve import ASSETS
from pipeline.report.selfcontained import PLOTLY, SCRIPT, TABLES
from pipeline.site.entry import BROKEN, SEALED, SIGNED, UNSEALED, SiteEntry
from pipeline.site.frame import ICON
from pipeline.site.layout import COMPARE, FILES, INDEX, experiment_page, link_to, root_of, run_page

if TYPE_CHECKING:
    from pipeline.run import Run

SCRIPTS_ONLY = "content=\"default-src 'none'; script-src "
SHARED = (PLOTLY, SCRIPT, TABLES)
FILE_LINK = re.compile(r'<a href="\.\./([^"]*)"[^>]*>(.*?)</a>', re.DOTALL)
SKIP_LINK = re.compile(r'<a class="skip"[^>]*>.*?</a>\n?', re.DOTALL)
SEAL_MARKS = {
    SIGNED: ("finished", "Signature and seal match"),
    SEALED: ("finished", "Seal matches"),
    BROKEN: ("failed", "Seal broken"),
    UNSEALED: ("killed", "Not sealed"),
}
BROKEN_SAYS = (
    "The files of this run differ from its seal, so neither its report nor its numbers are shown: nothing in them is "
    "confirmed."
)
BAR_STYLE = (
    "<style>.site-bar{display:flex;flex-wrap:wrap;gap:.375rem 1.25rem;align-items:baseline;padding:.625rem 1.25rem;"
    "border-bottom:1px solid var(--line);font-size:.875rem;background:var(--surface)}.site-bar a{color:var(--text);"
    "text-decoration:none}.site-bar a:hover{text-decoration:underline}.site-bar .site-name{font-weight:600}"
    "@media(min-width:64rem){.site-bar{padding:.625rem 2rem}}@media print{.site-bar{display:none}}</style>\n"
)


def seal_mark(seal: str) -> Html:
    """Return what verification found as a mark."""
    return mark(*SEAL_MARKS[seal])


def from_report(report: str, entry: SiteEntry, title: str, files: Collection[str]) -> str:
    """Return a report as a page of the site: a bar on top, links to the copied files, scripts shared by all pages."""
    root = root_of(run_page(entry.run_id))
    page = relink(_share_scripts(report, root), files)
    page = page.replace("</head>", ICON + BAR_STYLE + "</head>", 1)
    skip = SKIP_LINK.search(page)
    end = skip.end() if skip else _after_body(page)
    return page[:end] + _bar(entry, title, files).text + page[end:]


def summary(run: Run, entry: SiteEntry, files: Collection[str]) -> Html:
    """Return the content of the page of a run without a report, and of one whose files differ from its seal."""
    record, broken = run.record, entry.seal == BROKEN
    facts = [
        ("Run", code(entry.run_id)),
        ("Started", entry.started_at.replace("T", " ") or DASH),
        ("Strategy", entry.strategy or DASH),
        ("Symbol", entry.symbol or DASH),
        ("Manifest SHA-256", _digest(run.manifest_digest)),
        ("Data SHA-256", _digest(record.data.sha256 if record.data else None)),
    ]
    row = '<tr><th scope="row">{label}</th><td>{shown}</td></tr>'
    status = entry.status if entry.status in {"FINISHED", "FAILED", "KILLED"} else "UNREADABLE"
    return html(
        '<p class="kicker">{kicker}</p>\n<h1>{title}</h1>\n<p class="marks">{status} {seal}</p>\n{ways}\n{error}{hint}'
        '<div class="table-box facts"><table><caption>What is known of this run</caption>\n<tbody>\n{rows}\n</tbody>'
        "</table></div>\n{metrics}{files}",
        kicker="Run that differs from its seal" if broken else "Run without a report",
        title=entry.title,
        status=mark(status.lower(), entry.status),
        seal=seal_mark(entry.seal),
        ways=html('<p class="ids">{links}</p>', links=together(_links(entry, files), " ")),
        error=_error(run),
        hint=_hint(run, broken=broken),
        rows=together((html(row, label=label, shown=shown) for label, shown in facts), "\n"),
        metrics=NOTHING if broken else _metrics(run),
        files=_files(run, files),
    )


def _bar(entry: SiteEntry, title: str, files: Collection[str]) -> Html:
    home = html(
        '<a class="site-name" href="{url}">{title}</a>', url=root_of(run_page(entry.run_id)) + INDEX, title=title
    )
    items = together([home, *_links(entry, files), seal_mark(entry.seal)], "\n")
    return html('<nav class="site-bar" aria-label="Website">\n{items}\n</nav>\n', items=items)


SEAL_FILES = (("manifest.json", "Manifest"), ("manifest.dsse.json", "Signature"))


def _links(entry: SiteEntry, files: Collection[str]) -> list[Html]:
    """Return the ways from a run's page to its experiment, the comparison and the files of its seal."""
    root, links = root_of(run_page(entry.run_id)), []
    if entry.experiment:
        url = root + link_to(experiment_page(entry.experiment))
        links.append(html('<a href="{url}">Experiment {name}</a>', url=url, name=entry.experiment))
    links.append(link("Compare", f"{root}{COMPARE}#runs={entry.run_id}"))
    return links + [link(label, f"{FILES}/{name}") for name, label in SEAL_FILES if name in files]


def _digest(digest: str | None) -> Html:
    return html('<code class="digest">{digest}</code>', digest=digest or DASH)


def relink(page: str, files: Collection[str], folder: str = FILES) -> str:
    """Point links beside the run directory at the files copied to `folder`; a link to what was not becomes text."""

    def changed(match: re.Match[str]) -> str:
        name = unquote(unescape(match[1]))
        if name in files:
            return match[0].replace(f'href="../{match[1]}"', f'href="{folder}/{match[1]}"', 1)
        return match[2]

    return FILE_LINK.sub(changed, page)


def _share_scripts(page: str, root: str) -> str:
    """Load the scripts of this package from `assets/` rather than carry them in each page.

    A report made by another version of the package carries other scripts; those stay in it.
    """
    parts, done = [], 0
    start = page.find("<script>")
    while start >= 0:
        name = next((name for name, tag in _script_tags().items() if page.startswith(tag, start)), None)
        if name is not None:
            parts += [page[done:start], f'<script src="{root}assets/{name}"></script>']
            done = start + len(_script_tags()[name])
        start = page.find("<script>", max(done, start + 1))
    if not parts:
        return page
    return "".join([*parts, page[done:]]).replace(SCRIPTS_ONLY, f"{SCRIPTS_ONLY}'self' file: ", 1)


@cache
def _script_tags() -> dict[str, str]:
    return {name: f"<script>{(ASSETS / name).read_text(encoding='utf-8')}</script>" for name in SHARED}


def _after_body(page: str) -> int:
    found = re.search(r"<body[^>]*>\n?", page)
    return found.end() if found else 0


def _error(run: Run) -> Html:
    error = run.record.error
    if error is None:
        return NOTHING
    said = '<div class="failure"><p>{message}</p>{traceback}</div>\n'
    return html(said, message=error.message, traceback=_traceback(error.traceback))


def _hint(run: Run, *, broken: bool) -> Html:
    if run.manifest_digest is None:
        return NOTHING
    if broken:
        said = '<div class="failure" role="note"><p>{said} {command} names the files.</p></div>\n'
        return html(said, said=BROKEN_SAYS, command=code(f"evidence verify {run.run_id}"))
    said = '<p class="note">{command} renders its report; the next build of this site shows it.</p>\n'
    return html(said, command=code(f"evidence render {run.run_id}"))


def _traceback(text: str | None) -> Html:
    if not text:
        return NOTHING
    return html(
        '<div class="traceback"><pre tabindex="0" role="region" aria-label="Traceback">{lines}</pre></div>',
        lines=Html(html_lines(text)),
    )


def _metrics(run: Run) -> Html:
    stats = run.stats
    if not stats:
        return NOTHING
    row = '<tr><th scope="row">{label}</th><td class="num">{value}</td></tr>'
    rows = (
        html(row, label=metric(name).label, value=format_number(stats[name], metric(name).kind))
        for name in ordered(list(stats))
    )
    return html(
        '<div class="table-box by-side"><table><caption>Metrics</caption><tbody>\n{rows}\n</tbody></table></div>\n',
        rows=together(rows, "\n"),
    )


def _files(run: Run, files: Collection[str]) -> Html:
    if not run.artifacts:
        return NOTHING
    row = '<tr><th scope="row">{shown}</th><td class="num">{size}</td><td>{digest}</td></tr>'
    rows = []
    for item in run.artifacts:
        url = f"{FILES}/{quote(item.path, safe='/-._~')}" if item.path in files else None
        rows.append(html(row, shown=link(item.path, url), size=format_bytes(item.size), digest=_digest(item.sha256)))
    return html(
        '<div class="table-box files" tabindex="0" role="region" aria-label="Sealed files"><table>'
        '<caption>Sealed files</caption><thead><tr><th scope="col">File</th><th scope="col" class="num">Size</th>'
        '<th scope="col">SHA-256</th></tr></thead><tbody>\n{rows}\n</tbody></table></div>\n',
        rows=together(rows, "\n"),
    )
