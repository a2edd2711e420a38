"""Quarto as renderer: it gets the resolved Markdown, so it has nothing to execute."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from pipeline.errors import RenderError
from pipeline.report.program import TIMEOUT, run_program
from pipeline.report.renderer import HOW_TO_INSTALL

WARNING = re.compile(r"^.*(?:Could not fetch|Unable to resolve|not found in resource path|ERROR).*$", re.MULTILINE)

PROJECT = 'project:\n  type: default\n  render: ["*/report.md"]\n'


class QuartoRenderer:
    """Renders with the Quarto found by QUARTO_PATH, on PATH, or beside this interpreter."""

    name = "quarto"

    def available(self) -> bool:
        """Say whether a Quarto binary was found."""
        return find_quarto() is not None

    def version(self) -> str:
        """Return `Quarto` and its version."""
        return _version(self._binary())

    def render(self, resolved: Path, scratch: Path) -> Path:
        """Render `resolved` to HTML in `scratch`; a mere warning of a lost resource raises RenderError too."""
        return self._run(["render", resolved.name, "--to", "html"], scratch, [resolved])[0]

    def render_project(self, documents: Sequence[Path], project: Path) -> list[Path]:
        """Render documents, each in a folder of its own below `project`, with one start of Quarto.

        `project` must hold nothing else. Raises RenderError when anything of them went wrong.
        """
        (project / "_quarto.yml").write_text(PROJECT, encoding="utf-8")
        return self._run(["render", ".", "--to", "html"], project, documents, timeout=TIMEOUT + 60.0 * len(documents))

    def _run(
        self, arguments: list[str], scratch: Path, documents: Sequence[Path], *, timeout: float = TIMEOUT
    ) -> list[Path]:
        said = run_program([self._binary(), *arguments], scratch, what="Quarto", timeout=timeout)
        problem = WARNING.search(said)
        if problem:
            raise RenderError(f"Quarto left something out of the report: {problem[0].strip()}")
        outputs = [document.with_suffix(".html") for document in documents]
        missing = [output for output in outputs if not output.is_file()]
        if missing:
            name = missing[0].relative_to(scratch)
            raise RenderError(f"Quarto ended without an error but wrote no {name}:\n{said.strip()[-2000:]}")
        return outputs

    def _binary(self) -> str:
        found = find_quarto()
        if found is None:
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
