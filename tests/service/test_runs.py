"""Runs of the project over HTTP: what is shown is what their directories hold, and nothing else is reached."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from starlette.testclient import TestClient

from pipeline import verbs
from pipeline.run import Run
from pipeline.rundir import RunDir
from pipeline.service.app import build_app
from pipeline.service.run_rows import FRESH, RunRows
from pipeline.service.settings import ServiceSettings
from pipeline.settings import Settings
from tests.service.problems import check_problem
from tests.site.site_runs import make_run, make_runs, varied

R = "/api/runs"
HOSTILE = "<script>alert(1)</script>"


@dataclass(frozen=True)
class World:
    """A service in this process, and the runs that it serves; the first has a hostile name."""

    client: TestClient
    settings: Settings
    runs: list[RunDir]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("project")
    settings = Settings(root, root / "results")
    runs = make_runs(settings.results, [varied(0, name=HOSTILE, bars=30), *(varied(n, bars=30) for n in (1, 2, 3))])
    report = runs[1].report
    report.parent.mkdir(exist_ok=True)
    report.write_text("<p>report</p>")
    app = build_app(settings, ServiceSettings(auth=False))
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield World(client, settings, runs)


def get(world: World, path: str, /, **query: Any) -> Any:
    response = world.client.get(f"{R}{path}", params=query)
    assert response.status_code == 200, response.text
    return response.json()


def test_runs_are_listed_filtered_sorted_and_paged(world: World) -> None:
    """As `evidence list` does; `total` is of all pages."""
    every = get(world, "")
    assert (every["total"], len(every["runs"])) == (4, 4)
    assert {run["run_id"] for run in every["runs"]} == {run.run_id for run in world.runs}
    beta = get(world, "", tag="desk=beta", sort="name")
    assert [run["name"] for run in beta["runs"]] == ["Study 1 variant 1", "Study 3 variant 3"]
    symbols = get(world, "", symbol=Run(world.runs[3]).what.symbols[0].lower())
    assert world.runs[3].run_id in {run["run_id"] for run in symbols["runs"]}
    pages = [get(world, "", sort="-name", limit=1, offset=place)["runs"][0]["run_id"] for place in range(4)]
    assert len(set(pages)) == 4
    sharpe = Run(world.runs[2]).stats["sharpe"]
    assert get(world, "", where=f"sharpe >= {sharpe}", status="finished")["total"] >= 1
    assert get(world, "", offset=100)["runs"] == []


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"where": "sharpe >"}, 400),
        ({"where": "none_such > 1"}, 400),
        ({"sort": "none_such"}, 400),
        ({"status": "LOST"}, 400),
        ({"since": "yesterday"}, 400),
        ({"tag": "desk"}, 400),
        ({"data": "/etc/passwd"}, 422),
        ({"limit": 0}, 422),
    ],
)
def test_what_cannot_be_asked_is_said(world: World, query: dict[str, Any], status: int) -> None:
    """With the nearest that can."""
    check_problem(world.client.get(R, params=query), status)


def test_a_run_is_shown_as_it_is(world: World) -> None:
    """By its id, the start of it, or as the last; paths of this machine are not among it."""
    run = world.runs[1]
    shown = get(world, f"/{run.run_id}")
    assert shown == get(world, f"/{run.run_id[:13]}")
    assert (shown["run_id"], shown["status"], shown["stats"]) == (run.run_id, "FINISHED", Run(run).stats)
    assert shown["links"]["report"] == f"{R}/{run.run_id}/report"
    assert get(world, f"/{world.runs[2].run_id}")["links"]["report"] is None
    assert str(world.settings.root) not in json.dumps({name: shown[name] for name in shown if name != "config"})
    assert get(world, f"/{run.run_id}/stats") == Run(run).stats
    assert get(world, "/last")["run_id"] == get(world, "", limit=1)["runs"][0]["run_id"]


def test_tables_are_whole_and_not_rounded(world: World) -> None:
    """Page by page the very numbers that the run has."""
    run = Run(world.runs[1])
    first, second = (get(world, f"/{run.run_id}/equity", offset=offset, limit=20) for offset in (0, 20))
    assert first["columns"] == ["timestamp", "equity", "drawdown", "benchmark_equity"]
    assert (first["total"], len(first["rows"]), len(second["rows"])) == (30, 20, 10)
    rows = first["rows"] + second["rows"]
    assert [row[1] for row in rows] == run.equity["equity"].tolist()
    assert [pd.Timestamp(row[0]) for row in rows] == run.equity.index.tolist()
    trades = get(world, f"/{run.run_id}/trades")
    assert trades["total"] == len(run.trades) == len(trades["rows"])
    check_problem(world.client.get(f"{R}/{run.run_id}/positions"), 404)
    run.dir.part("positions").parent.mkdir(exist_ok=True)
    pd.DataFrame({"SPX": [1.0, float("nan")]}).to_parquet(run.dir.part("positions"))
    try:
        assert get(world, f"/{run.run_id}/positions")["rows"] == [[0, 1.0], [1, None]]
    finally:
        run.dir.part("positions").unlink()


def test_the_report_can_reach_nothing(world: World) -> None:
    """It may run its scripts, in an origin of its own; one that is not there is 404, a link too."""
    answer = world.client.get(f"{R}/{world.runs[1].run_id}/report")
    assert answer.text == "<p>report</p>"
    policy = answer.headers["content-security-policy"]
    assert "sandbox allow-scripts" in policy
    assert "allow-same-origin" not in policy
    assert "connect-src" not in policy.replace("default-src 'none'", "")
    check_problem(world.client.get(f"{R}/{world.runs[2].run_id}/report"), 404)
    link = world.runs[3].report
    link.parent.mkdir(exist_ok=True)
    link.symlink_to("/etc/passwd")
    check_problem(world.client.get(f"{R}/{world.runs[3].run_id}/report"), 404)
    link.unlink()


def test_what_a_user_wrote_is_never_html(world: World) -> None:
    """A name with tags in it is text in JSON, which nobody shows as anything else."""
    answer = world.client.get(f"{R}/{world.runs[0].run_id}")
    assert answer.json()["name"] == HOSTILE
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_seal_is_sent_as_it_is_and_checked(world: World) -> None:
    """The manifest's very bytes; a file that was changed is found."""
    run = world.runs[2]
    assert world.client.get(f"{R}/{run.run_id}/manifest").content == run.manifest.read_bytes()
    whole = verbs.verify(Run(run), settings=world.settings)
    found = get(world, f"/{run.run_id}/verify")
    assert found["problems"] == [asdict(problem) for problem in whole.problems]
    assert {problem["path"] for problem in found["problems"]} == {"ledger.jsonl"}  # these runs are in none
    assert (found["files"], found["manifest_sha256"]) == (whole.files, whole.manifest_sha256)
    before = run.stats.read_bytes()
    run.stats.write_bytes(before + b" ")
    try:
        found = get(world, f"/{run.run_id}/verify")
        assert (found["ok"], found["verdict"]) == (False, "NOT OK")
        assert "stats.json" in [problem["path"] for problem in found["problems"]]
        check_problem(world.client.get(f"{R}/{run.run_id}/bundle"), 409)
    finally:
        run.stats.write_bytes(before)


def test_a_run_is_packed_to_be_sent(world: World) -> None:
    """A zip with the sealed files, and nothing stays on the way."""
    run = world.runs[1]
    answer = world.client.get(f"{R}/{run.run_id}/bundle")
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as packed:
        assert any(name.endswith("stats.json") for name in packed.namelist())
    assert f"evidence-{run.run_id}.zip" in answer.headers["content-disposition"]
    assert list((world.settings.root / ".service/uploads").iterdir()) == []


@pytest.mark.parametrize("run_id", ["..", "%2e%2e", "..%2f..%2fetc", "0" * 8, "abc", "A" * 36, "last/../x"])
@pytest.mark.parametrize("part", ["", "/manifest", "/report"])
def test_no_id_leads_out_of_the_results(world: World, run_id: str, part: str) -> None:
    """What is no id, or nobody's, is refused."""
    answer = world.client.get(f"{R}/{run_id}{part}")
    assert answer.status_code in (404, 422)
    check_problem(answer, answer.status_code)


def test_a_list_is_read_again_when_something_changed(tmp_path: Path) -> None:
    """A new run and a new report are there a moment later; a row that is as it was is not read again."""
    now = [0.0]
    settings = Settings(tmp_path, tmp_path / "results")
    first = make_run(settings.results, varied(1, bars=30))
    rows = RunRows(settings, lambda: now[0])
    [before] = rows.all()
    make_run(settings.results, varied(2, bars=30))
    assert len(rows.all()) == 1
    now[0] = FRESH
    assert len(rows.all()) == 2
    assert next(row for row in rows.all() if row.run_id == first.run_id) is before
    first.report.parent.mkdir(exist_ok=True)
    first.report.write_text("<p>")
    now[0] = 2 * FRESH
    assert next(row for row in rows.all() if row.run_id == first.run_id).report is not None
