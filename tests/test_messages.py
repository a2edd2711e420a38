"""The messages people meet most, word for word: what was wrong, where, and what to do.

`pytest tests/test_messages.py --snapshot-update` writes them anew; read the difference before you commit it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

import pipeline
from pipeline.backtest.data import load_ohlcv
from pipeline.notebook.template import read_notebook
from pipeline.runner import plan_run
from pipeline.settings import Settings
from pipeline.spec import parse_override, read_spec

HEADER = "timestamp,open,high,low,close\n"
ROW = "2020-01-06,10,11,9,10\n"
NOTEBOOK = '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'

SPECS = {
    "an unknown key": '[data]\nsymbl = "SPX"\n',
    "an unknown section": "[trakcing]\nmode = 'off'\n",
    "a value of the wrong type": "[run]\nseed = 'x'\n",
    "a value out of bounds": "[backtest]\ninitial_cash = -1.0\n",
    "a password in an address": "[tracking]\nuri = 'postgresql://me:secret@host/db'\n",
}
STRATEGIES = {
    "an unknown strategy": "[strategy]\nname = 'ma_crosover'\n",
    "an unknown param": "[strategy]\nname = 'ma_crossover'\nparams = { fats = 1 }\n",
    "params that contradict each other": "[strategy]\nname = 'ma_crossover'\nparams = { fast = 100, slow = 20 }\n",
}
FILES = {
    "no header": ROW + ROW.replace("06", "07"),
    "no rows": HEADER,
    "a missing column": "timestamp,open,high,low\n2020-01-06,1,1,1\n",
    "a day twice": HEADER + ROW + ROW,
    "a date that could be two": HEADER + "03/04/2020,1,1,1,1\n04/04/2020,1,1,1,1\n",
    "milliseconds": HEADER + "1578268800000,1,1,1,1\n1578355200000,1,1,1,1\n",
    "times without a zone": HEADER + "2020-01-06 09:30,1,1,1,1\n2020-01-06 09:31,1,1,1,1\n",
    "a high below the low": HEADER + "2020-01-06,10,9,11,10\n",
    "a blank price": HEADER + "2020-01-06,10,11,9,\n",
    "a price of zero": HEADER + "2020-01-06,0,11,0,10\n",
}
NOTEBOOKS = {
    "no JSON": "{",
    "another format": NOTEBOOK.replace('"nbformat": 4', '"nbformat": 3'),
    "another language": NOTEBOOK.replace(
        '"metadata": {}', '"metadata": {"kernelspec": {"name": "ir", "language": "R", "display_name": "R"}}'
    ),
    "no kernelspec": NOTEBOOK.replace('"metadata": {}', '"metadata": {"kernelspec": null}'),
}


def message(act: Callable[[], object], directory: Path) -> str:
    """Return the error of a call, the test's own directory left out."""
    with pytest.raises(pipeline.EvidenceError) as raised:
        act()
    return f"{type(raised.value).__name__}: {raised.value}".replace(str(directory), "DIRECTORY")


@pytest.mark.parametrize("case", SPECS)
def test_specs(case: str, tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(SPECS[case], encoding="utf-8")
    assert message(lambda: read_spec(path), tmp_path) == snapshot


@pytest.mark.parametrize("case", STRATEGIES)
def test_strategies(case: str, project: Settings, snapshot: SnapshotAssertion) -> None:
    path = project.root / "spec.toml"
    path.write_text(STRATEGIES[case], encoding="utf-8")
    assert message(lambda: plan_run(read_spec(path)[0], project), project.root) == snapshot


@pytest.mark.parametrize("case", FILES)
def test_data_files(case: str, tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    path = tmp_path / "bars.csv"
    path.write_text(FILES[case], encoding="utf-8")
    assert message(lambda: load_ohlcv(path), tmp_path) == snapshot


@pytest.mark.parametrize("case", NOTEBOOKS)
def test_notebooks(case: str, tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    path = tmp_path / "n.ipynb"
    path.write_text(NOTEBOOKS[case], encoding="utf-8")
    assert message(lambda: read_notebook(path), tmp_path) == snapshot


def test_what_is_not_there(project: Settings, snapshot: SnapshotAssertion) -> None:
    """Runs, files, samples, directories, options."""
    acts: dict[str, Callable[[], object]] = {
        "no run yet": pipeline.load_run,
        "an unknown run": lambda: pipeline.load_run("abc"),
        "no run_id": lambda: pipeline.load_run("a/b"),
        "an unknown sample": lambda: load_ohlcv("sample:sp5000"),
        "no such file": lambda: load_ohlcv(project.root / "none.csv"),
        "no such spec": lambda: read_spec(project.root / "none.toml"),
        "an override without a value": lambda: parse_override("fast"),
        "a bundle that is none": lambda: pipeline.replay_run(project.root / "none.zip"),
    }
    assert {case: message(act, project.root) for case, act in acts.items()} == snapshot
