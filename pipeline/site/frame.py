"""The frame around the site's own pages: head, policy, navigation, foot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from urllib.parse import quote

from pipeline.report.markup import NOTHING, Html, escaped, html, together
from pipeline.site.layout import COMPARE, INDEX, link_to, root_of

OWN = Path(__file__).parent / "assets"
# A page opened as a file has no origin, so 'self' alone would forbid its own scripts there.
POLICY = "; ".join(
    (
        "default-src 'none'", "script-src 'self' file:", "style-src 'self' file: 'unsafe-inline'",
        "img-src 'self' file: data: blob:", "base-uri 'none'", "form-action 'none'",
    )
)  # fmt: skip

ICON_SVG = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'><rect width='16' height='16' rx='3' fill='#0b5fa5'/>"
    "<path d='M3 11l3-3 2 2 5-6' fill='none' stroke='white' stroke-width='1.8'/></svg>"
)
ICON = f'<link rel="icon" href="data:image/svg+xml,{quote(ICON_SVG)}">\n'


@dataclass(frozen=True)
class Frame:
    """What all pages of one site share: its title, and the entries of its navigation as label and path."""

    title: str
    navigation: tuple[tuple[str, str], ...] = (("Runs", INDEX), ("Compare", COMPARE))

    def page(self, path: str, title: str, main: Html, *, scripts: Sequence[str] = (), crumb: str = "") -> str:
        """Return a whole HTML page.

        `scripts` are names in `assets/`, loaded in this order; `crumb` names the entry of the
        navigation that the page belongs to when it is not one itself.
        """
        root = root_of(path)
        text = (OWN / "frame.html").read_text(encoding="utf-8")
        tag = '<script src="{url}" defer></script>\n'
        tags = together(html(tag, url=f"{root}assets/{name}") for name in scripts)
        return Template(text).substitute(
            policy=POLICY,
            icon=ICON,
            title=escaped(title if title == self.title else f"{title} · {self.title}"),
            site=escaped(self.title),
            root=root,
            home=f"{root}{INDEX}",
            navigation=self._navigation(path, root, crumb),
            scripts=tags.text,
            main=main.text,
        )

    def _navigation(self, path: str, root: str, crumb: str) -> Html:
        items = []
        for label, target in self.navigation:
            current = "page" if target == path else "true" if target == crumb else ""
            here = html(' aria-current="{current}"', current=current) if current else NOTHING
            item = '<li><a href="{url}"{here}>{label}</a></li>'
            items.append(html(item, url=root + link_to(target), here=here, label=label))
        return together(items, "\n")
