"""Nothing about where and when a run is executed decides its results."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.replay import explain
from pipeline.run import load_run
from pipeline.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = ("stats.json", "equity.csv", "trades.csv", "trades.parquet", "plots/equity_curve.png", "plots/signals.png")
RUN = """
from pathlib import Path
from pipeline.runner import run_backtest
from pipeline.settings import Settings
from pipeline.spec import read_spec
spec, given = read_spec(Path("config/demo.toml"), {"tracking.mode": "off", "report.enabled": False})
print(run_backtest(spec, settings=Settings.load(), given=given).run.run_id)
"""
REPLAY = """
import json, sys
from pipeline.replay import replay_run
from pipeline.run import load_run
from pipeline.settings import Settings
settings = Settings.load()
print(json.dumps(replay_run(load_run(sys.argv[1], settings=settings), settings=settings).to_dict()))
"""


def python(code: str, root: Path, umask: str, *arguments: str, **environment: str) -> str:
    """Run Python code in a directory under a umask and an environment; return the last line it printed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("EVIDENCE", "MLFLOW", "LC_"))}
    command = ["sh", "-c", f'umask {umask}; exec "$0" -c "$@"', sys.executable, code, *arguments]
    done = subprocess.run(command, check=False, cwd=root, env={**clean, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


@pytest.mark.slow
def test_a_replay_elsewhere_is_equal(tmp_path: Path) -> None:
    """Another directory, time zone, locale, umask, home and hash seed: the demo gives the same bytes."""
    first, second = tmp_path / "first" / "project", tmp_path / "a much longer name" / "of another project"
    for folder in ("notebooks", "config"):
        shutil.copytree(REPOSITORY / folder, first / folder)
    run_id = python(RUN, first, "022", TZ="America/New_York", LC_ALL="C.UTF-8", PYTHONHASHSEED="1", MPLBACKEND="agg")
    shutil.copytree(first, second)
    home = tmp_path / "home"
    home.mkdir()
    facts = json.loads(
        python(
            REPLAY, second, "077", run_id, TZ="Asia/Kathmandu", LC_ALL="C", PYTHONHASHSEED="4711", HOME=str(home)
        )
    )  # fmt: skip
    assert facts["equal"], facts["verdict"]
    assert facts["inputs"] == []
    settings = Settings(second, second / "results")
    runs = [load_run(name, settings=settings) for name in (run_id, facts["replay_run_id"])]
    digests = [{artifact.path: artifact.sha256 for artifact in run.artifacts} for run in runs]
    assert [digests[0][name] for name in RESULTS] == [digests[1][name] for name in RESULTS]
    assert explain(*runs).equal
