"""Quarto as renderer: it gets the resolved Markdown, so it has nothing to execute."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path

from pipeline.errors import RenderError
from pipeline.report.program import run_program

WARNING = re.compile(r"^.*(?:Could not fetch|Unable to resolve|not found in resource path|ERROR).*$", re.MULTILINE)


class QuartoRenderer:
    """Renders with the Quarto found by QUARTO_PATH, on PATH, or beside this interpreter."""

    name = "quarto"
    own_scripts = True

    def available(self) -> bool:
        """Say whether a Quarto binary was found."""
        return find_quarto() is not None

    def version(self) -> str:
        """Return `Quarto` and its version."""
        return _version(self._binary())

    def render(self, resolved: Path, scratch: Path) -> Path:
        """Render `resolved` to HTML in `scratch`; a mere warning of a lost resource raises RenderError too."""
        said = run_program([self._binary(), "render", resolved.name, "--to", "html"], scratch, what="Quarto")
        problem = WARNING.search(said)
        if problem:
            raise RenderError(f"Quarto left something out of the report: {problem[0].strip()}")
        output = scratch / f"{resolved.stem}.html"
        if not output.is_file():
            raise RenderError(f"Quarto ended without an error but wrote no {output.name}:\n{said.strip()[-2000:]}")
        return output

    def _binary(self) -> str:
        found = find_quarto()
        if found is None:
            from pipeline.report.renderers import HOW_TO_INSTALL

            raise RenderError(f"Quarto is not installed. {HOW_TO_INSTALL}")
        return found


def find_quarto() -> str | None:
    """Return the path of a Quarto binary: QUARTO_PATH (file or directory), PATH, this interpreter's directory."""
    given = os.environ.get("QUARTO_PATH")
    if given:
        path = Path(given)
        return shutil.which(str(path / "quarto")) if path.is_dir() else shutil.which(given)
    return shutil.which("quarto") or shutil.which("quarto", path=str(Path(sys.executable).parent))


@cache
def _version(binary: str) -> str:
    with tempfile.TemporaryDirectory(prefix="evidence-") as scratch:
        return f"Quarto {run_program([binary, '--version'], Path(scratch), what='Quarto').strip().splitlines()[-1]}"
