"""What a renderer of reports does, whichever program it is."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

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
