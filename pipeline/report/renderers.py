"""The two renderers behind one protocol, and the choice between them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from pipeline.errors import RendererNotFoundError, RenderError, nearest

AUTO = "auto"
HOW_TO_INSTALL = (
    "Install Quarto (https://quarto.org/docs/get-started/, or set QUARTO_PATH to its binary), or the embedded "
    "renderer: pip install 'evidence-chain[report]'."
)


class Renderer(Protocol):
    """Turns a resolved Markdown file into one HTML file."""

    @property
    def name(self) -> str:
        """The word a run spec uses for it."""
        ...

    def available(self) -> bool:
        """Say whether it can be used here."""
        ...

    def version(self) -> str:
        """Return name and version of the program that writes the HTML, as `pandoc 3.9`."""
        ...

    def render(self, resolved: Path, scratch: Path) -> Path:
        """Render `resolved`, which is in `scratch`, to HTML in `scratch`; raises RenderError."""
        ...


def renderers() -> Sequence[Renderer]:
    """Return all renderers, the preferred one first."""
    from pipeline.report.pandoc import PandocRenderer
    from pipeline.report.quarto import QuartoRenderer

    return (QuartoRenderer(), PandocRenderer())


def choose_renderer(name: str = AUTO) -> Renderer:
    """Return a renderer by name (`quarto`, `embedded`), or for `auto` the first one that is installed; see below."""
    return usable_renderers(name)[0]


def usable_renderers(name: str = AUTO) -> list[Renderer]:
    """Return the renderer with this name, or for `auto` all that are installed, the preferred one first.

    Raises RendererNotFoundError saying how to install one, RenderError for a name that is none.
    """
    known = {renderer.name: renderer for renderer in renderers()}
    if name != AUTO and name not in known:
        raise RenderError(f"{name!r} is not a renderer. {nearest(name, [AUTO, *known])}")
    wanted = list(known.values()) if name == AUTO else [known[name]]
    usable = [renderer for renderer in wanted if renderer.available()]
    if usable:
        return usable
    missing = "Neither Quarto nor the embedded renderer" if name == AUTO else f"The renderer {name!r}"
    verb = "is installed" if name == AUTO else "is not installed"
    raise RendererNotFoundError(f"{missing} {verb}. {HOW_TO_INSTALL}")
