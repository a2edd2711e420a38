"""Measure the report: one, cold and warm, beside quantstats and a plain executing render; and a hundred of them.

    python benchmarks/report.py                                  5 rounds, 100 runs
    python benchmarks/report.py --quick                          2 rounds, 12 runs
    python benchmarks/report.py --quantstats PYTHON              beside it; an interpreter that has quantstats

Cold is a new process with its imports; warm is the next report of the same process. The run is a moving-average
crossover on 5,031 daily bars with its robustness.json. quantstats gets the same returns and benchmark; the plain
render is papermill executing a notebook that draws equity, monthly returns and drawdown, and nbconvert making it HTML.
Candidates take turns, printed are medians. Quarto is measured where it is installed.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.artifacts import write_backtest_artifacts
from pipeline.backtest.data import load_ohlcv, source_path
from pipeline.backtest.engine import BacktestEngine
from pipeline.backtest.sensitivity import Case
from pipeline.backtest.strategies import get_strategy
from pipeline.files import write_json
from pipeline.opening import open_run
from pipeline.report.bulk import render_many
from pipeline.report.job import RenderJob
from pipeline.report.render import find_sources, render_run, resolve_run
from pipeline.robustness import Subject, robustness
from pipeline.run import Run
from pipeline.sealing import seal_run
from pipeline.settings import Settings
from pipeline.spec import RunSpec

REPOSITORY = Path(__file__).resolve().parent.parent
COLD = """
import time
begin = time.perf_counter()
from pipeline.report.render import render_run
from pipeline.run import load_run
from pipeline.settings import Settings
settings = Settings.load()
for _ in range(3):
    render_run(load_run("last", settings=settings), renderer={renderer!r}, settings=settings, static={static})
    print(time.perf_counter() - begin)
    begin = time.perf_counter()
"""
QUANTSTATS = """
import sys, time, warnings
warnings.simplefilter("ignore")
begin = time.perf_counter()
import pandas as pd
import quantstats as qs
table = pd.read_csv(sys.argv[1], index_col=0, parse_dates=True)
returns, benchmark = (table[name].pct_change().dropna().tz_localize(None) for name in ("equity", "benchmark_equity"))
for _ in range(2):
    qs.reports.html(returns, benchmark=benchmark, output=sys.argv[2])
    print(time.perf_counter() - begin)
    begin = time.perf_counter()
"""
CELLS = (
    "import pandas as pd\nimport plotly.graph_objects as go",
    'table = pd.read_csv("{path}", index_col=0, parse_dates=True)',
    'go.Figure([go.Scatter(x=table.index, y=table[name], name=name) for name in ("equity", "benchmark_equity")])',
    'table["equity"].resample("ME").last().pct_change().groupby(lambda day: day.year).apply(list)',
    'go.Figure(go.Scatter(x=table.index, y=table["drawdown"], fill="tozeroy"))',
)
PLAIN = """
import sys, time
begin = time.perf_counter()
import nbconvert, nbformat, papermill
papermill.execute_notebook(sys.argv[1], sys.argv[2], kernel_name="python3", progress_bar=False)
html, _ = nbconvert.HTMLExporter().from_filename(sys.argv[2])
open(sys.argv[3], "w").write(html)
print(time.perf_counter() - begin)
"""


def make_runs(settings: Settings, count: int) -> list[Run]:
    """Seal `count` runs of the same backtest, as a run leaves them."""
    bars = load_ohlcv("sample:sp500")
    costs = {"fee_bps": 1.0, "slippage_bps": 1.0}
    params = {"fast": 50, "slow": 200}
    case = Case(BacktestEngine(), bars, get_strategy("ma_crossover").signal_fn, params, "SPX", **costs)
    result = case.engine.run_realistic(
        df=bars, strategy_signal_fn=case.signal_fn, strategy_params=params, symbol="SPX", **costs
    )
    benchmark = bars["close"] / float(bars["close"].iloc[0]) * 100_000.0
    examined = robustness(Subject(result, case, benchmark)).to_dict()
    runs = []
    for number in range(count):
        values = {"run": {"name": f"run {number}"}, "strategy": {"name": "ma_crossover", "params": params}}
        inputs = {"data": ("sample:sp500", source_path("sample:sp500"))}
        opened = open_run(RunSpec.from_mapping(values), settings, origin="evidence-run", inputs=inputs)
        write_backtest_artifacts(result, opened.dir.path, benchmark=benchmark)
        write_json(opened.dir.robustness, examined)
        seal_run(opened)
        runs.append(Run(opened.dir))
    return runs


def printed(code: str, *arguments: str, python: str = sys.executable, **environment: str) -> list[float]:
    """Return the numbers that a new process prints, one a line."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [python, "-W", "ignore", "-c", code, *arguments]
    done = subprocess.run(command, env={**kept, **environment}, capture_output=True, text=True, check=True)
    return [float(line) for line in done.stdout.splitlines() if line.replace(".", "", 1).isdigit()]


def one_report(settings: Settings, run: Run, rounds: int, quantstats: str | None) -> dict[str, list[float]]:
    """Return the median seconds of each candidate: cold, then warm where that is another number."""
    own = {"EVIDENCE_ROOT": str(settings.root), "EVIDENCE_RESULTS": str(settings.results)}
    scratch = settings.root / "scratch"
    scratch.mkdir(exist_ok=True)
    notebook = plain_notebook(run, scratch)
    candidates: dict[str, Callable[[], list[float]]] = {
        "embedded": lambda: printed(COLD.format(renderer="embedded", static=False), **own),
        "embedded, static": lambda: printed(COLD.format(renderer="embedded", static=True), **own),
        "papermill + nbconvert": lambda: printed(PLAIN, *(str(scratch / n) for n in (notebook, "out.ipynb", "p.html"))),
    }
    if quantstats:
        target = str(scratch / "quantstats.html")
        candidates["quantstats.reports.html"] = lambda: printed(
            QUANTSTATS, str(run.dir.equity), target, python=quantstats, MPLBACKEND="Agg"
        )
    taken: dict[str, list[list[float]]] = {name: [] for name in candidates}
    for call in candidates.values():
        call()
    for _ in range(rounds):
        for name, call in candidates.items():
            taken[name].append(call())
    return {name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in taken.items()}


def plain_notebook(run: Run, scratch: Path) -> str:
    """Write a small notebook that reads the run's equity and draws it."""
    import nbformat

    cells = [
        nbformat.v4.new_code_cell(text.format(path=run.dir.equity) if "{path}" in text else text) for text in CELLS
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), scratch / "plain.ipynb")
    return "plain.ipynb"


def in_bulk(runs: list[Run], job: RenderJob, processes: int) -> tuple[float, float]:
    """Return the seconds to render all runs, and the processor's seconds where this process did it alone."""
    begin, before = time.perf_counter(), sum(os.times()[:4])
    failed = [item.error for item in render_many(runs, job, processes=processes) if item.error]
    if failed:
        raise SystemExit(f"A report could not be rendered: {failed[0]}")
    return time.perf_counter() - begin, sum(os.times()[:4]) - before


def quarto_figures(run: Run, runs: list[Run], settings: Settings, rounds: int) -> None:
    """Print what Quarto takes for the resolved Markdown alone, for a report, and in bulk: one start for many."""
    from pipeline.report.quarto import QuartoRenderer

    renderer = QuartoRenderer()
    if not renderer.available():
        print("\nQuarto is not installed here, so it was not measured.")
        return

    def alone() -> None:
        with tempfile.TemporaryDirectory() as directory:
            shutil.copytree(resolved.markdown.parent, directory, dirs_exist_ok=True)
            renderer.render(Path(directory) / resolved.markdown.name, Path(directory))

    candidates: dict[str, Callable[[], object]] = {
        "`quarto render` of the resolved Markdown": alone,
        "a report": lambda: render_run(run, renderer="quarto", settings=settings),
        f"each of {len(runs)} reports": lambda: in_bulk(runs, RenderJob(settings, "quarto"), 1),
    }
    with tempfile.TemporaryDirectory() as source:
        resolved = resolve_run(run, find_sources(None, settings), Path(source))
        taken: dict[str, list[float]] = {name: [] for name in candidates}
        for _ in range(rounds):
            for name, candidate in candidates.items():
                begin = time.perf_counter()
                candidate()
                taken[name].append((time.perf_counter() - begin) / (len(runs) if name.startswith("each") else 1))
    medians = {name: statistics.median(seconds) for name, seconds in taken.items()}
    own = next(iter(medians.values()))
    print(f"\n| {renderer.version()} | seconds | ratio |\n|---|---:|---:|")
    for name, seconds in medians.items():
        print(f"| {name} | {seconds:.2f} | {seconds / own:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2 rounds, 12 runs")
    parser.add_argument("--quantstats", metavar="PYTHON", help="an interpreter that has quantstats")
    options = parser.parse_args()
    rounds, count = (2, 12) if options.quick else (5, 100)
    with tempfile.TemporaryDirectory(prefix="evidence-bench-") as directory:
        settings = Settings(Path(directory), Path(directory) / "results")
        runs = make_runs(settings, count)
        run = runs[-1]
        medians = one_report(settings, run, rounds, options.quantstats)
        print(f"Reports, medians of {rounds}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
        print("| one report | cold, s | warm, s |\n|---|---:|---:|")
        for name, values in medians.items():
            print(f"| {name} | {values[0]:.2f} | {f'{values[-1]:.2f}' if len(values) > 1 else ''} |")
        print(f"\n| {count} reports, workers | seconds | a second | each, s | processor, s |")
        print("|---|---:|---:|---:|---:|")
        for processes in (1, 2):
            seconds, used = in_bulk(runs, RenderJob(settings, "embedded"), processes)
            shown = f"{used / count:.2f}" if processes == 1 else ""
            print(f"| {processes} | {seconds:.1f} | {count / seconds:.1f} | {seconds / count:.2f} | {shown} |")
        quarto_figures(run, runs[:20], settings, rounds)


if __name__ == "__main__":
    main()
