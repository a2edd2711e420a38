"""The report as a Jupyter notebook: prose and cells of its source, each cell with what it shows on the page."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any

from pipeline.report.cell_marks import marked
from pipeline.report.chart_image import as_image
from pipeline.report.qmd import Cell, read_qmd
from pipeline.report.section_files import with_sections

if TYPE_CHECKING:
    from pipeline.report.render import Resolved

SVG = re.compile(r'<svg class="(?:chart|small)[ "].*?</svg>', re.DOTALL)
ATTRIBUTES = re.compile(r"^(#+ .*?)\s*\{[^}]*\}\s*$", re.MULTILINE)
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def as_notebook(resolved: Resolved, page: str, run_id: str) -> bytes:
    """Return the notebook of a report whose finished page has its cells marked; drawings become images.

    The cells can be executed again: the first sets the `run_id`. Raises RenderError when the renderer lost a mark.
    """
    source = with_sections(read_qmd(resolved.sources.template), resolved.sources.sections)
    cells: list[dict[str, Any]] = []
    number = 0
    for part in source.parts:
        if isinstance(part, Cell):
            number += 1
            cells.append(_code(part, _shown(page, number, resolved.style), run_id, len(cells)))
        elif part.strip():
            text = ATTRIBUTES.sub(r"\1", part.strip())
            cells.append({"cell_type": "markdown", "id": f"cell-{len(cells)}", "metadata": {}, "source": text})
    notebook = {
        "cells": cells,
        "metadata": {"kernelspec": KERNEL, "language_info": {"name": "python"}, "title": resolved.page.title},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return (json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()


def _code(cell: Cell, html: str, run_id: str, place: int) -> dict[str, Any]:
    code = f'run_id = "{run_id}"\npage = None' if "parameters" in cell.tags else cell.code.strip()
    outputs = [{"data": {"text/html": html}, "metadata": {}, "output_type": "display_data"}] if html else []
    hidden = {"jupyter": {"source_hidden": True}} if html else {}
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": f"cell-{place}",
        "metadata": {**({"tags": cell.tags} if cell.tags else {}), **hidden},
        "outputs": outputs,
        "source": code,
    }


def _shown(page: str, number: int, style: str) -> str:
    """Return what the page shows of one cell."""
    return SVG.sub(lambda match: _image(match[0], style), marked(page, number)).strip()


def _image(svg: str, style: str) -> str:
    label = re.search(r'aria-label="([^"]*)"', svg)
    data = base64.b64encode(as_image(svg, style).encode()).decode()
    return f'<img src="data:image/svg+xml;base64,{data}" alt="{label[1] if label else ""}">'
