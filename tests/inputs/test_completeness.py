"""Whether the watch saw every read: what the system tells of files that neither hook nor doors saw."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import pipeline
from pipeline.inputs import completeness, inotify
from pipeline.inputs.completeness import Completeness
from pipeline.inputs.observed import Observed
from pipeline.run import Run
from pipeline.settings import Settings
from tests.inputs.watching import watched

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the system does not tell")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project with one file of data as the current directory."""
    root = tmp_path / "project"
    (root / "data").mkdir(parents=True)
    (root / "data" / "a.csv").write_text("a")
    monkeypatch.chdir(root)
    return root


def found(root: Path, act: Callable[[], Any]) -> Completeness:
    with watched(root) as seen:
        act()
    assert seen[0].failed is None
    assert seen[0].completeness is not None
    assert Observed.from_dict(seen[0].to_dict()) == seen[0]
    return seen[0].completeness


def natively(*paths: str | Path) -> Callable[[], Any]:
    """Return what reads files without an audit event in this process: another program, as native code would."""
    return lambda: subprocess.run(["cat", *map(str, paths)], check=True, capture_output=True)


@linux
def test_a_read_that_nobody_saw_is_named(root: Path) -> None:
    """However deep it lies; what was seen, or is no input, is not named."""
    for name in ("deep/er/b.bin", ".git/HEAD", "mlflow.db", "results/x", "m.so"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("b")

    def act() -> None:
        Path("data/a.csv").read_text()
        natively("data/a.csv", "deep/er/b.bin", ".git/HEAD", "mlflow.db", "results/x", "m.so")()

    complete = found(root, act)
    assert complete == Completeness(4, ("deep/er/b.bin",))
    assert [*complete.checked()] == []
    (sentence,) = complete.unexamined()
    assert sentence == (
        "Read by something that was not seen (native code of the run, a process that it started, or another program): "
        "deep/er/b.bin."
    )


@linux
def test_a_run_whose_reads_were_all_seen_says_so(root: Path) -> None:
    """With the number of folders that the system was asked about."""

    def act() -> None:
        Path("data/a.csv").read_text()
        Path("data/out.csv").write_text("made here")
        natively("data/out.csv")()

    complete = found(root, act)
    assert complete == Completeness(2)
    assert [*complete.checked()] == [
        "Reads: the system tells of no file below the run's 2 folders that was read and not seen."
    ]
    assert [*complete.unexamined()] == []


@linux
def test_links_are_followed(root: Path, tmp_path: Path) -> None:
    """To folders and to files elsewhere, by which they are named; a circle of links ends."""
    (tmp_path / "market" / "eod").mkdir(parents=True)
    (tmp_path / "market" / "eod" / "x.bin").write_text("x")
    (tmp_path / "single.bin").write_text("s")
    (root / "market").symlink_to(tmp_path / "market")
    (root / "single.bin").symlink_to(tmp_path / "single.bin")
    (root / "gone.bin").symlink_to(tmp_path / "gone")
    (root / "data" / "up").symlink_to(root)
    assert found(root, natively("market/eod/x.bin", "single.bin")).unseen == ("market/eod/x.bin", "single.bin")
    seen = found(root, lambda: (Path("market/eod/x.bin").read_text(), Path("single.bin").read_text()))
    assert seen.unseen == ()


@linux
def test_what_is_written_by_others_is_not_read(root: Path) -> None:
    """Nor is what was made meanwhile and is gone; one that stays, and was read, is named."""

    def act() -> None:
        os.system("printf 1 > data/written; printf 1 > data/gone; cat data/gone > data/stays; rm data/gone")
        natively("data/stays")()

    assert found(root, act).unseen == ("data/stays",)


@linux
def test_a_secret_is_only_counted(root: Path) -> None:
    """As everywhere: neither named nor digested."""
    (root / ".env").write_text("hunter2")
    complete = found(root, natively(".env"))
    assert complete == Completeness(2, (), 1)
    assert "env" not in " ".join(complete.unexamined())


@linux
def test_code_and_what_is_recorded_apart_are_no_inputs(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An editor that reads the notebook again tells nothing."""
    from pipeline.inputs import watch
    from pipeline.inputs.places import Places

    (root / "own.ipynb").write_text("{}")
    places = Places(str(root), str(root / "results"), (str(root),), apart=(str(root / "own.ipynb"),))
    own = watch.start(places)
    natively("own.ipynb")()
    assert watch.stop(own).completeness == Completeness(2)


@linux
def test_more_events_than_the_system_remembers_are_no_clean_answer(root: Path) -> None:
    """An overflow is said, and so is a folder that was renamed."""
    with watched(root) as seen:
        from pipeline.inputs import watch

        watch.watching()[-1]._lookout._happened(-1, inotify.OVERFLOW, "")
    assert seen[0].completeness is not None
    (sentence,) = seen[0].completeness.unexamined()
    assert sentence.endswith("was not examined: more files were opened at once than the system remembers.")
    assert "renamed" in str(found(root, lambda: (root / "data").rename(root / "moved")).why)


@linux
def test_too_many_folders_are_said(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project that is a home directory costs no minutes."""
    monkeypatch.setattr(completeness, "MOST", 1)
    assert found(root, natively("data/a.csv")) == replace(Completeness(1), why="there are more than 1 folders")


def test_elsewhere_it_was_not_examined(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no inotify the record says so, and nothing fails."""
    monkeypatch.setattr(sys, "platform", "darwin")
    complete = found(root, lambda: shutil.copy("data/a.csv", "data/b.csv"))
    assert [*complete.checked()] == []
    assert [*complete.unexamined()] == [
        "Whether files were read that were not seen was not examined: there is no inotify."
    ]


@linux
@pytest.mark.slow
def test_the_seal_says_what_was_not_seen(root: Path) -> None:
    """In the list of what nobody examined; the record has the names."""
    (root / "b.bin").write_text("b")
    settings = Settings(root=root, results=root / "results")
    run = pipeline.start_run(settings=settings, tracking={"mode": "off"}, name="by hand")
    natively("b.bin")()
    run.save(pd.Series([0.01, -0.02, 0.01], pd.date_range("2024-01-01", periods=3, freq="B")))
    run.finish()
    sealed = Run(run.dir)
    assert sealed.record.boundary is not None
    assert sealed.record.boundary.unexamined[-1].endswith("another program): b.bin.")
    assert json.loads(run.dir.inputs.read_bytes())["completeness"] == {
        "folders": 2, "unseen": ["b.bin"], "secrets": 0, "why": None,
    }  # fmt: skip
    assert sealed.verify().ok
