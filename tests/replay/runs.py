"""Runs for these tests: small ones executed by a real kernel, and sealed ones made without a kernel."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbformat import v4

from pipeline.errors import ArtifactError
from pipeline.files import write_json
from pipeline.opening import open_run
from pipeline.run import Run
from pipeline.runner import RunOutcome, plan_run, run_backtest
from pipeline.sealing import seal_run
from pipeline.settings import Settings
from pipeline.spec import RunSpec
from tests.notebooks import write_notebook

QUIET = {"tracking": {"mode": "off"}, "report": {"enabled": False}}
NOTEBOOK = "notebooks/small.ipynb"
HELPER = "def score(prices):\n    return sum(prices) / len(prices)\n"
PARAMETERS = "run_id = None\nseed = 0\ndata = {}\nextra = 0"
READ = """
import os, random, time
from pathlib import Path
import helper
run_dir = Path(os.environ["EVIDENCE_RESULTS"]) / run_id
prices = [float(line.split(",")[1]) for line in Path(data["source"]).read_text().splitlines()[1:]]
print(run_id, Path.cwd(), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
"""
SCORE = "value = helper.score(prices) + random.random()\nvalue"
WRITE = """
import json
(run_dir / "stats.json").write_text(json.dumps({"sharpe": value, "trades": 2, "undefined": None}))
rows = [f"2020-01-0{day}T00:00:00Z,{value * day},0.0,\\n" for day in (1, 2, 3)]
(run_dir / "equity.csv").write_text("timestamp,equity,drawdown,benchmark_equity\\n" + "".join(rows))
(run_dir / "trades.csv").write_text(f"trade_id,net_pnl\\n1,{value}\\n2,3.0\\n")
(run_dir / "trades.parquet").write_bytes(b"PAR1")
"""


def small_project(root: Path) -> Settings:
    """Write a project with a notebook, a helper module and a data file, committed to git."""
    write_notebook(root / NOTEBOOK, READ, SCORE, WRITE, parameters=PARAMETERS)
    (root / "helper.py").write_text(HELPER)
    (root / "data").mkdir()
    (root / "data" / "bars.csv").write_text("timestamp,close\n2020-01-01,1.5\n2020-01-02,2.5\n")
    (root / ".gitignore").write_text("/results/\n__pycache__/\n")
    git(root, "init", "-q", "-b", "main")
    commit(root)
    return Settings(root, root / "results")


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(root), *identity, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(root: Path) -> None:
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "state")


def small_spec(**sections: Mapping[str, Any]) -> RunSpec:
    """Return the spec of the small notebook, changed by section."""
    values: dict[str, Any] = {"run": {"notebook": NOTEBOOK, "seed": 3}, "data": {"source": "data/bars.csv"}, **QUIET}
    return RunSpec.from_mapping({**values, **{name: {**values.get(name, {}), **s} for name, s in sections.items()}})


def execute(settings: Settings, **sections: Mapping[str, Any]) -> RunOutcome:
    return run_backtest(small_spec(**sections), settings=settings)


def sealed_run(
    settings: Settings,
    *,
    sections: Mapping[str, Mapping[str, Any]] | None = None,
    modules: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
    outputs: tuple[str, ...] = ("{run_id}", "1.5"),
    error: bool = False,
) -> Run:
    """Seal a run made without a kernel: the artifacts of `files`, and a notebook whose cells printed `outputs`."""
    spec = small_spec(**(sections or {}))
    plan = plan_run(spec, settings)
    opened = open_run(plan.spec, settings, origin="evidence-run", inputs=plan.inputs)
    directory = opened.dir
    contents = {**FILES, **(files or {})}
    for name, text in contents.items():
        path = directory.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    cells = [v4.new_code_cell("run_id = None", metadata={"tags": ["parameters"]})]
    for number, text in enumerate(outputs):
        output = v4.new_output("stream", name="stdout", text=text.replace("{run_id}", directory.run_id))
        cells.append(v4.new_code_cell(f"cell_{number}", outputs=[output]))
    directory.notebook.write_text(json.dumps(v4.new_notebook(cells=cells)))
    directory.modules.parent.mkdir(exist_ok=True)
    write_json(directory.modules, dict(modules or {}))
    seal_run(opened, error=ArtifactError("no luck") if error else None)
    return Run(directory)


FILES = {
    "stats.json": '{"sharpe": 1.5, "trades": 2, "undefined": null}',
    "equity.csv": (
        "timestamp,equity,drawdown,benchmark_equity\n"
        "2020-01-01T00:00:00Z,100.0,0.0,\n2020-01-02T00:00:00Z,101.0,0.0,\n2020-01-03T00:00:00Z,99.0,-0.0198,\n"
    ),
    "trades.csv": "trade_id,net_pnl\n1,1.0\n2,-2.0\n",
    "plots/equity_curve.png": "not really a picture",
}
