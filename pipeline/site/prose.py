"""The prose pages: `reports/site/*.qmd`, rendered by Quarto when it is there, else by the embedded pandoc.

Both get the same Markdown and the same template, `assets/prose.html`, whose content between two markers goes into the
site's frame. Plain `quarto render` builds the same sources on their own, as `_quarto.yml` says.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.digest import sha256_bytes
from pipeline.errors import RenderError
from pipeline.escape import markdown_text
from pipeline.report.qmd import read_qmd
from pipeline.report.renderer import Renderer
from pipeline.report.renderers import usable_renderers
from pipeline.settings import Settings
from pipeline.site.frame import OWN
from pipeline.site.layout import COMPARE, INDEX
from pipeline.template_files import SHIPPED

FOLDER = "reports/site"
TEMPLATE = "prose.html"
RESERVED = (INDEX, COMPARE)
MAIN = re.compile(r"<!-- prose:begin -->(.*)<!-- prose:end -->", re.DOTALL)


@dataclass(frozen=True)
class Prose:
    """One prose page: its file's stem, its title, its Markdown."""

    name: str
    title: str
    text: str

    @property
    def path(self) -> str:
        """Where the page is in the site."""
        return f"{self.name}.html"

    def key(self, renderer: Renderer) -> str:
        """Return what the rendered page depends on."""
        template = (OWN / TEMPLATE).read_text(encoding="utf-8")
        return sha256_bytes("\0".join((self.title, self.text, template, renderer.name, renderer.version())).encode())


def read_prose(settings: Settings) -> list[Prose]:
    """Return the project's prose pages, those of the package where the project has none; raises RenderError."""
    places = [settings.root, *SHIPPED]
    found = next(
        (sorted((place / FOLDER).glob("*.qmd")) for place in places if any((place / FOLDER).glob("*.qmd"))), []
    )
    for path in found:
        if f"{path.stem}.html" in RESERVED:
            raise RenderError(f"{path} would be the site's own page {path.stem}.html. Give it another name.")
    return [_read(path) for path in found]


def render_prose(pages: Sequence[Prose], cached: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return for each page's name its key and its HTML; what is in `cached` under the same key is not rendered."""
    if not pages:
        return {}
    renderer = usable_renderers()[0]
    done = {}
    for page in pages:
        key, known = page.key(renderer), cached.get(page.name)
        done[page.name] = known if known and known[0] == key else [key, _render(page)]
    return done


def rendered(resolved: Path, scratch: Path) -> str:
    """Return the HTML of the first renderer that succeeds; raises the RenderError of the last one."""
    candidates = usable_renderers()
    for renderer in candidates:
        try:
            return renderer.render(resolved, scratch).read_text(encoding="utf-8")
        except RenderError:
            if renderer is candidates[-1]:
                raise
    raise RenderError("There is no renderer to use.")


def _read(path: Path) -> Prose:
    source = read_qmd(path)
    if any(not isinstance(part, str) for part in source.parts):
        raise RenderError(f"{path} has code cells; a page of the site is prose only. Take them out.")
    title = source.front.get("title")
    if not isinstance(title, str) or not title.strip():
        raise RenderError(f"{path} has no title in its front matter. Add one: it names the page in the navigation.")
    return Prose(path.stem, title, "\n".join(str(part) for part in source.parts))


def _render(page: Prose) -> str:
    with tempfile.TemporaryDirectory(prefix="evidence-site-") as directory:
        scratch = Path(directory)
        shutil.copyfile(OWN / TEMPLATE, scratch / TEMPLATE)
        resolved = scratch / "page.md"
        resolved.write_text(f"---\n{_front(page)}---\n\n{page.text}\n", encoding="utf-8", newline="\n")
        html = rendered(resolved, scratch)
    found = MAIN.search(html)
    if not found:
        raise RenderError(f"The renderer lost the content of the page {page.name!r}.")
    return found[1].strip().replace("<pre", '<pre tabindex="0"')  # a box that scrolls can be reached by keyboard


def _front(page: Prose) -> str:
    import yaml

    options: dict[str, Any] = {
        "template": TEMPLATE, "minimal": True, "embed-resources": True, "html-math-method": "plain",
        "html-table-processing": "none", "highlight-style": "none",
    }  # fmt: skip
    front = {"pagetitle": markdown_text(page.title), "lang": "en", "format": {"html": options}}
    text: str = yaml.safe_dump(front, sort_keys=True, allow_unicode=True, width=10_000)
    return text
