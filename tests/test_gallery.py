"""The notebooks that are shown: the portfolio and the gallery, each executed with the library it is about."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import pipeline
from pipeline.run import Run
from pipeline.settings import Settings
from tests.engines.environments import python_of, with_package

ROOT = Path(__file__).resolve().parents[1]
GALLERY = ROOT / "notebooks" / "gallery"
DATA = ROOT / "notebooks" / "data"
HERE = ("series", "weights", "freqtrade", "lean", "investing_algorithm")
THERE = {
    "bt": "bt-1.4.1",
    "backtesting": "backtesting-0.6.6",
    "vectorbt": "vectorbt-1.2.0",
    "skfolio": "skfolio-1.12.2",
    "backtrader": "backtrader-1.9.78",
    "zipline": "zipline-3.2.1",
    "nautilus_trader": "nautilus-1.231.0",
}
ENGINES = {
    "weights": "weights at prices",
    "backtesting": "backtesting.py",
    "lean": "Lean",
    "investing_algorithm": "investing-algorithm-framework",
}
QUIET = ("-p", "tracking.mode=off", "-p", "report.enabled=false")


def evidence(project: Settings, *arguments: str, python: Path = Path(sys.executable)) -> str:
    """Run the command line in the project with a Python; it must succeed."""
    command = [str(python), "-c", "from pipeline.cli import main; main()", *arguments]
    done = subprocess.run(
        command, cwd=project.root, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def executed(project: Settings, name: str, python: Path = Path(sys.executable)) -> Run:
    """Run a notebook of the gallery; return what it left."""
    shutil.copytree(ROOT / "tests" / "engines" / "samples", project.root / "tests" / "engines" / "samples")
    evidence(project, "run", f"notebooks/gallery/{name}.ipynb", *QUIET, python=python)
    return pipeline.load_run("last", settings=project)


def check(run: Run, name: str) -> None:
    """Sealed, verified, and what the notebook says it is; its parts agree where there are any."""
    assert run.status == "FINISHED"
    assert run.verify().ok
    record = run.result
    assert record is not None
    assert record.reconciliation is not None
    if name == "series":
        assert (record.engine, record.reconciliation.mark) == (None, "NOT RECONCILABLE")
        return
    assert record.engine is not None
    assert record.engine.name == ENGINES.get(name, name)
    assert record.reconciliation.mark == "RECONCILED"


@pytest.mark.slow
@pytest.mark.parametrize("name", HERE)
def test_a_notebook_of_the_gallery_runs(project: Settings, name: str) -> None:
    """Those that need no library of others."""
    check(executed(project, name), name)


@pytest.mark.engines
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", THERE)
def test_a_notebook_of_the_gallery_runs_with_its_library(project: Settings, name: str) -> None:
    """As a user has it: the package is installed beside the library."""
    check(executed(project, name, python_of(with_package(THERE[name]))), name)


def test_every_notebook_of_the_gallery_is_tried() -> None:
    """None is shown that no test executes."""
    assert {path.stem for path in GALLERY.glob("*.ipynb")} == {*HERE, *THERE}


def test_committed_notebooks_hold_no_outputs() -> None:
    """Those of the gallery are looked at, too."""
    done = subprocess.run([sys.executable, str(ROOT / "scripts" / "check_notebooks.py")], check=False)
    assert done.returncode == 0


def test_the_prices_are_those_of_their_origin() -> None:
    """The file is the one that its README describes."""
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    assert hashlib.sha256((DATA / "factor_etfs.csv").read_bytes()).hexdigest() in readme
    table = pd.read_csv(DATA / "factor_etfs.csv", index_col="date", parse_dates=True)
    assert (len(table), list(table.columns)) == (2264, ["MTUM", "QUAL", "SIZE", "USMV", "VLUE", "SP500"])


@pytest.mark.engines
@pytest.mark.timeout(1200)
def test_the_prices_are_equal_to_those_of_skfolio(tmp_path: Path) -> None:
    """Every value is the package's."""
    script = (
        "import sys; from skfolio.datasets import load_factors_dataset, load_sp500_index; "
        "table = load_factors_dataset().join(load_sp500_index()); table.index.name = 'date'; "
        "table.to_csv(sys.argv[1], lineterminator='\\n')"
    )
    python = python_of(with_package("skfolio-1.12.2"))
    subprocess.run([str(python), "-c", script, str(tmp_path / "made.csv")], check=True)
    assert (tmp_path / "made.csv").read_bytes() == (DATA / "factor_etfs.csv").read_bytes()


@pytest.mark.slow
def test_the_portfolio_runs_to_a_verified_report(project: Settings) -> None:
    """Weights, prices, benchmarks and folds of real funds, examined, sealed, rendered, verified."""
    evidence(project, "run", "--config", "config/portfolio.toml", "-p", "tracking.mode=off")
    evidence(project, "verify", "last")
    run = pipeline.load_run("last", settings=project)
    check(run, "weights")
    record = run.result
    assert record is not None
    assert record.symbols == ("MTUM", "QUAL", "SIZE", "USMV", "VLUE")
    assert record.benchmarks == ("Equal weights", "S&P 500 index")
    assert {"weights", "prices", "positions", "fills", "cash", "leverage"} <= set(record.parts)
    assert [each["test_start"][:4] for each in json.loads(run.dir.folds.read_bytes())["folds"]] == [
        str(year) for year in range(2016, 2023)
    ]
    assert "notebooks/data/factor_etfs.csv" in run.dir.manifest.read_text(encoding="utf-8")
    page = run.dir.report.read_text(encoding="utf-8")
    assert "NO LOOK-AHEAD FOUND" in page
    evidence(project, "replay", "last", "--discard")
    for words in ("Effective positions", "Correlation of the returns", "all of it is out of sample", "Equal weights"):
        assert words in page
