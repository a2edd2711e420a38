"""Every page is valid HTML, loads nothing from elsewhere, leads somewhere real, and is reached from the start page."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import html5lib
import pytest

from pipeline.files import list_files
from pipeline.site.layout import UNPUBLISHED
from tests.site.conftest import HOSTILE, RENDERED, World
from tests.urls import URL

LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src"}
UNLINKED = {".nojekyll"}
URLS = {"href", "src", "action", "formaction", "cite", "data", "poster", "background"}


class References(HTMLParser):
    """Collects links, what is loaded, and ids."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.ids: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given["id"]} if "id" in given else set()
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "link":
            self.loaded.append(given["href"])
        if tag in LOADED and given.get(LOADED[tag]):
            self.loaded.append(given[LOADED[tag]])


def pages(site: Path) -> dict[str, References]:
    """Return the references of every page."""
    names = [name for name in list_files(site) if name.endswith(".html") and "/files/" not in name]
    return {name: References((site / name).read_text(encoding="utf-8")) for name in names}


def resolve(page: str, link: str) -> str:
    """Return the path a relative link leads to; fails for one that leaves the site."""
    steps: list[str] = page.split("/")[:-1]
    for part in unquote(link.partition("#")[0]).split("/"):
        if part == "..":
            assert steps, f"{page}: {link} leads out of the site"
            steps.pop()
        elif part not in {"", "."}:
            steps.append(part)
    return "/".join(steps)


def test_every_link_leads_to_a_file(world: World) -> None:
    """Relative links and what pages load exist; anchors exist in their page; no link starts at the host's root."""
    found = pages(world.site)
    for page, references in found.items():
        for link in [*references.links, *references.loaded]:
            if link.startswith(("http://", "https://", "mailto:", "data:")):
                continue
            assert not link.startswith("/"), f"{page}: {link} does not work under a prefix"
            path, _, anchor = link.partition("#")
            target = resolve(page, link) if path else page
            assert (world.site / target).is_file(), f"{page}: {link} leads nowhere"
            known = found.get(target)
            if anchor and known is not None and "=" not in anchor:
                assert unquote(anchor) in known.ids, f"{page}: {link} has no such anchor"


def test_nothing_is_loaded_from_elsewhere(world: World) -> None:
    """Scripts, styles and images are relative or in the page."""
    for page, references in pages(world.site).items():
        for link in references.loaded:
            assert not link.startswith(("http:", "https:", "//", "file:")), f"{page} loads {link}"


@pytest.mark.slow
def test_every_page_is_reached_from_the_start(world: World) -> None:
    """Following links and what the listing loads, from index.html, finds every file of the site."""
    found = pages(world.site)
    reached, waiting = set(), ["index.html"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        if page in found:
            local = [link for link in found[page].links + found[page].loaded if "://" not in link and link[:1] != "#"]
            waiting += [resolve(page, link) for link in local]
        if page == "assets/site.js":
            waiting.append("data/head.js")
        if page == "data/head.js":
            head = (world.site / page).read_text().removeprefix("EvidenceSite.head(").removesuffix(");\n")
            waiting += [f"data/{name}" for name in json.loads(head)["shards"]]
        if page.startswith("runs/") and page.endswith("/index.html"):
            waiting.append(page.replace("index.html", "data.js"))
    files = {name for name in list_files(world.site) if name not in UNPUBLISHED and name not in UNLINKED}
    unreached = {name for name in files - reached if "/files/" not in name and not name.startswith("assets/")}
    assert unreached == set()


def test_sealed_files_are_linked_from_their_run(world: World) -> None:
    """Each copied file of a sealed run is linked from the page of the run."""
    for planned in world.runs.values():
        if planned.seal:
            page = f"runs/{planned.run_id}/index.html"
            linked = {resolve(page, link) for link in pages_of(world, page).links if link.startswith("files/")}
            copied = {
                f"runs/{planned.run_id}/files/{name}"
                for name in list_files(world.page(planned.number).parent / "files")
            }
            assert linked == copied, planned.number


def pages_of(world: World, page: str) -> References:
    return References((world.site / page).read_text(encoding="utf-8"))


def test_pages_are_valid_html(world: World) -> None:
    """A strict parser of HTML 5 finds no error in any page of the site, reports included."""
    broken = html5lib.HTMLParser()
    broken.parse("<!DOCTYPE html><title>x</title><p></b>")
    assert broken.errors
    for page in pages(world.site):
        parser = html5lib.HTMLParser()
        parser.parse((world.site / page).read_bytes())
        problems = [(where, code) for where, code, _ in parser.errors]
        assert problems == [], page


def test_every_url_in_an_attribute_is_one(world: World) -> None:
    """No space, quote or other character that a URL does not have (RFC 3986), a data: URL's content included."""
    assert not URL.fullmatch("data:image/svg+xml,%3Csvg viewBox='0 0 16 16'%3E")
    assert not URL.fullmatch("files/100%.txt")
    for page in pages(world.site):
        tree = html5lib.parse((world.site / page).read_bytes(), namespaceHTMLElements=False)
        given = [(name, value) for tag in tree.iter() for name, value in tag.items() if name in URLS]
        assert given, page
        assert [(name, value) for name, value in given if not URL.fullmatch(value)] == [], page


@pytest.mark.parametrize("kind", ["index.html", "data"])
def test_hostile_text_stays_text(world: World, kind: str) -> None:
    """Markup in names is text on every page, and data in scripts is ASCII JSON that ends where it should."""
    planned = world.runs[HOSTILE]
    folder = world.site / "runs" / planned.run_id
    if kind == "data":
        text = (folder / "data.js").read_text(encoding="ascii")
        assert json.loads(text.removeprefix("EvidenceSite.run(").removesuffix(");\n"))["name"].startswith("<img")
        return
    for path in [
        folder / "index.html",
        *(world.site / "plain").glob("*.html"),
        *(world.site / "experiments").rglob("*.html"),
    ]:
        assert "<img src=x" not in path.read_text(encoding="utf-8"), path
        assert "<y>" not in path.read_text(encoding="utf-8"), path


def test_the_policy_of_a_report_lets_only_its_scripts_run(world: World) -> None:
    """A report on the site may load scripts of the site and run those it was made with, nothing else."""
    html = world.page(RENDERED).read_text(encoding="utf-8")
    assert "script-src 'self' file: 'sha256-" in html
    assert "default-src 'none'" in html
    assert "'unsafe-eval'" not in html
