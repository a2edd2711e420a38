"""The embedded renderer: the pandoc that arrives in the wheel of `pypandoc_binary`."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.errors import RenderError
from pipeline.report.program import run_program
from pipeline.report.qmd import html_options
from pipeline.report.renderer import HOW_TO_INSTALL
from pipeline.report.resolve import ASSETS

WARNING = re.compile(r"^\[WARNING\].*(?:Could not fetch|Could not find|Could not convert).*$", re.MULTILINE)
READER = "markdown"


class PandocRenderer:
    """Renders with pandoc alone; a small filter numbers figures and resolves references to them as Quarto does."""

    name = "embedded"

    def available(self) -> bool:
        """Say whether the wheel with pandoc is installed."""
        return _binary() is not None

    def version(self) -> str:
        """Return `pandoc` and its version."""
        return _version(self._binary())

    def render(self, resolved: Path, scratch: Path) -> Path:
        """Render `resolved` to HTML in `scratch`; raises RenderError."""
        output = scratch / "report.html"
        command = [
            self._binary(),
            "--from",
            READER,
            "--to",
            "html5",
            "--standalone",
            "--embed-resources",
            "--wrap=none",
        ]
        command += ["--lua-filter", str(ASSETS / "figures.lua"), *_options(resolved)]
        command += ["--metadata", f"renderer={self.version()}"]
        said = run_program([*command, "--output", output.name, resolved.name], scratch, what="pandoc")
        problem = WARNING.search(said)
        if problem:
            raise RenderError(f"pandoc left something out of the report: {problem[0]}")
        return output

    def _binary(self) -> str:
        found = _binary()
        if found is None:
            raise RenderError(f"pandoc is not installed. {HOW_TO_INSTALL}")
        return found


def _options(resolved: Path) -> list[str]:
    """Translate the options of `format: html` in the front matter into pandoc's."""
    html = _html_options(resolved)
    template = html.get("template") or str(ASSETS / "template.html")
    options = ["--template", template, "--no-highlight"]
    css = html.get("css") or []
    options += [f"--css={name}" for name in ([css] if isinstance(css, str) else css)]
    for key in ("include-in-header", "include-before-body", "include-after-body"):
        given = html.get(key) or []
        options += [f"--{key}={name}" for name in ([given] if isinstance(given, str) else given)]
    if html.get("toc"):
        options += ["--toc", f"--toc-depth={int(html.get('toc-depth', 3))}"]
    return options


def _html_options(resolved: Path) -> dict[str, Any]:
    import yaml

    head = resolved.read_text(encoding="utf-8").split("\n---\n", 1)[0].removeprefix("---\n")
    return html_options(yaml.safe_load(head) or {})


@cache
def _binary() -> str | None:
    try:
        import pypandoc
    except ImportError:
        return None
    packaged = Path(pypandoc.__file__).parent / "files"
    found = next((path for path in (packaged / "pandoc", packaged / "pandoc.exe") if path.is_file()), None)
    return str(found) if found else None


@cache
def _version(binary: str) -> str:
    first = run_program([binary, "--version"], Path(binary).parent, what="pandoc").splitlines()[0]
    return f"pandoc {first.split()[-1]}"
