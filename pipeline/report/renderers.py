"""The two renderers, and the choice between them."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.errors import RendererNotFoundError, RenderError, nearest
from pipeline.report.pandoc import PandocRenderer
from pipeline.report.quarto import QuartoRenderer
from pipeline.report.renderer import HOW_TO_INSTALL, Renderer

AUTO = "auto"


def renderers() -> Sequence[Renderer]:
    """Return all renderers, the preferred one first."""
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
