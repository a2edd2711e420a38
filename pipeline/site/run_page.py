"""The page of one run: its report with a way back into the site, or what is known of a run without a report."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache
from html import unescape
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from pipeline.backtest.catalogue import metric
from pipeline.escape import html_lines, html_text
from pipeline.report.numbers import DASH, format_bytes, format_number, ordered
from pipeline.report.resolve import ASSETS
from pipeline.report.selfcontained import PLOTLY, SCRIPT, TABLES
from pipeline.site.entry import BROKEN, SEALED, SIGNED, UNSEALED, Entry
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


def seal_mark(seal: str) -> str:
    """Return what verification found as text with a coloured mark."""
    kind, words = SEAL_MARKS[seal]
    return f'<span class="mark mark-{kind}">{words}</span>'


def from_report(report: str, entry: Entry, title: str, files: Collection[str]) -> str:
    """Return a report as a page of the site: a bar on top, links to the copied files, scripts shared by all pages."""
    root = root_of(run_page(entry.run_id))
    html = relink(_share_scripts(report, root), files)
    html = html.replace("</head>", ICON + BAR_STYLE + "</head>", 1)
    skip = SKIP_LINK.search(html)
    end = skip.end() if skip else _after_body(html)
    return html[:end] + _bar(entry, title, root, files) + html[end:]


def summary(run: Run, entry: Entry, files: Collection[str]) -> str:
    """Return the content of the page of a run without a report, and of one whose files differ from its seal."""
    record, broken = run.record, entry.seal == BROKEN
    kicker = "Run that differs from its seal" if broken else "Run without a report"
    facts = [
        ("Run", f"<code>{html_text(entry.run_id)}</code>"),
        ("Started", html_text(entry.started_at.replace("T", " ") or DASH)),
        ("Strategy", html_text(entry.strategy or DASH)),
        ("Symbol", html_text(entry.symbol or DASH)),
        ("Manifest SHA-256", f'<code class="digest">{html_text(run.manifest_digest or DASH)}</code>'),
        ("Data SHA-256", f'<code class="digest">{html_text(record.data.sha256 if record.data else DASH)}</code>'),
    ]
    rows = "\n".join(f'<tr><th scope="row">{label}</th><td>{shown}</td></tr>' for label, shown in facts)
    status = entry.status if entry.status in {"FINISHED", "FAILED", "KILLED"} else "UNREADABLE"
    return (
        f'<p class="kicker">{kicker}</p>\n<h1>{html_text(entry.title)}</h1>\n'
        f'<p class="marks"><span class="mark mark-{status.lower()}">{html_text(entry.status)}</span> '
        f"{seal_mark(entry.seal)}</p>\n{_ways(entry, files)}\n{_error(run)}{_hint(run, broken=broken)}"
        f'<div class="table-box facts"><table><caption>What is known of this run</caption>\n<tbody>\n{rows}\n</tbody>'
        f"</table></div>\n{'' if broken else _metrics(run)}{_files(run, files)}"
    )


def _bar(entry: Entry, title: str, root: str, files: Collection[str]) -> str:
    links = [f'<a class="site-name" href="{root}{INDEX}">{html_text(title)}</a>', *_links(entry, root, files)]
    items = "\n".join([*links, seal_mark(entry.seal)])
    return f'<nav class="site-bar" aria-label="Website">\n{items}\n</nav>\n'


SEAL_FILES = (("manifest.json", "Manifest"), ("manifest.dsse.json", "Signature"))


def _links(entry: Entry, root: str, files: Collection[str]) -> list[str]:
    links = []
    if entry.experiment:
        link = link_to(experiment_page(entry.experiment))
        links.append(f'<a href="{root}{link}">Experiment {html_text(entry.experiment)}</a>')
    links.append(f'<a href="{root}{COMPARE}#runs={entry.run_id}">Compare</a>')
    return links + [f'<a href="{FILES}/{name}">{label}</a>' for name, label in SEAL_FILES if name in files]


def _ways(entry: Entry, files: Collection[str]) -> str:
    return f'<p class="ids">{" ".join(_links(entry, root_of(run_page(entry.run_id)), files))}</p>'


def relink(html: str, files: Collection[str], folder: str = FILES) -> str:
    """Point links beside the run directory at the files copied to `folder`; a link to what was not becomes text."""

    def changed(match: re.Match[str]) -> str:
        name = unquote(unescape(match[1]))
        if name in files:
            return match[0].replace(f'href="../{match[1]}"', f'href="{folder}/{match[1]}"', 1)
        return match[2]

    return FILE_LINK.sub(changed, html)


def _share_scripts(html: str, root: str) -> str:
    """Load the scripts of this package from `assets/` rather than carry them in each page.

    A report made by another version of the package carries other scripts; those stay in it.
    """
    parts, done = [], 0
    start = html.find("<script>")
    while start >= 0:
        name = next((name for name, tag in _script_tags().items() if html.startswith(tag, start)), None)
        if name is not None:
            parts += [html[done:start], f'<script src="{root}assets/{name}"></script>']
            done = start + len(_script_tags()[name])
        start = html.find("<script>", max(done, start + 1))
    if not parts:
        return html
    return "".join([*parts, html[done:]]).replace(SCRIPTS_ONLY, f"{SCRIPTS_ONLY}'self' file: ", 1)


@cache
def _script_tags() -> dict[str, str]:
    return {name: f"<script>{(ASSETS / name).read_text(encoding='utf-8')}</script>" for name in SHARED}


def _after_body(html: str) -> int:
    found = re.search(r"<body[^>]*>\n?", html)
    return found.end() if found else 0


def _error(run: Run) -> str:
    error = run.record.error
    if error is None:
        return ""
    return f'<div class="failure"><p>{html_text(error.message)}</p>{_traceback(error.traceback)}</div>\n'


def _hint(run: Run, *, broken: bool) -> str:
    if run.manifest_digest is None:
        return ""
    if broken:
        command = f"<code>evidence verify {html_text(run.run_id)}</code>"
        return f'<div class="failure" role="note"><p>{BROKEN_SAYS} {command} names the files.</p></div>\n'
    command = f"<code>evidence render {html_text(run.run_id)}</code>"
    return f'<p class="note">{command} renders its report; the next build of this site shows it.</p>\n'


def _traceback(text: str | None) -> str:
    if not text:
        return ""
    return (
        f'<div class="traceback"><pre tabindex="0" role="region" aria-label="Traceback">{html_lines(text)}</pre></div>'
    )


def _metrics(run: Run) -> str:
    stats = run.stats
    rows = "\n".join(
        f'<tr><th scope="row">{html_text(metric(name).label)}</th>'
        f'<td class="num">{format_number(stats[name], metric(name).kind)}</td></tr>'
        for name in ordered(list(stats))
    )
    return (
        f'<div class="table-box by-side"><table><caption>Metrics</caption><tbody>\n{rows}\n</tbody></table></div>\n'
        if rows
        else ""
    )


def _files(run: Run, files: Collection[str]) -> str:
    if not run.artifacts:
        return ""
    rows = []
    for item in run.artifacts:
        name = html_text(item.path)
        shown = f'<a href="{FILES}/{quote(item.path, safe="/-._~")}">{name}</a>' if item.path in files else name
        digest = f'<code class="digest">{html_text(item.sha256)}</code>'
        rows.append(
            f'<tr><th scope="row">{shown}</th><td class="num">{format_bytes(item.size)}</td><td>{digest}</td></tr>'
        )
    return (
        '<div class="table-box files" tabindex="0" role="region" aria-label="Sealed files"><table>'
        '<caption>Sealed files</caption><thead><tr><th scope="col">File</th><th scope="col" class="num">Size</th>'
        f'<th scope="col">SHA-256</th></tr></thead><tbody>\n{chr(10).join(rows)}\n</tbody></table></div>\n'
    )
