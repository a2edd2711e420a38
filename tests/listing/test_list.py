"""Runs are asked by what they were about, on the command line and from Python, and found by the data they read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import pipeline
from pipeline.backtest import load_ohlcv
from pipeline.cli.edge import run_command
from pipeline.digest import sha256_file
from pipeline.errors import UsageError
from pipeline.files import read_json, write_json
from pipeline.listing.query import list_runs, made_from
from pipeline.run import Run
from pipeline.settings import Settings
from tests.site.site_runs import make_runs, varied


@pytest.fixture
def many(project: Settings) -> Settings:
    """Return a project with twelve runs."""
    make_runs(project.results, [varied(number, bars=30) for number in range(12)])
    return project


def numbers(runs: list[Run]) -> list[int]:
    return [int(run.name.split()[-1]) for run in runs]


def asked(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert run_command([*words]) == code
    out, err = capsys.readouterr()
    return json.loads(out) if "--json" in words else out or err


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"symbol": "ndx"}, [5, 4, 3]),
        ({"since": "2026-01-01T01:03", "until": "2026-01-01T01:11:00"}, [10, 9]),
        ({"until": "2025-12-31"}, []),
        ({"since": "2026-01-01", "until": "2026-01-01", "strategy": "donchian"}, [7, 2]),
        ({"tags": {"desk": "beta", "batch": "0"}, "status": "finished", "symbol": "SPX"}, [1]),
        ({"experiment": "experiment 3"}, [3]),
        ({"where": "total_trades > 9", "sort": "symbol,-total_trades"}, [8, 7, 11, 10, 9]),
        ({"sort": "-win_rate,total_trades", "symbol": "WTI"}, [10, 11, 9]),
        ({"data": "ab" * 32, "symbol": "NDX"}, [5, 4, 3]),
        ({"data": "cd" * 16}, []),
    ],
)
def test_runs_are_asked(many: Settings, given: dict[str, Any], expected: list[int]) -> None:
    """Conditions hold together; the one started last comes first unless sorted; what is unknown comes last."""
    assert numbers(list_runs(**given, settings=many)) == expected


def test_the_command_line_asks_the_same(many: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """Options are the keyword arguments; chosen columns are all that is printed, as JSON too."""
    words = ["--symbol", "NDX", "--tag", "desk=beta", "--where", "total_trades > 6", "--sort", "-total_trades"]
    found = asked(capsys, "list", *words, "--json")
    assert [row["name"].split()[-1] for row in found] == ["5"]
    assert found[0]["experiment"] == "experiment 5"
    assert found[0]["digests"] == {"data": "ab" * 32}
    chosen = asked(
        capsys, "list", "--columns", "name,symbol,total_trades,sealed", "--sort", "total_trades", "-n", "1", "--json"
    )
    assert chosen == [{"name": "Study 0 variant 0", "symbol": ["SPX"], "total_trades": 3, "sealed": True}]
    printed = asked(capsys, "list", "--columns", "name,tags.desk,sharpe", "--symbol", "NDX")
    assert printed.splitlines()[0].split() == ["name", "tags.desk", "sharpe"]
    assert len(printed.splitlines()) == 4
    assert asked(capsys, "list", "--symbol", "EURUSD") == "No run is like that.\n"
    assert asked(capsys, "list", "--symbol", "EURUSD", "--columns", "sharpe") == "No run is like that.\n"
    assert asked(capsys, "list", "--symbol", "NDX", "--limit", "2").endswith("1 more: --limit 0\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--where", "sharp > 1"], "Did you mean 'sharpe'?"),
        (["--where", "sharp > 1", "--symbol", "none"], "Did you mean 'sharpe'?"),
        (["--sort", "-sharp"], "Did you mean 'sharpe'?"),
        (["--columns", "sharp"], "Did you mean 'sharpe'?"),
        (["--columns", ","], "No column is named."),
        (["--sort", ""], "No column is named."),
        (["--data", "a" * 5_000], "is no file, and no SHA-256"),
        (["--since", "March"], "since 'March' is no day and no time"),
        (["--data", "prices.csv"], "'prices.csv' is no file, and no SHA-256"),
        (["--status", "DONE"], "'DONE' is no status of a run: RUNNING, FINISHED, FAILED, KILLED, UNREADABLE."),
        (["--tag", "desk"], "--tag 'desk' is not of the form NAME=VALUE."),
    ],
)
def test_what_cannot_be_asked_is_told(
    many: Settings, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    """A mistake is exit code 2 and names what was meant, never an empty list."""
    assert said in asked(capsys, "list", *words, code=2)


def test_a_metric_of_another_run_is_a_column(many: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """Which metrics there are, all runs tell: not only those that are shown, or that fulfil the rest."""
    run = list_runs(settings=many)[-1]
    run.dir.stats.write_text(f'{{"own_score": 3, "total_trades": {10**400}}}')
    assert asked(capsys, "list", "--symbol", "NDX", "--where", "own_score > 1") == "No run is like that.\n"
    for words in (["--limit", "1"], ["--symbol", "WTI", "--limit", "1"]):
        assert asked(capsys, "list", *words, "--columns", "own_score", "--json") == [{"own_score": None}]
    assert numbers(list_runs(sort="-own_score,total_trades", settings=many))[:2] == [0, 1]
    assert numbers(list_runs(sort="-total_trades", settings=many))[:2] == [0, 11]


@pytest.mark.slow
def test_a_run_is_found_by_its_bars(project: Settings, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The same bars as CSV, Parquet and with other column names are one; other bars, or other days, are not."""
    whole = load_ohlcv("sample:sp500", start="2010-01-01", end="2010-12-31")
    plain = tmp_path / "prices.csv"
    whole.to_csv(plain)
    run = pipeline.start_run(
        settings=project, tracking={"mode": "off"}, strategy={"name": "buy_and_hold"},
        data={"source": str(plain), "symbol": "X", "start": "2010-07-01"},
    )  # fmt: skip
    run.save(run.backtest(run.load_data()), robustness=False)
    run.finish()
    other = tmp_path / "same.parquet"
    whole.to_parquet(other)
    renamed = tmp_path / "renamed.csv"
    whole.rename(columns=str.upper).rename_axis("Date").to_csv(renamed)
    changed = tmp_path / "changed.csv"
    whole.assign(close=whole["open"]).to_csv(changed)
    earlier = tmp_path / "earlier.csv"
    whole.loc[:"2010-11-01"].to_csv(earlier)
    (project.root / "notes.txt").write_text("no bars")
    found = {
        path.name: [how for _, how in made_from(path, settings=project)]
        for path in (plain, other, renamed, changed, earlier)
    }
    assert found == {
        "prices.csv": ["data"], "same.parquet": ["the same bars"], "renamed.csv": ["the same bars"],
        "changed.csv": [], "earlier.csv": [],
    }  # fmt: skip
    assert made_from(project.root / "notes.txt", settings=project) == []
    (row,) = asked(capsys, "find", "--data", str(other), "--json")
    assert (row["run_id"], row["found_as"]) == (run.run_id, "the same bars")
    assert row["period"] == {"first": "2010-07-01T00:00:00Z", "last": "2010-12-31T00:00:00Z"}
    assert run.run_id in asked(capsys, "find", "--data", str(other))
    assert asked(capsys, "find", "--data", str(changed)) == "No run was made from it.\n"
    assert [one.run_id for one in list_runs(data=other, settings=project)] == [run.run_id]
    assert [one.run_id for one in list_runs(data=row["bars_sha256"][:12], settings=project)] == [run.run_id]
    shown = asked(capsys, "show", "last")
    assert "period      2010-07-01 – 2010-12-31\n" in shown
    assert sha256_file(plain)[:12] in shown
    with pytest.raises(UsageError, match="no file, and no SHA-256"):
        made_from("ab", settings=project)


def test_a_run_of_another_engine_is_found_by_what_it_read(project: Settings, tmp_path: Path) -> None:
    """Without a digest of bars the kept input is read: the same bars in another file are found there, too."""
    bars = load_ohlcv("sample:sp500", start="2010-01-01", end="2010-12-31")
    mine = project.root / "prices.csv"
    bars.to_csv(mine)
    run = pipeline.start_run(settings=project, tracking={"mode": "off"})
    close = pd.read_csv(run.input("prices.csv", name="prices"), index_col=0, parse_dates=True)["close"]
    run.save(close, kind="equity")
    run.finish()
    same = tmp_path / "same.parquet"
    bars.to_parquet(same)
    assert [how for _, how in made_from(mine, settings=project)] == ["prices"]
    assert [how for _, how in made_from(same, settings=project)] == ["the same bars"]


def test_a_run_from_before_has_no_digest_of_its_bars(project: Settings, tmp_path: Path) -> None:
    """It is found by the bars of the file it kept."""
    bars = load_ohlcv("sample:sp500", start="2010-01-01", end="2010-12-31")
    bars.to_csv(tmp_path / "prices.csv")
    run = pipeline.start_run(
        settings=project, tracking={"mode": "off"}, strategy={"name": "buy_and_hold"},
        data={"source": str(tmp_path / "prices.csv"), "symbol": "X"},
    )  # fmt: skip
    run.save(run.backtest(run.load_data()), robustness=False)
    run.finish()
    facts = read_json(run.dir.data_facts)
    write_json(run.dir.data_facts, {name: value for name, value in facts.items() if name != "bars_sha256"})
    bars.to_parquet(tmp_path / "same.parquet")
    assert [how for _, how in made_from(tmp_path / "same.parquet", settings=project)] == ["the same bars"]
