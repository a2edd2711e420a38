"""The notebook on disk while it is being executed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import papermill.engines
import pytest
from nbformat import v4

from pipeline.kernels import ForkServer
from tests.kernels.notebooks import execute, notebook, outputs


def test_many_cells_are_few_writes(kernels: ForkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Saving takes a twentieth of the time at most; papermill itself writes before and after every cell."""
    written = []
    write: Callable[..., Any] = papermill.engines.write_ipynb
    monkeypatch.setattr(papermill.engines, "write_ipynb", lambda *a, **k: (written.append(1), write(*a, **k)))
    source = notebook(*("1" for _ in range(20)))
    source.cells += [v4.new_markdown_cell("text", id=f"text-{number}") for number in range(60)]
    done = execute(source, tmp_path, kernels)
    assert len(written) < 80  # papermill: 164
    assert nbformat.read(tmp_path / "out.ipynb", as_version=4) == done
    assert all(len(found) == 1 for found in outputs(done)[:20])
    assert {cell.metadata.papermill.status for cell in done.cells} == {"completed"}


@pytest.mark.slow
def test_an_autosave_that_is_asked_for_is_kept(
    kernels: ForkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cell that prints for four seconds is written once within it, with `autosave_cell_every=1` thrice or more."""
    within: list[bool] = []
    write: Callable[..., Any] = papermill.engines.write_ipynb

    def written(executed: Any, path: str) -> None:
        within.append(executed.cells[0].metadata.papermill.status == "running" and bool(executed.cells[0].outputs))
        write(executed, path)

    monkeypatch.setattr(papermill.engines, "write_ipynb", written)
    printing = "import time\nfor i in range(40):\n    time.sleep(0.1)\n    print(i, flush=True)"
    found = []
    for seconds in (0, 1):
        within.clear()
        execute(notebook(printing), tmp_path, kernels, autosave_cell_every=seconds)
        found.append(sum(within))
    assert found[0] <= 1
    assert found[1] >= 3
