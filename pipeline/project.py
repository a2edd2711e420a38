"""Make a project of one's own in a directory: what marks it, a first notebook, and what git should know."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.errors import StorageError
from pipeline.files import write_atomic

QUARTO = """\
# This file marks the root of the project: runs go to results/ beside it.
project:
  type: default
  output-dir: _quarto
  render:
    - "!results/"
"""
GITIGNORE = """\
/results/*
mlflow.db*
mlruns/
mlartifacts/
_site/
_quarto/
/.quarto/
.ipynb_checkpoints/
__pycache__/
.venv/
"""
GITATTRIBUTES = """\
# Digests of what runs are made from go into manifests, so a checkout has the same bytes on every platform.
* text=auto eol=lf
*.ipynb text eol=lf
*.csv text eol=lf
*.parquet binary
"""
INTRODUCTION = """\
# First run

Any notebook becomes evidence by the three lines of its last cell."""
BACKTEST = """\
from pipeline.backtest import load_ohlcv

# Yours from here: any data, any engine. What counts is what it leaves.
prices = load_ohlcv("sample:sp500")["close"]
held = (prices > prices.rolling(window).mean()).shift(1, fill_value=False)
returns = prices.pct_change().where(held, 0.0).fillna(0.0)"""
THREE_LINES = """\
import pipeline

run = pipeline.start_run()
run.save(returns, kind="returns", strategy="price above its average", symbols=["SPX"])
run.finish()"""
CELLS = (("markdown", INTRODUCTION), ("code", "window = 200"), ("code", BACKTEST), ("code", THREE_LINES))
FIRST = "notebooks/first.ipynb"


def init_project(directory: Path) -> dict[str, bool]:
    """Write the files of a new project; return each with whether it was written: what is there stays as it is.

    Raises StorageError.
    """
    files = {"_quarto.yml": QUARTO, FIRST: _notebook(), ".gitignore": GITIGNORE, ".gitattributes": GITATTRIBUTES}
    if directory.exists() and not directory.is_dir():
        raise StorageError(f"{directory} is a file. Give a directory, an empty or a new one.")
    written = {}
    for name, text in files.items():
        path = directory / name
        written[name] = not path.exists()
        if written[name]:
            write_atomic(path, text.encode())
    return written


def _notebook() -> str:
    cells = [_cell(place, kind, source) for place, (kind, source) in enumerate(CELLS)]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    notebook = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _cell(place: int, kind: str, source: str) -> dict[str, object]:
    own: dict[str, object] = {"execution_count": None, "outputs": []} if kind == "code" else {}
    return {"cell_type": kind, "id": f"cell-{place}", "metadata": {}, "source": source.splitlines(keepends=True), **own}
