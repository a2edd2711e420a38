"""A run by hand keeps the code that ran, and is executed again from it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest

from pipeline.evidence.ledger_check import check_ledger
from pipeline.notebook import by_hand
from pipeline.notebook.by_hand import Session, executed_code, this_session
from pipeline.replay.rerun import replay_run
from pipeline.run import Run, load_run
from pipeline.settings import Settings
from tests.notebooks import write_notebook

SCRIPT = """
import numpy as np
import pandas as pd

import pipeline

days = pd.bdate_range("2019-01-01", periods=60)
run = pipeline.start_run(tracking={"mode": "off"})
run.save(pd.Series(np.sin(np.arange(60)) / 100, index=days), kind="returns")
run.finish()
"""


def shell(monkeypatch: pytest.MonkeyPatch, *cells: str, **names: Any) -> None:
    """Put a stand-in for IPython's shell in place, with these cells executed."""
    found = SimpleNamespace(history_manager=SimpleNamespace(input_hist_raw=["", *cells]), user_ns=names)
    monkeypatch.setattr(by_hand, "_shell", lambda: found)


def sources(content: bytes) -> list[str]:
    return [cell.source for cell in nbformat.reads(content.decode(), as_version=4).cells]


def test_the_executed_cells_are_kept_in_their_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also those from before the run began; empty ones are left out; a file with other cells is named."""
    file = write_notebook(tmp_path / "mine.ipynb", "x = 1", "run.finish()", parameters=None)
    shell(monkeypatch, "x = 1", __vsc_ipynb_file__=str(file))
    session = this_session()
    assert session == Session(file, executed=1)
    shell(monkeypatch, "x = 1", "x = 2", "  ", "run.finish()")
    code = executed_code(Session(file, executed=3))
    assert code is not None
    assert sources(code.content) == ["x = 1", "x = 2", "run.finish()"]
    assert [text.split(" ")[0] for text in code.notes] == ["2", "The"]
    shell(monkeypatch, "x = 1", "run.finish()")
    code = executed_code(Session(file, executed=1))
    assert code is not None
    assert code.notes == ()


def test_what_nobody_keeps_is_no_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a plain interpreter there is neither a history nor a file."""
    monkeypatch.setattr(by_hand, "_shell", lambda: None)
    assert executed_code(Session(None)) is None
    monkeypatch.setattr(sys.modules["__main__"], "__file__", None, raising=False)
    assert this_session() == Session(None)


def python(project: Settings, *arguments: str) -> None:
    environment = {**os.environ, "EVIDENCE_ROOT": str(project.root)}
    subprocess.run([sys.executable, *arguments], cwd=project.root, env=environment, check=True, timeout=300)


@pytest.mark.slow
def test_a_script_is_sealed_and_replayed(project: Settings) -> None:
    """Its bytes are an input with a digest; its trials are those of the script; a replay gives the same numbers."""
    (project.root / "her.py").write_text(SCRIPT)
    python(project, "her.py")
    run = load_run(settings=project)
    assert (run.status, run.verify().ok) == ("FINISHED", True)
    assert (run.dir.path / "by_hand.py").read_text() == SCRIPT
    assert run.config["run"]["notebook"] == "her.py"
    (counted,) = check_ledger(run.dir.ledger).trials.counted
    assert counted.scope.family == "notebook:her.py"
    (project.root / "her.py").write_text("raise SystemExit('edited since')")
    result = replay_run(run, settings=project)
    assert result.explanation.equal, result.explanation


@pytest.mark.slow
def test_cells_of_a_notebook_by_hand_are_sealed_and_replayed(project: Settings) -> None:
    """Executed by any client of Jupyter; the card is shown, and has the marks."""
    path = write_notebook(project.root / "mine.ipynb", *SCRIPT.split("\n\n"), parameters=None)
    client = (
        "import nbclient, nbformat, sys; nb = nbformat.read(sys.argv[1], 4);"
        "nbclient.NotebookClient(nb, kernel_name='python3').execute(); nbformat.write(nb, sys.argv[1])"
    )
    python(project, "-c", client, str(path))
    run = load_run(settings=project)
    kept = json.loads((run.dir.path / "by_hand.ipynb").read_text())["cells"]
    assert ["".join(cell["source"]).strip() for cell in kept] == [part.strip() for part in SCRIPT.split("\n\n")]
    shown = json.dumps(nbformat.read(path, 4).cells[-1])
    card = nbformat.read(path, 4).cells[-1].outputs[0].data["text/plain"]
    assert "FINISHED · NOT SIGNED · LOOK-AHEAD NOT CHECKED · NOT RECONCILABLE" in card
    assert run.run_id in shown
    assert replay_run(Run(run.dir), settings=project).explanation.equal
