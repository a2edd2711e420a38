"""Measure the website: build, add one run, change nothing, and how the list feels in a browser.

    python benchmarks/site.py             1,000 and 10,000 runs
    python benchmarks/site.py --quick     200 and 1,000 runs
    python benchmarks/site.py --keep DIR  leave runs and sites there; what is there already is used again

The runs are real, sealed run directories of a random walk of 1,000 bars. All have the same rendered report, a hard link
to one file: rendering is measured elsewhere, and a site copies what was rendered. Needs Chromium for the second table.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline.files import list_files
from pipeline.report.render import render_run
from pipeline.run import Run
from pipeline.rundir import RunDir, run_ids
from pipeline.settings import Settings
from pipeline.site.build import build_site
from pipeline.site.layout import STATE
from tests.site.site_runs import make_run, varied

ROOT = Path(__file__).resolve().parent.parent
BARS = 1_000
FILTER = """
async text => {
  const input = document.querySelector('input[type=search]'), times = [];
  for (const value of [text, '', text + ' alpha', 'breakout', '']) {
    const begin = performance.now();
    input.value = value;
    input.dispatchEvent(new Event('input'));
    await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
    times.push(performance.now() - begin);
  }
  return times;
}
"""
SORT = """
async () => {
  const times = [];
  for (const key of ['sharpe', 'total_return', 'name', 'sharpe', 'started']) {
    const begin = performance.now();
    document.querySelector(`[data-sort=${key}]`).click();
    await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
    times.push(performance.now() - begin);
  }
  return times;
}
"""
INTERACTIVE = """
() => new Promise(done => {
  const look = () => document.querySelector('#listing[data-ready]') ? done(performance.now()) : setTimeout(look, 1);
  look();
})
"""


def seconds(function: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.perf_counter()
    result = function()
    return time.perf_counter() - begin, result


def show(what: str, value: str) -> None:
    print(f"{what:<58}{value:>20}", flush=True)


def fill(results: Path, first: int, count: int, report: Path) -> None:
    for number in range(first, first + count):
        run = make_run(results, varied(number, bars=BARS))
        run.report.parent.mkdir()
        os.link(report, run.report)


def make_results(results: Path, count: int, report: Path) -> None:
    """Make the runs in two processes."""
    present = len(run_ids(results))
    if present >= count:
        return
    shutil.rmtree(results, ignore_errors=True)
    step = max(1, count // 40)
    with ProcessPoolExecutor(2) as pool:
        for future in [pool.submit(fill, results, at, min(step, count - at), report) for at in range(0, count, step)]:
            future.result()


def one_report(place: Path) -> Path:
    """Render one real report, to be linked into every run."""
    path = place / "report.html"
    if not path.is_file():
        run = make_run(place / "one" / "results", varied(10**6, bars=BARS))
        render_run(Run(RunDir(run.results, run.run_id)), renderer="embedded", settings=Settings(ROOT, run.results))
        shutil.copyfile(run.report, path)
    return path


def touched(site: Path, since: dict[str, int]) -> tuple[int, int]:
    """Return how many files are new or changed, and how many are gone."""
    now = mtimes(site)
    return sum(since.get(name) != when for name, when in now.items()), len(since.keys() - now.keys())


def mtimes(site: Path) -> dict[str, int]:
    return {name: (site / name).stat().st_mtime_ns for name in list_files(site) if name != STATE}


def measure(place: Path, count: int, jobs: int) -> Path:
    """Build a site of `count` runs, then again after nothing, one more and one fewer."""
    results, site = place / f"results-{count}", place / f"site-{count}"
    report = one_report(place)
    took, _ = seconds(lambda: make_results(results, count, report))
    settings = Settings(ROOT, results)
    shutil.rmtree(site, ignore_errors=True)
    first, done = seconds(lambda: build_site(settings, site, processes=jobs))
    show(f"build {count:,} runs, {jobs} processes (making them: {took:.0f} s)", f"{first:.1f} s")
    show("  a run", f"{first / count * 1e3:.1f} ms")
    copied, _ = seconds(lambda: shutil.copytree(results, place / "copy"))
    shutil.rmtree(place / "copy")
    show("  copying the run directories, in turn with it", f"{copied:.1f} s")
    nothing, again = seconds(lambda: build_site(settings, site, processes=jobs))
    show("  again, nothing changed", f"{nothing:.2f} s, {again.written} written")
    before = mtimes(site)
    extra = make_run(results, varied(10**6 + count, bars=BARS))
    extra.report.parent.mkdir()
    shutil.copyfile(report, extra.report)
    added, _ = seconds(lambda: build_site(settings, site, processes=jobs))
    new, gone = touched(site, before)
    show("  one run added", f"{added:.2f} s")
    own = len(list_files(site / "runs" / extra.run_id))
    show("  files written: of that run / others / removed", f"{own} / {new - own} / {gone}")
    shutil.rmtree(extra.path)
    removed, _ = seconds(lambda: build_site(settings, site, processes=jobs))
    show("  one run removed", f"{removed:.2f} s")
    sizes = {name: (site / name).stat().st_size for name in list_files(site)}
    index = sum(size for name, size in sizes.items() if name.startswith("data/"))
    pages = sum(size for name, size in sizes.items() if name.startswith("runs/") and "/files/" not in name)
    files = sum(size for name, size in sizes.items() if "/files/" in name)
    shards = sum(name.startswith("data/runs-") for name in sizes)
    show(
        "  bytes a run: row / page and curve / sealed files",
        f"{index // count:,} / {pages // count:,} / {files // count:,}",
    )
    show("  shards", str(shards))
    show("  report as rendered, for comparison", f"{report.stat().st_size:,}")
    assert done.runs == count
    return site


def browse(site: Path, count: int, rounds: int) -> None:
    """Open the list in Chromium, from the file system, and search and sort it."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        interactive, paints, filters, sorts = [], [], [], []
        for _ in range(rounds):
            context = browser.new_context(offline=True, viewport={"width": 1440, "height": 900})
            page = context.new_page()
            page.goto((site / "index.html").as_uri(), wait_until="commit")
            interactive.append(page.evaluate(INTERACTIVE))
            paints.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"))
            filters += page.evaluate(FILTER, "variant 77")
            sorts += page.evaluate(SORT)
            context.close()
        browser.close()
    show(f"{count:,} runs: first paint", f"{statistics.median(paints):.0f} ms")
    show("  all rows there, filters filled", f"{statistics.median(interactive):.0f} ms")
    show(
        "  search or clear, to the painted frame: median, worst",
        f"{statistics.median(filters):.0f}, {max(filters):.0f} ms",
    )
    show("  sort by a column: median, worst", f"{statistics.median(sorts):.0f}, {max(sorts):.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--keep", metavar="DIR", type=Path)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    counts = (200, 1_000) if arguments.quick else (1_000, 10_000)
    with tempfile.TemporaryDirectory(prefix="evidence-benchmark-") as name:
        place = (arguments.keep or Path(name)).resolve()
        place.mkdir(parents=True, exist_ok=True)
        sites = [(measure(place, count, arguments.jobs), count) for count in counts]
        for site, count in sites:
            browse(site, count, 3 if arguments.quick else 5)


if __name__ == "__main__":
    main()
