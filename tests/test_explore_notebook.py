"""notebooks/explore_runs.ipynb, executed for real in a project of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest

from pipeline.errors import CellFailedError
from pipeline.notebook import inside
from pipeline.notebook.execute import execute_notebook
from pipeline.notebook.request import KernelRequest
from pipeline.notebook.template import read_notebook
from pipeline.run import Run
from pipeline.runner import run_backtest
from pipeline.settings import Settings
from pipeline.spec import parse_spec

NOTEBOOK = Path("notebooks") / "explore_runs.ipynb"
SPEC = """
run.name = '<b>cheap $5$ & "quick"</b>'
data = { end = 2003-12-31 }
tracking.mode = "off"
report.enabled = false
"""

pytestmark = pytest.mark.slow


def made_run(project: Settings, **overrides: Any) -> Run:
    outcome = run_backtest(parse_spec(SPEC.encode(), overrides), settings=project)
    assert outcome.error is None
    return outcome.run


def executed(project: Settings, **parameters: Any) -> list[dict[str, str]]:
    """Execute the notebook with these parameters; return its outputs, text by MIME type."""
    output = project.root / "explored.ipynb"
    environment = {inside.SEED: "0", inside.MODULES_FILE: str(project.root / "modules.json")}
    request = KernelRequest(project.root / "notebooks", project.root / "kernel.log", environment)
    execute_notebook(read_notebook(project.root / NOTEBOOK), output, parameters, request, root=project.root)
    cells = nbformat.read(output, as_version=4).cells
    outputs = [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output.text for output in outputs if output.get("name") == "stderr"]
    return [output.data if "data" in output else {"text/plain": output.text} for output in outputs]


def plain(outputs: list[dict[str, str]]) -> str:
    return "\n".join(output["text/plain"] for output in outputs)


def test_two_runs_are_shown_and_compared(project: Settings) -> None:
    """The last run is loaded by default, the other one is found, and what differs is named."""
    first = made_run(project)
    second = made_run(project, **{"strategy.params.fast": 5})
    outputs = executed(project)
    text = plain(outputs)
    assert f"<Run {second.run_id}" in text
    assert "sealed files are unchanged" in text
    assert text.count("<Figure size") == 2
    assert "1 keys of the configs differ." in text
    assert "strategy.params.fast" in text
    assert "<b>cheap" not in "".join(output.get("text/html", "") for output in outputs)
    chosen = plain(executed(project, run_id=first.run_id[:13], other_run_id=second.run_id))
    assert f"<Run {first.run_id}" in chosen


def test_one_run_is_enough(project: Settings) -> None:
    """With a single run the notebook shows it and says that there is nothing to compare it with."""
    run = made_run(project)
    text = plain(executed(project))
    assert run.run_id in text
    assert "There is no other finished run to compare with." in text


def test_without_runs_the_notebook_says_how_to_make_one(project: Settings) -> None:
    """An empty results directory is named, with the command that fills it."""
    with pytest.raises(CellFailedError, match=r"There are no runs in .*`evidence run` makes one"):
        executed(project)


def test_a_failed_run_is_shown_with_its_error(project: Settings) -> None:
    """A run without artifacts is evidence too: its error is printed and no cell fails."""
    notebook = project.root / "notebooks" / "backtest.ipynb"
    notebook.write_text(notebook.read_text().replace("bars = run.load_data()", "raise ValueError('no bars today')"))
    outcome = run_backtest(parse_spec(SPEC.encode()), settings=project)
    assert outcome.run.status == "FAILED"
    text = plain(executed(project))
    assert "no bars today" in text
    assert "left no equity curve" in text
