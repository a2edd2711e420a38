"""Measure the lake: ingest, one more run, rank, curves, size; beside MLflow, the JSON files and `evidence list`.

    python benchmarks/lake.py                10,000 runs
    python benchmarks/lake.py --quick        1,000 runs
    python benchmarks/lake.py --keep DIR     leave the runs there; what is there already is used again

The runs are real, sealed run directories of a random walk, with two entries each in the ledger. MLflow has the params,
metrics and tags of a part of them, in SQLite.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline.evidence import events
from pipeline.evidence.ledger import append_many
from pipeline.lake.connection import Lake, Limits, connected
from pipeline.lake.index import Index, read_index, write_index
from pipeline.lake.ingest import ingest
from pipeline.lake.parts import read_table, write_part
from pipeline.lake.place import Place
from pipeline.rundir import LEDGER, RunDir, run_ids
from pipeline.settings import Settings
from tests.site.site_runs import make_run, varied

BARS = 250
RANK = (
    "SELECT run_id, name, sharpe FROM runs WHERE strategy = 'ma_crossover' AND symbol = 'SPX' AND max_drawdown > -0.3 "
    "ORDER BY sharpe DESC LIMIT 20"
)
TRACKED = 1_000
LISTED = 1_000


@dataclass(frozen=True)
class Took:
    """Medians of some calls: seconds that passed, and seconds of the processor, which other work changes less."""

    wall: float
    cpu: float

    def __str__(self) -> str:
        return f"{self.wall * 1e3:,.1f} ms, {self.cpu * 1e3:,.1f} cpu"


def seconds(function: Callable[[], Any], times: int = 1) -> Took:
    """Call a function and return what it took."""
    wall, cpu = [], []
    for _ in range(times):
        begin, used = time.perf_counter(), time.process_time()
        function()
        wall.append(time.perf_counter() - begin)
        cpu.append(time.process_time() - used)
    return Took(statistics.median(wall), statistics.median(cpu))


def show(what: str, value: str) -> None:
    print(f"{what:<66}{value:>28}", flush=True)


def fill(results: Path, first: int, count: int) -> None:
    for number in range(first, first + count):
        make_run(results, varied(number, bars=BARS))


def make_results(results: Path, count: int) -> None:
    """Make the runs in two processes, and their entries in the ledger; well formed, so that they verify."""
    if len(run_ids(results)) >= count:
        return
    shutil.rmtree(results, ignore_errors=True)
    step = max(1, count // 40)
    with ProcessPoolExecutor(2) as pool:
        for future in [pool.submit(fill, results, at, min(step, count - at)) for at in range(0, count, step)]:
            future.result()
    add_to_ledger(results, range(count))


def add_to_ledger(results: Path, numbers: range) -> None:
    told = []
    for number in numbers:
        planned = varied(number)
        run = RunDir(results, planned.run_id)
        told += [events.started(run, strategy=planned.strategy, data_sha256=planned.data[1]), events.sealed(run)]
        if len(told) >= 1_000 or number == numbers[-1]:
            append_many(results / LEDGER, told)
            told = []


def size(directory: Path, index: Index) -> int:
    return sum((directory / file).stat().st_size for file in index.files)


def measure_ingest(settings: Settings, count: int) -> None:
    place = Place.of(settings)
    shutil.rmtree(place.path, ignore_errors=True)
    took = seconds(lambda: ingest(settings))
    show(f"ingest {count:,} runs", str(took))
    show("  runs a second", f"{count / took.wall:,.0f}, {count / took.cpu:,.0f} cpu")
    index = read_index(place)
    assert index is not None
    show(f"  bytes a run, {BARS} bars each", f"{size(place.runs, index) / count:,.0f}")
    show(
        "  of these curves",
        f"{sum((place.runs / part.file).stat().st_size for part in index.of('equity')) / count:,.0f}",
    )
    show("ingest when nothing changed", str(seconds(lambda: ingest(settings), 3)))
    wall, cpu = [], []
    for number in range(10**6, 10**6 + 9):
        run = make_run(settings.results, varied(number, bars=BARS))
        add_to_ledger(settings.results, range(number, number + 1))
        took = seconds(lambda only=[run.run_id]: ingest(settings, only=only))  # type: ignore[misc]
        wall.append(took.wall)
        cpu.append(took.cpu)
        shutil.rmtree(run.path)
    show("one more run, at its end (median of 9)", str(Took(statistics.median(wall), statistics.median(cpu))))
    ingest(settings)


def measure_queries(settings: Settings, count: int) -> Took:
    place = Place.of(settings)
    with Lake.open(settings) as lake:
        lake.sql(RANK).fetchall()
        warm = seconds(lambda: lake.sql(RANK).fetchall(), 21)
        show(f"rank {count:,} runs by Sharpe with filters, connection open", str(warm))
        best = [row[0] for row in lake.sql("SELECT run_id FROM runs ORDER BY hash(run_id) LIMIT 50").fetchall()]
        named = ", ".join(f"'{run_id}'" for run_id in best)
        curves = f"SELECT run_id, timestamp, equity FROM equity WHERE run_id IN ({named})"
        rows = len(lake.sql(curves).fetchall())
        show(
            f"50 curves in one query ({rows:,} rows), as an Arrow table",
            str(seconds(lambda: lake.sql(curves).to_arrow_table(), 7)),
        )

    def cold() -> None:
        with connected(place, {"runs"}, Limits()) as connection:
            connection.execute(RANK).fetchall()

    show("  the same with a new connection (`runs` is copied into memory)", str(seconds(cold, 7)))
    show("rank by reading manifest and stats.json of each run", str(seconds(lambda: by_files(settings.results))))
    return warm


def by_files(results: Path) -> list[Any]:
    found = []
    for run_id in run_ids(results):
        manifest = json.loads((results / run_id / "manifest.json").read_bytes())
        stats = json.loads((results / run_id / "stats.json").read_bytes())
        spec = manifest["predicate"]["buildDefinition"]["externalParameters"]["spec"]
        right = spec["strategy"]["name"] == "ma_crossover" and spec["data"]["symbol"] == "SPX"
        if right and stats["max_drawdown"] > -0.3:
            found.append((stats["sharpe"], run_id))
    return sorted(found, reverse=True)[:20]


def measure_large(settings: Settings, times: int) -> None:
    """Measure a table of runs that is so many times as long."""
    import pyarrow as pa

    place, index = Place.of(settings), read_index(Place.of(settings))
    assert index is not None
    table = read_table(place, index, "runs")
    ids = table["run_id"].to_pylist()
    copies = [
        table.set_column(0, "run_id", pa.array([f"{n}{run_id[len(str(n)) :]}" for run_id in ids])) for n in range(times)
    ]
    large = Place(place.path.with_name("large"))
    whole = pa.concat_tables(copies)
    write_index(large, Index("results").with_parts("runs", [write_part(large, "runs", whole)]))
    with connected(large, {"runs"}, Limits()) as connection:
        connection.execute(RANK).fetchall()
        show(f"rank {len(whole):,} rows of runs", str(seconds(lambda: connection.execute(RANK).fetchall(), 11)))
    shutil.rmtree(large.path)


def measure_mlflow(settings: Settings, place: Path, warm: Took) -> None:
    """Ask MLflow's own store the same of fewer runs."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, RunTag

    from pipeline.run import Run

    uri = f"sqlite:///{place / f'mlflow-{TRACKED}.db'}"
    client = MlflowClient(uri)
    known = client.get_experiment_by_name("lake")
    experiment = known.experiment_id if known else client.create_experiment("lake")
    if known is None:
        for run_id in run_ids(settings.results)[:TRACKED]:
            run = Run(RunDir(settings.results, run_id))
            tracked = client.create_run(experiment).info.run_id
            metrics = [Metric(name, value, 0, 0) for name, value in run.stats.items() if value is not None]
            params = [Param("strategy", run.what.strategy), Param("symbol", run.what.symbol)]
            client.log_batch(tracked, metrics, params, [RunTag(name, tag) for name, tag in run.spec.run.tags.items()])
    asked = "params.strategy = 'ma_crossover' and params.symbol = 'SPX' and metrics.max_drawdown > -0.3"
    ask = lambda: client.search_runs([experiment], asked, max_results=20, order_by=["metrics.sharpe DESC"])  # noqa: E731
    ask()
    took = seconds(ask, 7)
    show(f"mlflow search_runs, {TRACKED:,} runs in SQLite", str(took))
    show("  times the lake's time over all its runs", f"{took.wall / warm.wall:,.0f}")


def measure_list(place: Path) -> None:
    """Call the command over fewer runs, with a lake and without."""
    root = place / "listed"
    make_results(root / "results", LISTED)
    shutil.rmtree(root / "data", ignore_errors=True)
    command = [str(Path(sys.executable).with_name("evidence")), "list", "--where", "sharpe > 1"]
    environ = {**os.environ, "EVIDENCE_ROOT": str(root), "EVIDENCE_RESULTS": "", "EVIDENCE_LAKE": ""}
    call = lambda: subprocess.run(command, env=environ, check=True, stdout=subprocess.DEVNULL)  # noqa: E731
    without = seconds(call, 5)
    ingest(Settings(root, root / "results"))
    with_lake = seconds(call, 5)
    show(f"`evidence list --where`, {LISTED:,} runs, from the directories", f"{without.wall:.2f} s")
    show("  from the lake", f"{with_lake.wall:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    count = 1_000 if given.quick else 10_000
    with tempfile.TemporaryDirectory() as temporary:
        place = (given.keep or Path(temporary)).resolve()
        root = place / f"project-{count}"
        settings = Settings(root, root / "results")
        make_results(settings.results, count)
        measure_ingest(settings, count)
        warm = measure_queries(settings, count)
        measure_large(settings, 100_000 // count)
        measure_mlflow(settings, place, warm)
        measure_list(place)


if __name__ == "__main__":
    main()
