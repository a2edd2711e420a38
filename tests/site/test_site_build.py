"""The build of the website: what it holds, what it changes, what it leaves alone."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
import pytest

from pipeline.digest import canonical_json
from pipeline.errors import RenderError, UsageError
from pipeline.evidence.events import sealed
from pipeline.evidence.ledger import append
from pipeline.files import list_files, replace_file
from pipeline.results.contract import Engine
from pipeline.results.identity import Identity, Reconciliation
from pipeline.results.record import ResultRecord
from pipeline.run import Run
from pipeline.rundir import RunDir
from pipeline.running import write_state
from pipeline.settings import Settings
from pipeline.site import output as site_output
from pipeline.site import pages as site_pages
from pipeline.site import runs as site_runs
from pipeline.site.build import build_site
from pipeline.site.entry import make_entry
from pipeline.site.layout import STATE, UNPUBLISHED
from pipeline.site.run_page import BROKEN_SAYS, from_report
from pipeline.site.shards import shard_script
from tests.site.conftest import BROKEN, FAILED, KILLED, RENDERED, SIGNED, World, new_project
from tests.site.site_runs import describe, make_run, make_runs, varied


def content(site: Path) -> dict[str, bytes]:
    """Return every file of a site but its cache."""
    return {name: (site / name).read_bytes() for name in list_files(site) if name not in UNPUBLISHED}


def stamps(directory: Path) -> dict[str, tuple[int, int]]:
    """Return what changes when a file is written again."""
    seen = {name: (directory / name).stat() for name in list_files(directory)}
    return {name: (stat.st_mtime_ns, stat.st_ino) for name, stat in seen.items()}


def rows(site: Path) -> dict[str, list[Any]]:
    """Return the rows of the listing by run_id, read as a script would hand them over."""
    found = {}
    for path in sorted((site / "data").glob("runs-*.js")):
        text = path.read_text(encoding="ascii")
        metrics, listed = json.loads(f"[{text.removeprefix('EvidenceSite.shard(').removesuffix(');' + chr(10))}]")
        found |= {row[0]: [*row[:16], dict(zip(metrics, row[16:], strict=True))] for row in listed}
    return found


@pytest.fixture
def project(tmp_path: Path) -> Settings:
    """Return a project of eight runs."""
    settings = new_project(tmp_path / "project")
    make_runs(settings.results, [varied(number) for number in range(8)])
    return settings


def test_every_run_has_a_row_a_page_and_its_files(world: World) -> None:
    """Failed, killed and broken runs are in the list like the others, and each has a page and data to compare."""
    listed = rows(world.site)
    assert set(listed) == {planned.run_id for planned in world.runs.values()}
    for planned in world.runs.values():
        folder = world.site / "runs" / planned.run_id
        assert (folder / "index.html").is_file()
        assert (folder / "data.js").read_text().startswith("EvidenceSite.run({")
        if planned.seal:
            run = world.settings.results / planned.run_id
            sealed = RunDir(world.settings.results, planned.run_id).sealed_paths()
            for name in [*sealed, "manifest.json"]:
                assert (folder / "files" / name).read_bytes() == (run / name).read_bytes()


def test_a_row_names_its_data_and_no_tags_of_programs(world: World) -> None:
    """The start of the digest of the data is in a row, tags that this package sets are not."""
    tags = {"desk": "alpha", "evidence.sweep": "11111111-0000-4000-8000-000000000000"}
    run = Run(make_run(world.settings.results.parent / "apart", varied(100, tags=tags)))
    entry = make_entry(run, "sealed", run.equity)
    assert (entry.data, entry.tags, entry.found) == ("abababab", ("desk=alpha",), "")
    assert {row[11] for row in rows(world.site).values()} == {"abababab", ""}  # one was never sealed


def test_a_row_says_engine_period_and_whether_the_parts_agree(tmp_path: Path) -> None:
    """What the result says of itself, and the days it covers; of a run without a result neither is made up."""
    broken = Reconciliation((Identity("equity_trades", "equity is trades", "does not hold", ties_equity=True),))
    record = ResultRecord(engine=Engine("backtrader", "1.9"), reconciliation=broken)
    told = Run(make_run(tmp_path, varied(1, files={"result.json": canonical_json(record.to_dict())})))
    bare = Run(make_run(tmp_path, varied(2, status="FAILED")))
    entry, other = (make_entry(run, "sealed", run.equity) for run in (told, bare))
    assert (entry.engine, entry.reconciled) == ("backtrader 1.9", "NOT RECONCILED")
    assert entry.period == "2015-01-02 – 2016-02-25"
    assert (other.engine, other.reconciled, other.period) == ("", "", "")
    _, text = shard_script([entry])
    assert '"backtrader 1.9","NOT RECONCILED","2015-01-02 \\u2013 2016-02-25"' in text


def test_an_edited_run_does_not_look_whole(world: World, tmp_path: Path) -> None:
    """Of a run that differs from its seal neither report nor numbers are shown, whatever is in them now."""
    run_id, out = world.runs[RENDERED].run_id, tmp_path / "site"
    settings = new_project(tmp_path / "project")
    shutil.copytree(world.settings.results / run_id, settings.results / run_id)
    run = RunDir(settings.results, run_id)
    build_site(settings, out)
    page = out / "runs" / run_id / "index.html"
    assert "SEAL MATCHES" in page.read_text(encoding="utf-8")
    run.report.write_text(run.report.read_text(encoding="utf-8") + "<script>alert(1)</script>", encoding="utf-8")
    run.stats.write_text(json.dumps({**describe(run), "sharpe": 9.99}), encoding="utf-8")
    build_site(settings, out)
    text = page.read_text(encoding="utf-8")
    assert BROKEN_SAYS in text
    assert "SEAL MATCHES" not in text
    assert "alert(1)" not in text
    assert "9.99" not in text


def test_a_name_like_a_policy_leaves_the_policy_alone(world: World) -> None:
    """The scripts of a report run on the site whatever its title says."""
    run = Run(RunDir(world.settings.results, world.runs[RENDERED].run_id))
    report = run.dir.report.read_text(encoding="utf-8").replace("<title>", "<title>script-src x; default-src ", 1)
    shown = from_report(report, make_entry(run, "sealed", pd.DataFrame()), "Runs", ())
    assert "default-src 'none'; script-src 'self' file: 'sha256-" in shown


def test_a_page_of_ones_own_is_not_lost(tmp_path: Path) -> None:
    """A prose page with the name of one of the site's own pages is refused."""
    settings = new_project(tmp_path / "project")
    for name in ("index", "compare"):
        page = settings.root / "reports" / "site" / f"{name}.qmd"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text("---\ntitle: Mine\n---\n\nText.\n", encoding="utf-8")
        with pytest.raises(RenderError, match=rf"{name}\.qmd would be the site's own page"):
            build_site(settings, tmp_path / "site")
        page.unlink()


def test_marks_are_what_verification_finds(world: World) -> None:
    """Only a signature that a trusted key made is called signed; an edited file is a broken seal."""
    seals = {number: rows(world.site)[planned.run_id][3] for number, planned in world.runs.items()}
    special = {KILLED: "unsealed", BROKEN: "broken", SIGNED: "signed"}
    assert seals == {number: special.get(number, "sealed") for number in world.runs}


def test_rows_say_what_the_look_ahead_check_found(tmp_path: Path) -> None:
    """The status is that of the run: unchecked without a file that can be read, empty for a run that failed."""
    settings = new_project(tmp_path / "project")
    examined = {"leak": "leak", "unjudged": "unjudged", "clean": "clean", "of a later version": "unchecked"}
    runs = [
        varied(number, files={"robustness.json": json.dumps({"leakage": {"status": status}}).encode()})
        for number, status in enumerate(examined)
    ]
    runs += [varied(4), varied(5, files={"robustness.json": b"[1"}), varied(6, status="FAILED", error={"message": "x"})]
    make_runs(settings.results, runs)
    build_site(settings, tmp_path / "_site")
    listed = rows(tmp_path / "_site")
    found = [listed[planned.run_id][10] for planned in runs]
    assert found == [*examined.values(), "unchecked", "unchecked", ""]
    compared = (tmp_path / "_site" / "runs" / runs[1].run_id / "data.js").read_text()
    assert '"look_ahead":"unjudged"' in compared


def test_numbers_are_the_sealed_ones(world: World) -> None:
    """The list has the metrics to six digits, the comparison has them whole; undefined is null in both."""
    planned = world.runs[0]
    sealed = describe(RunDir(world.settings.results, planned.run_id))
    listed = rows(world.site)[planned.run_id][-1]
    text = (world.site / "runs" / planned.run_id / "data.js").read_text()
    whole = json.loads(text.removeprefix("EvidenceSite.run(").removesuffix(");\n"))["stats"]
    assert whole == sealed
    assert listed["win_rate"] is None
    assert listed == {k: v if not isinstance(v, float) else float(f"{v:.6g}") for k, v in sealed.items()}


def test_a_failed_run_says_what_failed(world: World) -> None:
    """The page of a failed run has its error."""
    assert "ZeroDivisionError: division by zero" in world.page(FAILED).read_text(encoding="utf-8")


def test_a_report_is_shown_with_a_way_back(world: World) -> None:
    """The page of a rendered run is its report; links lead into the site and to copied files, scripts are shared."""
    html = world.page(RENDERED).read_text(encoding="utf-8")
    report = RunDir(world.settings.results, world.runs[RENDERED].run_id).report.read_text(encoding="utf-8")
    assert '<a class="site-name" href="../../index.html">' in html
    assert 'href="../' not in html.replace('href="../../', "")
    assert 'href="files/equity.csv"' in html
    assert len(html) < len(report) / 2
    assert '<script src="../../assets/report.js"></script>' in html


def test_a_build_with_nothing_changed_writes_nothing(project: Settings, tmp_path: Path) -> None:
    """A second build makes no page and touches no file, its cache included."""
    site = tmp_path / "_site"
    build_site(project, site)
    before = stamps(site)
    again = build_site(project, site)
    assert (again.built, again.written, again.removed) == (0, 0, 0)
    assert stamps(site) == before


@pytest.mark.parametrize("already", [20, pytest.param(400, marks=pytest.mark.slow)])
def test_one_more_run_touches_a_constant_number_of_files(tmp_path: Path, already: int) -> None:
    """Besides the new run's own files: its shard (one new, one gone), its plain page, the head."""
    settings = new_project(tmp_path / "project")
    make_runs(settings.results, [varied(number, bars=3) for number in range(already)])
    site = tmp_path / "_site"
    build_site(settings, site)
    before = stamps(site)
    planned = varied(already + 1, bars=3)
    make_run(settings.results, planned)
    done = build_site(settings, site)
    after = stamps(site)
    changed = {name for name in after if before.get(name) != after[name] and planned.run_id not in name} - {STATE}
    assert done.built == 1
    assert len(changed) <= 4
    assert {name.partition("/")[0] for name in changed} <= {"data", "plain", "index.html"}
    assert len(before.keys() - after.keys()) <= 2


def test_a_removed_run_disappears(project: Settings, tmp_path: Path) -> None:
    """Its page, its files, its row, and the experiment that only it was in are gone; nothing names it any more."""
    site = tmp_path / "_site"
    lonely = varied(99, experiment="lonely")
    make_run(project.results, lonely)
    build_site(project, site)
    assert (site / "experiments" / "lonely" / "index.html").is_file()
    shutil.rmtree(project.results / lonely.run_id)
    build_site(project, site)
    assert not (site / "experiments" / "lonely").exists()
    assert all(lonely.run_id not in name and lonely.run_id.encode() not in data for name, data in content(site).items())


@pytest.mark.slow
def test_bytes_do_not_depend_on_history_or_place(project: Settings, tmp_path: Path) -> None:
    """A site that grew run by run equals one built at once, elsewhere, by several processes."""
    grown = tmp_path / "grown"
    other = new_project(tmp_path / "another" / "place")
    for number in range(20):
        make_run(other.results, varied(number))
        if number in {0, 5, 6}:
            build_site(other, grown)
    gone = make_run(other.results, varied(50))
    build_site(other, grown)
    shutil.rmtree(gone.path)
    build_site(other, grown)
    make_runs(project.results, [varied(number) for number in range(8, 20)])
    build_site(project, tmp_path / "once", processes=2)
    assert content(grown) == content(tmp_path / "once")


def test_a_changed_run_is_made_again(project: Settings, tmp_path: Path) -> None:
    """An edit that keeps size and time of modification is still found, and shown as a broken seal."""
    site = tmp_path / "_site"
    build_site(project, site)
    run = RunDir(project.results, varied(2).run_id)
    seen = run.stats.stat()
    run.stats.write_bytes(run.stats.read_bytes().replace(b"0", b"1", 1))
    os.utime(run.stats, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert build_site(project, site).built == 1
    assert rows(site)[run.run_id][3] == "broken"


def test_a_run_sealed_again_is_shown_as_broken(project: Settings, tmp_path: Path) -> None:
    """Other numbers under a new seal that matches them stand beside the ledger's entry of the first seal."""
    first, again = varied(2), replace(varied(2), files={"notes.txt": b"other"})
    run = RunDir(project.results, first.run_id)
    append(run.ledger, sealed(run))
    assert build_site(project, tmp_path / "_site").built > 0
    assert rows(tmp_path / "_site")[run.run_id][3] == "sealed"
    shutil.rmtree(run.path)
    make_runs(project.results, [again])
    append(run.ledger, sealed(run))
    assert build_site(project, tmp_path / "_site", processes=2).built == 1
    assert rows(tmp_path / "_site")[run.run_id][3] == "broken"


def test_results_are_only_read(project: Settings, tmp_path: Path) -> None:
    """A build changes nothing in results/, and its copies are files of their own."""
    before = stamps(project.results)
    site = tmp_path / "_site"
    build_site(project, site)
    assert stamps(project.results) == before
    copy = site / "runs" / varied(1).run_id / "files" / "stats.json"
    source = project.results / varied(1).run_id / "stats.json"
    assert not copy.samefile(source)


@pytest.mark.slow
def test_an_interrupted_build_is_finished_by_the_next(
    project: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at the fifth run, the site of before is still whole; the next build ends as if nothing had happened."""
    site = tmp_path / "_site"
    build_site(project, site)
    before = content(site)
    make_runs(project.results, [varied(number) for number in range(20, 30)])
    real, calls = site_runs.build_run, []

    def dying(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(site_runs, "build_run", dying)
        with pytest.raises(KeyboardInterrupt):
            build_site(project, site)
    left = content(site)
    assert {name: left[name] for name in before} == before
    build_site(project, site)
    build_site(project, tmp_path / "fresh")
    assert content(site) == content(tmp_path / "fresh")


class Killed(BaseException):
    """What no part of a build catches."""


def killed_build(settings: Settings, site: Path, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Build, and end like a process that is killed while it moves its next file but `after` to its place."""
    left = iter(range(after))

    def replace_or_die(source: Path, target: Path) -> None:
        if next(left, None) is None:
            raise Killed
        replace_file(source, target)

    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        patch.setattr(site_output, "replace_file", replace_or_die)
        build_site(settings, site)


@pytest.mark.parametrize("after", [0, 1, 40])
def test_a_first_build_that_was_killed_is_gone_on_with(
    project: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Wherever it ends, beside a host's own file too: the next one is whole, and nothing half-written is left."""
    site = tmp_path / "_site"
    site.mkdir()
    (site / "CNAME").write_text("runs.example")
    killed_build(project, site, after, monkeypatch)
    build_site(project, site)
    build_site(project, tmp_path / "fresh")
    assert content(site) == {**content(tmp_path / "fresh"), "CNAME": b"runs.example"}


def test_of_two_builds_at_once_one_waits(project: Settings, tmp_path: Path) -> None:
    """The second goes on from what the first made."""
    site = tmp_path / "_site"
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: build_site(project, site), range(2)))
    assert sorted(item.built for item in done) == [0, done[0].runs]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_whatever_happened_one_build_makes_the_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Runs added, removed, edited, builds killed, pages damaged, in any order: then the site is as a fresh one."""
    random = Random(seed)
    settings, site = new_project(tmp_path / "project"), tmp_path / "_site"
    for number in range(12):
        there = sorted(settings.results.glob("*-*"))
        match random.choice(["add", "add", "remove", "edit", "kill", "kill", "build", "damage"]):
            case "add":
                make_run(settings.results, varied(100 * seed + number, bars=3))
            case "remove" if there:
                shutil.rmtree(random.choice(there))
            case "edit" if there:
                (random.choice(there) / "stats.json").write_text(f'{{"sharpe": {number}}}')
            case "kill":
                killed_build(settings, site, random.randrange(60), monkeypatch)
            case "damage" if site.is_dir() and (files := sorted(path for path in site.rglob("*.*") if path.is_file())):
                damaged = random.choice([path for path in files if path.name not in UNPUBLISHED] or [site / "CNAME"])
                damaged.write_bytes(b"damaged") if random.random() < 0.5 else damaged.unlink(missing_ok=True)
            case _:
                build_site(settings, site)
    build_site(settings, site)
    build_site(settings, tmp_path / "fresh")
    left = {name: data for name, data in content(site).items() if name != "CNAME"}
    assert left == content(tmp_path / "fresh")


@pytest.mark.slow
@pytest.mark.parametrize("damage", [b"", b"{", b'{"version": 1}', b'{"version": 99, "runs": {}}'])
def test_the_cache_is_only_a_cache(project: Settings, tmp_path: Path, damage: bytes) -> None:
    """A damaged or missing cache costs time, not content."""
    site = tmp_path / "_site"
    build_site(project, site)
    before = content(site)
    (site / STATE).write_bytes(damage)
    build_site(project, site)
    assert content(site) == before


def test_a_lost_or_torn_page_is_made_again(project: Settings, tmp_path: Path) -> None:
    """What is not there, or not as it was written, is made again, files of a run in the size they had, too."""
    site = tmp_path / "_site"
    build_site(project, site)
    before = content(site)
    (site / "runs" / varied(0).run_id / "data.js").unlink()
    (site / "runs" / varied(1).run_id / "index.html").write_bytes(b"")
    stats = site / "runs" / varied(2).run_id / "files" / "stats.json"
    stats.write_bytes(stats.read_bytes()[::-1])
    (site / "data" / "head.js").unlink()
    (site / "about.html").write_bytes(b"x")
    assert build_site(project, site).built == 3
    assert content(site) == before


def test_files_of_ones_own_stay(project: Settings, tmp_path: Path) -> None:
    """A CNAME beside the pages survives; what is in the site's own folders and belongs to nothing does not."""
    site = tmp_path / "_site"
    build_site(project, site)
    (site / "CNAME").write_text("runs.example")
    (site / "assets" / "old.js").write_text("//")
    build_site(project, site)
    assert (site / "CNAME").is_file()
    assert not (site / "assets" / "old.js").exists()


@pytest.mark.parametrize("place", [".", "results", "results/site", ".."])
def test_a_site_is_never_written_over_the_project(project: Settings, place: str) -> None:
    """The project, what is around it, and its runs are refused, also below."""
    with pytest.raises(UsageError, match="Give a directory of its own"):
        build_site(project, project.root / place)


def test_a_directory_with_other_content_is_refused(project: Settings, tmp_path: Path) -> None:
    """A directory that is not empty and holds no site is not touched."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "thesis.txt").write_text("x")
    with pytest.raises(UsageError, match="is not empty and holds no site"):
        build_site(project, tmp_path / "docs")
    assert list_files(tmp_path / "docs") == ["thesis.txt"]


def test_a_run_being_executed_is_left_out(project: Settings, tmp_path: Path) -> None:
    """A run that is running is not on the site; interrupted, it is."""
    run = make_run(project.results, varied(70, seal=False))
    write_state(run, status="RUNNING", started_at="2026-05-01T00:00:00Z", stage="notebook")
    build_site(project, tmp_path / "_site")
    assert run.run_id not in rows(tmp_path / "_site")
    run.clear_scratch()
    build_site(project, tmp_path / "_site")
    assert rows(tmp_path / "_site")[run.run_id][2:4] == ["KILLED", "unsealed"]


def test_a_project_without_runs_has_a_site(tmp_path: Path) -> None:
    """No runs: the pages are there and say so."""
    settings = new_project(tmp_path / "project")
    assert build_site(settings, tmp_path / "_site").runs == 0
    assert "no runs yet" in (tmp_path / "_site" / "index.html").read_text()


class Sweeps:
    """Pages of another module."""

    group = "sweeps"
    label = "Sweeps"

    def __init__(self, *names: str) -> None:
        self.names = names

    def pages(self, entries: Any, shown: Any) -> list[site_pages.ExtraPage]:
        main = f"<h1>Sweep</h1><p>{len(entries)} runs</p>"
        return [site_pages.ExtraPage(f"sweeps/{name}/index.html", f"Sweep {name}", main) for name in self.names]


def test_another_module_can_add_pages(project: Settings, tmp_path: Path) -> None:
    """A provider's pages get the frame, a list and a place in the navigation, and go when it does."""
    site = tmp_path / "_site"
    build_site(project, site, providers=[Sweeps("a", "b")])
    assert "<p>8 runs</p>" in (site / "sweeps" / "a" / "index.html").read_text()
    assert 'href="../sweeps/b/index.html"' in (site / "sweeps" / "index.html").read_text()
    assert 'href="sweeps/index.html"' in (site / "index.html").read_text()
    build_site(project, site, providers=[Sweeps("a")])
    assert not (site / "sweeps" / "b").exists()
    build_site(project, site)
    assert not (site / "sweeps").exists()


@pytest.mark.slow
def test_a_provider_stays_in_its_folder(project: Settings, tmp_path: Path) -> None:
    """A page outside of its group's folder is refused."""
    with pytest.raises(UsageError, match="must be in the folder 'sweeps'"):
        build_site(project, tmp_path / "_site", providers=[Sweeps("../../runs/x")])
