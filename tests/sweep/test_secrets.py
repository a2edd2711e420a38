"""Secrets among the parameters of a sweep's runs: neither the sweep nor its best runs keep them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.rundir import RunDir
from pipeline.secrets import Secrets
from pipeline.settings import Settings
from pipeline.sweep.stored import Sweep
from tests.sweep.sweeps import search, spec, stop_after

TOKEN = "tok-5f9Zq7"


def declare_token(root: Path) -> None:
    """Have the shipped notebook declare a parameter `api_token`, and use it."""
    path = root / "notebooks" / "backtest.ipynb"
    notebook = json.loads(path.read_bytes())
    cell = next(cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", []))
    cell["source"] = [*cell["source"], "\napi_token = None\n"]
    last = notebook["cells"][-1]
    last["source"] = [*last["source"], f"\nassert api_token == {TOKEN[:4]!r} + {TOKEN[4:]!r}"]
    path.write_text(json.dumps(notebook))


@pytest.mark.slow
def test_a_sweep_is_masked_and_resumed(project: Settings) -> None:
    """Its best run gets the value; that it may have been another one before the interruption is said."""
    declare_token(project.root)
    wanted = spec(run={"parameters": {"api_token": TOKEN}}, sweep={"best": 1})
    stop, hooks = stop_after(3)
    assert not search(project, wanted, stop=stop, hooks=hooks).finished
    outcome = search(project, wanted)
    assert outcome.resumed
    told = "Whether run.parameters.api_token had the same value before the interruption is not known."
    assert told in outcome.warnings
    assert RunDir(project.results, outcome.best_runs[0]).manifest.is_file()
    assert Sweep(outcome.run).problem is None
    known = Secrets({"token": TOKEN})
    holders = {path: known.named_in(path.read_bytes()) for path in project.root.rglob("*") if path.is_file()}
    assert [path for path, found in holders.items() if found] == []
