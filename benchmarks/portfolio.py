"""Measure a large portfolio: `run.save` of 500 assets and 20 years of days, then its report.

    python benchmarks/portfolio.py            500 assets, 5,040 days, 3 rounds
    python benchmarks/portfolio.py --quick    50 assets, 1 round

Weights of every asset at each month's end, costs of 5 bps; prices are random walks. Saving is from the frames to files
in the run directory; the report is the embedded renderer's, in a process that is warm. Printed are medians, the size of
the page, and of the files.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.engines.saving import result_of
from pipeline.opening import open_run
from pipeline.report.render import render_run
from pipeline.result_files import write_result
from pipeline.run import Run
from pipeline.sealing import seal_run
from pipeline.settings import Settings
from pipeline.spec import RunSpec

DAYS = 5_040
MOST_SECONDS, MOST_BYTES = 5.0, 3_000_000


def frames(assets: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return target weights at month ends and prices."""
    rng = np.random.default_rng(1)
    days = pd.bdate_range("2004-01-01", periods=DAYS)
    names = [f"A{number:03d}" for number in range(assets)]
    moves = rng.normal(0.0003, 0.012, (DAYS, assets))
    prices = pd.DataFrame(100.0 * np.cumprod(1.0 + moves, axis=0), days, names)
    rows = days[::21]
    return pd.DataFrame(rng.dirichlet(np.ones(assets), len(rows)), rows, names), prices


def one_round(settings: Settings, weights: pd.DataFrame, prices: pd.DataFrame) -> tuple[float, float, Run]:
    """Return the seconds of saving and of the report, and the run."""
    opened = open_run(RunSpec.from_mapping({}), settings, origin="evidence-run", inputs={})
    begin = time.perf_counter()
    write_result(result_of(weights, {"prices": prices, "costs_bps": 5}), opened.dir)
    saved = time.perf_counter() - begin
    seal_run(opened)
    run = Run(opened.dir)
    begin = time.perf_counter()
    render_run(run, renderer="embedded", settings=settings)
    return saved, time.perf_counter() - begin, run


def main() -> int:
    """Print the medians; return 1 when page or time are beyond what is promised."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    weights, prices = frames(50 if quick else 500)
    with tempfile.TemporaryDirectory() as directory:
        settings = Settings(root=Path(directory), results=Path(directory) / "results")
        one_round(settings, *frames(5))  # imports
        rounds = [one_round(settings, weights, prices) for _ in range(1 if quick else 3)]
        saved, shown = (statistics.median(each[place] for each in rounds) for place in (0, 1))
        run = rounds[-1][2]
        page = run.dir.report.stat().st_size
        files = sum(path.stat().st_size for path in run.dir.path.rglob("*") if path.is_file()) - page
    print(f"{len(prices.columns)} assets, {len(prices):,} days, {len(weights):,} rebalances")
    print(f"save {saved:.2f} s, report {shown:.2f} s, together {saved + shown:.2f} s (promised: {MOST_SECONDS:g} s)")
    print(f"page {page / 1e6:.2f} MB (promised: {MOST_BYTES / 1e6:g} MB), files {files / 1e6:.1f} MB")
    return int(page > MOST_BYTES or saved + shown > MOST_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
