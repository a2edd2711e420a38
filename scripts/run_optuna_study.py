#!/usr/bin/env python3
"""Run an Optuna study over a strategy's params: a door to `evidence sweep` for those who have no sweep spec.

python scripts/run_optuna_study.py --strategy ma_crossover --n-trials 100 --objectives sharpe max_drawdown
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import tomli_w

from pipeline.cli import main

STORAGE = "EVIDENCE_STUDY_STORAGE"


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strategy", default="ma_crossover", help="a bundled strategy, or module:function")
    parser.add_argument("--n-trials", type=int, default=100)
    parser.add_argument("--objectives", nargs="+", default=["sharpe"], help="metrics; the first one ranks")
    parser.add_argument("--storage", help="Optuna storage URL; default: a journal in the sweep's directory")
    parser.add_argument("--study-name", default="study")
    parser.add_argument("--sampler", default=None, help="tpe; nsga2 for several objectives")
    parser.add_argument("--pruner", default="none", choices=("none", "median", "hyperband"))
    parser.add_argument("--jobs", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", default="sample:sp500", help="`sample:NAME`, or a CSV or Parquet file")
    parser.add_argument("--symbol", default="SPX")
    return parser.parse_args(arguments)


def sweep_spec(given: argparse.Namespace) -> dict[str, object]:
    sampler = given.sampler or ("nsga2" if len(given.objectives) > 1 else "tpe")
    sweep = {
        "name": given.study_name,
        "objectives": given.objectives,
        "sampler": sampler,
        "pruner": given.pruner,
        "trials": given.n_trials,
        "seed": given.seed,
    }
    if given.storage:
        os.environ[STORAGE] = given.storage  # it may hold a password, which must not be sealed
        sweep["storage"] = f"env:{STORAGE}"
    return {
        "data": {"source": given.data, "symbol": given.symbol},
        "strategy": {"name": given.strategy},
        "sweep": sweep,
    }


if __name__ == "__main__":
    chosen = parse(sys.argv[1:])
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "study.toml"
        config.write_text(tomli_w.dumps(sweep_spec(chosen)), encoding="utf-8")
        jobs = ["--jobs", str(chosen.jobs)] if chosen.jobs else []
        sys.argv = ["evidence", "sweep", "--config", str(config), *jobs]
        main()
