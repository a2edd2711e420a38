"""Notebooks the tests write: small, and wrong in one way each."""

from __future__ import annotations

from pathlib import Path

from nbformat import v4, write

PARAMETERS = "run_id = None"

ARTIFACTS = """
from pathlib import Path
import os
run_dir = Path(os.environ["EVIDENCE_RESULTS"]) / run_id
(run_dir / "stats.json").write_text('{"sharpe": 1.0}')
(run_dir / "equity.csv").write_text("timestamp,equity,drawdown,benchmark_equity\\n2020-01-01T00:00:00Z,1.0,0.0,\\n")
(run_dir / "trades.csv").write_text("trade_id\\n")
(run_dir / "trades.parquet").write_bytes(b"PAR1")
"""


def write_notebook(path: Path, *cells: str, parameters: str | None = PARAMETERS, language: str = "python") -> Path:
    """Write a notebook with a `parameters` cell (unless None) and these code cells."""
    notebook = v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "p", "language": language}})
    if parameters is not None:
        notebook.cells.append(v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    notebook.cells += [v4.new_code_cell(cell) for cell in cells]
    path.parent.mkdir(parents=True, exist_ok=True)
    write(notebook, path)
    return path
