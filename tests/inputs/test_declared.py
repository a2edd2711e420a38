"""Declared inputs: files, folders, patterns and frames, from the spec, the command line and the notebook."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import pipeline
from pipeline.cli.output import print_run
from pipeline.digest import sha256_file
from pipeline.errors import DataError, SpecError
from pipeline.evidence.compare import read_inputs
from pipeline.evidence.inputs import find_kept
from pipeline.inputs.declared import declared_files, parse_input
from pipeline.inputs.frames import as_table, data_digest, keep_frame, read_frame
from pipeline.inputs.given import REPLAYED, declare, frames_of
from pipeline.inputs.network import Host
from pipeline.inputs.observed import Observed
from pipeline.inputs.watch import watching
from pipeline.opening import data_inputs, open_run
from pipeline.report.page import Page
from pipeline.run import Run
from pipeline.sealing import close_run
from pipeline.settings import Settings
from pipeline.spec import RunSpec
from pipeline.start import InteractiveRun
from tests.inputs.test_runs import of_inputs
from tests.inputs.watching import by_itself, watched
from tests.replay.conftest import small as small  # noqa: PLC0414 - a fixture
from tests.replay.runs import small_spec

AT = "2026-01-02T00:00:00.000000Z"
DAYS = pd.date_range("2024-01-01", periods=3, freq="D", name="day")
FRAMES: dict[str, Any] = {
    "numbers": pd.DataFrame({"SPX": [1.0, np.nan, 3.0], "n": [1, 2, 3]}, index=DAYS),
    "instants": pd.DataFrame({"a": [1, 2, 3]}, index=DAYS.tz_localize("Europe/Berlin")),
    "text": pd.DataFrame({"a": ["x", None, "é"], "b": pd.Categorical(["u", "v", "u"])}),
    "levels": pd.DataFrame({("Close", "A"): [1.0], ("Close", "B"): [2.0]}),
    "series": pd.Series([1.0, 2.0], name="returns"),
    "unnamed": pd.Series([1.0, 2.0]),
    "empty": pd.DataFrame({"a": []}),
    "arrow": pa.table({"a": [1, 2], "t": ["x", None], "d": [True, None]}),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_a_frame_reads_back_as_it_was(tmp_path: Path, kind: str) -> None:
    """Values, index, frequency, names and kind; and it is kept by its digest."""
    frame = FRAMES[kind]
    kept, content = keep_frame(frame, "prices", AT, tmp_path)
    back = read_frame(content, frame)
    assert find_kept(tmp_path, kept.sha256) is not None
    assert (kept.rows, kept.kept) == (len(frame), True)
    if isinstance(frame, pd.DataFrame):
        pd.testing.assert_frame_equal(back, frame, check_freq=True)
        pd.testing.assert_frame_equal(read_frame(content, None), frame)
    elif isinstance(frame, pd.Series):
        pd.testing.assert_series_equal(back, frame)
        pd.testing.assert_series_equal(read_frame(content, None), frame)
    else:
        assert back.equals(frame)
    assert keep_frame(back, "prices", AT, tmp_path)[0] == kept


def digest(frame: Any) -> str:
    return data_digest(as_table(frame, "x"))


def test_the_digest_is_that_of_the_data() -> None:
    """Chunks and the payload of NaN change nothing; a value, a name, a type, an order, a null do."""
    table = pa.table({"a": [1.0, None, float("nan")], "s": ["ab", "", None]})
    parts = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    assert digest(parts) == digest(table)
    payload = np.array([0x7FF8000000000001], dtype=np.uint64).view(np.float64)
    assert digest(pa.table({"a": payload})) == digest(pa.table({"a": [float("nan")]}))
    variants = [
        table,
        pa.table({"a": [1.0, None, 0.0], "s": ["ab", "", None]}),
        pa.table({"a": [1.0, 0.0, float("nan")], "s": ["ab", "", None]}),
        pa.table({"a": [1.0, None, float("nan")], "s": ["a", "b", None]}),
        pa.table({"a": [1.0, None, float("nan")], "s": ["ab", None, ""]}),
        pa.table({"b": [1.0, None, float("nan")], "s": ["ab", "", None]}),
        pa.table({"a": pa.array([1.0, None, float("nan")], pa.float32()), "s": ["ab", "", None]}),
        table.select(["s", "a"]),
        table.slice(0, 2),
    ]
    assert len({digest(item) for item in variants}) == len(variants)


def test_what_is_no_frame_is_refused(tmp_path: Path) -> None:
    """The error says what can be given."""
    with pytest.raises(DataError, match=r"is a list. Give a path, a pandas frame"):
        keep_frame([1, 2], "prices", AT, tmp_path)
    with pytest.raises(DataError, match=r"cannot be kept as Parquet.*one type each"):
        keep_frame(pd.DataFrame({"a": [1, "x", object()]}), "prices", AT, tmp_path)
    with pytest.raises(DataError, match="A frame needs a name"):
        declare(FRAMES["numbers"], None, watches=(), asked={}, root=tmp_path, results=tmp_path)


def test_names_of_files_folders_and_patterns(tmp_path: Path) -> None:
    """Each file once; what names nothing, or a secret, is refused."""
    for name in ("d/a.csv", "d/b.csv", "d/sub/c.csv", "d/__pycache__/x.pyc", "e.csv", ".env"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)

    def names(**inputs: str) -> list[str]:
        return [Path(path).relative_to(tmp_path).as_posix() for path in declared_files(inputs, tmp_path)]

    assert names(one="e.csv", again="e.csv") == ["e.csv"]
    assert names(folder="d") == ["d/a.csv", "d/b.csv", "d/sub/c.csv"]
    assert names(pattern="d/*.csv") == ["d/a.csv", "d/b.csv"]
    assert names(deep="**/*.csv") == ["d/a.csv", "d/b.csv", "d/sub/c.csv", "e.csv"]
    assert names(whole=str(tmp_path / "e.csv")) == ["e.csv"]
    with pytest.raises(DataError, match=r"The input gone = 'none/\*.csv' names no file below"):
        names(gone="none/*.csv")
    with pytest.raises(DataError, match="names a file of secrets"):
        names(env=".env")


def test_what_a_spec_refuses() -> None:
    """A name that is none, a URL, and text that is not of the form."""
    for inputs, message in (
        ({"a b": "x"}, "no name of an input"),
        ({"a": "https://u:p@h/x"}, "no file on this machine"),
        ({"a": ""}, "no file on this machine"),
        ({"a": 3}, "string"),
    ):
        with pytest.raises(SpecError, match=message):
            RunSpec.from_mapping({"inputs": inputs})
    with pytest.raises(SpecError, match="not of the form name=path"):
        parse_input("data/eod.parquet")
    assert parse_input("prices=a=b.csv") == ("inputs.prices", "a=b.csv")
    assert "inputs" not in RunSpec().to_dict()
    spec = RunSpec.from_mapping({"inputs": {"prices": "a.csv"}})
    assert spec.to_dict()["inputs"] == {"prices": "a.csv"}


@pytest.fixture
def watched_project(small: Settings) -> Iterator[tuple[Settings, list[Observed]]]:
    """Watch a project; what was seen is in the list afterwards."""
    with watched(small.root) as seen:
        yield small, seen


def given(settings: Settings, what: Any, name: str | None = None, **asked: str) -> Any:
    return declare(what, name, watches=watching(), asked=asked, root=settings.root, results=settings.results)


def test_a_path_is_returned_and_declared(small: Settings, tmp_path: Path) -> None:
    """Wherever it lies; the name is given, or the file's own; a path of the spec takes its place."""
    outside = tmp_path / "market.csv"
    outside.write_text("a")
    other = small.root / "data" / "other.csv"
    other.write_text("b")
    with watched(small.root) as seen:
        assert given(small, "data/bars.csv") == "data/bars.csv"
        assert given(small, outside, "market") == outside
        assert given(small, "data/bars.csv", "prices", prices="data/other.csv") == str(other)
        assert given(small, Path("data/bars.csv"), "prices", prices="data/other.csv") == other
        with pytest.raises(DataError, match="names no file"):
            given(small, "none.csv")
    files = {file.path: file.declared for file in seen[0].files}
    assert files == {"data/bars.csv": "bars", outside.as_posix(): "market", "data/other.csv": "prices"}
    assert {file.sha256 for file in seen[0].files} == {sha256_file(path) for path in (
        small.root / "data" / "bars.csv", outside, other,
    )}  # fmt: skip


def test_a_frame_after_the_network_makes_a_run_replayable(small: Settings) -> None:
    """Declared after the last read it is what the run made of it; before that it is not."""
    with watched(small.root) as seen:
        pd.testing.assert_frame_equal(given(small, FRAMES["numbers"], "prices"), FRAMES["numbers"])
        pd.testing.assert_frame_equal(given(small, lambda: FRAMES["text"], "names"), FRAMES["text"])
    assert [frame.name for frame in seen[0].frames] == ["prices", "names"]
    assert Observed.from_dict(json.loads(json.dumps(seen[0].to_dict()))) == seen[0]
    (frame, _) = seen[0].frames
    before, after = (Host("h.example", AT, at) for at in ("2026-01-01T00:00:00Z", "2099-01-01T00:00:00Z"))
    assert Observed(hosts=(before,), frames=(frame,)).network == (
        "This run read from the network (h.example); what it declared after that is kept: prices."
    )
    assert "cannot be replayed" in Observed(hosts=(after,), frames=(frame,)).network


def test_a_replay_has_the_frame_that_was_kept(small: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the notebook makes now; a function is not called."""
    kept, _ = keep_frame(FRAMES["numbers"], "prices", AT, small.results)
    found, gone = frames_of({"prices": kept.sha256, "lost": "0" * 64}, small.results)
    assert gone == ["lost"]
    monkeypatch.setenv(REPLAYED, json.dumps(found))

    def download() -> pd.DataFrame:
        raise ConnectionError("no network")

    with watched(small.root) as seen:
        pd.testing.assert_frame_equal(given(small, FRAMES["numbers"] * 2, "prices"), FRAMES["numbers"])
        pd.testing.assert_frame_equal(given(small, download, "prices"), FRAMES["numbers"])
        with pytest.raises(ConnectionError):
            given(small, download, "lost")
    (frame,) = seen[0].frames
    assert frame.replayed
    assert (frame.sha256, frame.data_sha256) == (kept.sha256, kept.data_sha256)


def test_declared_files_are_sealed_with_their_names(small: Settings) -> None:
    """Digested when the run is opened, read or not; one that was not read is a warning."""
    for name in ("a.csv", "b.csv"):
        (small.root / "data" / name).write_text(name)
    spec = small_spec(inputs={"prices": "data/?.csv", "bars": "data/bars.csv"})
    opened = open_run(spec, small, origin="interactive", inputs=data_inputs(spec, small))
    with watched(small.root) as seen:
        pass
    assert by_itself(seen[0]) == Observed()
    assert close_run(opened, None) is None
    run = Run(opened.dir)
    found = of_inputs(run)
    assert {name: entry["annotations"] for name, entry in found.items()} == {
        "data/a.csv": {"found": "declared", "input": "prices"},
        "data/b.csv": {"found": "declared", "input": "prices"},
    }
    assert run.record.warnings == ("Declared as inputs, and not seen to be read: prices.",)
    assert read_inputs(run.manifest or {}).inputs["data/a.csv"] == sha256_file(small.root / "data" / "a.csv")
    assert run.verify().ok


def test_a_run_by_hand_is_watched_and_declares(
    small: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From `start_run` to `finish`: what is read, what is declared, in one line."""
    (small.root / "data" / "more.csv").write_text("a\n1\n")
    (small.root / "notes.txt").write_text("read me")
    run = pipeline.start_run(settings=small, tracking={"mode": "off"}, name="by hand")
    journal: list[dict[str, Any]] = []
    assert isinstance(run, InteractiveRun)
    monkeypatch.setattr(run._tracking, "record_inputs", journal.extend)
    more = pd.read_csv(run.input("data/more.csv", name="more"))
    frame = run.input(more, name="frame")
    (small.root / "notes.txt").read_text()
    run.save(pd.Series([100.0, 101.0, 99.0], index=DAYS), kind="equity")
    run.finish()
    found = of_inputs(Run(run.dir))
    assert frame.equals(more)
    assert {name: entry["annotations"]["found"] for name, entry in found.items()} == {
        "data/more.csv": "declared", "notes.txt": "observed",
    }  # fmt: skip
    assert [*read_inputs(Run(run.dir).manifest or {}).frames] == ["frame"]
    assert not watching()
    assert {item["name"]: json.loads(item["profile"])["sha256"] for item in journal} == {
        item.uri: item.sha256 for item in Run(run.dir).record.inputs
    }
    print_run(Run(run.dir), as_json=False)
    shown = capsys.readouterr().out
    assert re.search(r"[0-9a-f]{12}  data/more\.csv +declared more\n", shown)
    assert re.search(r"[0-9a-f]{12}  notes\.txt +observed\n", shown)
    told = Page(Run(run.dir)).provenance()
    assert "data/more.csv" in told
    assert "frame:frame" in told
