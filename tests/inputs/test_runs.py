"""What a run read, from its kernel into its seal, and back to where a replay reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.digest import sha256_file
from pipeline.errors import UsageError
from pipeline.evidence.compare import read_inputs
from pipeline.evidence.inputs import find_kept
from pipeline.files import write_json
from pipeline.replay.importable import present_modules
from pipeline.replay.rerun import replay_run
from pipeline.replay.restore import workspace
from pipeline.replay.reuse import find_reusable
from pipeline.run import Run
from pipeline.rundir import INPUTS_DIR
from pipeline.runner import run_backtest
from pipeline.settings import Settings
from tests.notebooks import write_notebook
from tests.replay.conftest import small as small  # noqa: PLC0414 - a fixture
from tests.replay.runs import (
    FILES,
    NOTEBOOK,
    PARAMETERS,
    READ,
    SCORE,
    WRITE,
    commit,
    execute,
    sealed_run,
    small_spec,
)

OTHERS = """
import pandas as pd
eod = pd.read_parquet("data/eod.parquet")
more = pd.read_csv("data/more.csv")
notes = open("notes.txt").read()
token = Path(".env").read_text()
eod.to_parquet("data/made.parquet")
pd.read_parquet("data/made.parquet")
"""


@pytest.fixture
def reading(small: Settings) -> Settings:
    """Return a project whose notebook reads more than its spec says: a table natively, a text, a secret."""
    write_notebook(small.root / NOTEBOOK, READ, OTHERS, SCORE, WRITE, parameters=PARAMETERS)
    (small.root / ".gitignore").write_text("results/\n__pycache__/\ndata/\n.env\n")
    pd.DataFrame({"close": [1.0, 2.0]}).to_parquet(small.root / "data" / "eod.parquet")
    (small.root / "data" / "more.csv").write_text("close\n3\n")
    (small.root / "notes.txt").write_text("read me")
    (small.root / ".env").write_text("TOKEN=hunter2hunter2")
    commit(small.root)
    return small


def of_inputs(run: Run) -> dict[str, dict[str, Any]]:
    assert run.manifest is not None
    entries = run.manifest["predicate"]["buildDefinition"]["resolvedDependencies"]
    return {entry["uri"]: entry for entry in entries if entry["name"].startswith("input:")}


@pytest.mark.slow
def test_what_the_kernel_reads_is_sealed_kept_and_replayed(reading: Settings) -> None:
    """Each file with its digest and its door; gone or changed, it is put back where the notebook reads it."""
    root = reading.root
    digests = {name: sha256_file(root / name) for name in ("data/eod.parquet", "data/more.csv", "notes.txt")}
    outcome = execute(reading)
    assert outcome.error is None, outcome.error
    run = outcome.run
    assert run.verify().ok
    found = of_inputs(run)
    assert {name: entry["digest"]["sha256"] for name, entry in found.items()} == digests
    assert {name: entry["annotations"]["doors"] for name, entry in found.items()} == {
        "data/eod.parquet": ["pyarrow.parquet"], "data/more.csv": ["open"], "notes.txt": ["open"],
    }  # fmt: skip
    assert all(entry["annotations"]["found"] == "observed" for entry in found.values())
    record = json.loads(run.dir.inputs.read_bytes())
    assert record["secrets"] == 1
    assert {file["path"]: file.get("declared") for file in record["files"]}["data/bars.csv"] == "data"
    assert b".env" not in run.dir.inputs.read_bytes()
    assert b".env" not in run.dir.manifest.read_bytes()
    assert all(find_kept(reading.results, digest) is not None for digest in digests.values())

    (root / "data" / "eod.parquet").unlink()
    (root / "data" / "more.csv").write_text("close\n4\n")
    result = replay_run(run, settings=reading)
    assert result.equal, [*result.lines()]
    assert {item.name: item.exact for item in result.restored if item.name.startswith("input ")} == {
        f"input {name}": True for name in digests
    }
    assert result.replay is not None
    assert {name: entry["digest"]["sha256"] for name, entry in of_inputs(result.replay).items()} == digests
    assert (root / "data" / "more.csv").read_text() == "close\n4\n"


MADE = """
import os, pipeline, pandas as pd
run = pipeline.start_run()
made = run.input(lambda: pd.DataFrame({"a": [float(os.urandom(1)[0]), float(os.urandom(1)[0])]}), name="made")
more = pd.read_csv(run.input("data/bars.csv", name="more"))
"""


@pytest.mark.slow
def test_declared_inputs_of_a_run_are_replayed(reading: Settings) -> None:
    """A frame made by chance is the kept one in the replay; a path that the spec gives is what the notebook reads."""
    score = "value = helper.score(prices) + made.a.sum() + more.close.sum()\nvalue"
    write_notebook(reading.root / NOTEBOOK, READ, MADE, score, WRITE, parameters=PARAMETERS)
    outcome = execute(reading, inputs={"more": "data/more.csv"})
    assert outcome.error is None, outcome.error
    assert outcome.warnings == ()
    assert of_inputs(outcome.run)["data/more.csv"]["annotations"]["input"] == "more"
    (reading.root / "data" / "more.csv").unlink()
    result = replay_run(outcome.run, settings=reading)
    assert result.equal, [*result.lines()]
    assert result.replay is not None
    frames = {item.uri: item.sha256 for item in outcome.run.record.inputs if item.uri.startswith("frame:")}
    again = {item.uri: item.sha256 for item in result.replay.record.inputs if item.uri.startswith("frame:")}
    assert frames == again
    assert [*frames] == ["frame:made"]


@pytest.mark.slow
def test_a_run_in_a_forked_kernel_reads_the_same(reading: Settings) -> None:
    """Forked or fresh, the manifest names the same inputs in the same way."""
    from pipeline.notebook.forked import kernel_ahead

    fresh = execute(reading).run
    with kernel_ahead() as kernels:
        forked = run_backtest(small_spec(), settings=reading, kernels=kernels)
    assert forked.warnings == ()
    assert of_inputs(forked.run) == of_inputs(fresh)


def sealed_reading(small: Settings, *files: dict[str, Any]) -> Run:
    """Seal a run, without a kernel, whose record says that these files were read."""
    record = json.dumps({"schema_version": 1, "files": [{"doors": ["open"], **file} for file in files]})
    modules = present_modules(["helper"], small.root)
    return sealed_run(small, modules=modules, files={**FILES, "debug/inputs.json": record})


def described(path: Path, name: str) -> dict[str, Any]:
    return {"path": name, "sha256": sha256_file(path), "size": path.stat().st_size}


def test_a_run_that_read_nothing_else_is_as_it_was(small: Settings) -> None:
    """No entry in the manifest, nothing in the reproduction key."""
    run = sealed_run(small)
    assert of_inputs(run) == {}
    assert read_inputs(run.manifest or {}).inputs == {}


def test_a_replay_finds_what_was_read(small: Settings, tmp_path: Path) -> None:
    """In its place, in git, in a directory to search; what is nowhere is an error that says what to do."""
    path = small.root / "notes.txt"
    path.write_text("as it was")
    commit(small.root)
    run = sealed_reading(small, described(path, "notes.txt"))
    assert run.manifest is not None
    inputs = read_inputs(run.manifest)
    with workspace(run.config, inputs, small) as space:
        assert space.root == small.root
    path.write_text("changed")
    with workspace(run.config, inputs, small) as space:
        assert (space.root / "notes.txt").read_text() == "as it was"
        assert [str(item) for item in space.restored][-1] == (
            "input notes.txt: as recorded, notes.txt of the recorded commit"
        )
    other = small.root / "data" / "later.csv"
    other.write_text("never committed")
    run = sealed_reading(small, described(other, "data/later.csv"))
    inputs = read_inputs(run.manifest or {})
    other.rename(tmp_path / "elsewhere.csv")
    with workspace(run.config, inputs, small, search=[tmp_path]) as space:
        assert (space.root / "data" / "later.csv").read_text() == "never committed"
    (tmp_path / "elsewhere.csv").unlink()
    with (
        pytest.raises(UsageError, match=r"The input data/later\.csv of the run.*--search"),
        workspace(run.config, inputs, small),
    ):
        pass


def test_a_file_outside_of_the_project_is_left_where_it_is(small: Settings, tmp_path: Path) -> None:
    """The notebook finds it by itself: in order it is exact, changed it is said, gone it is an error."""
    outside = tmp_path / "market.csv"
    outside.write_text("a")
    run = sealed_reading(small, described(outside, outside.as_posix()))
    inputs = read_inputs(run.manifest or {})
    with workspace(run.config, inputs, small) as space:
        assert space.restored[-1].exact
    outside.write_text("b")
    with workspace(run.config, inputs, small) as space:
        assert not space.restored[-1].exact
    outside.unlink()
    with pytest.raises(UsageError, match="outside of the project, which is gone"), workspace(run.config, inputs, small):
        pass


def test_a_run_is_not_used_again_when_what_it_read_has_changed(small: Settings) -> None:
    """`--reuse` looks at the files that a run was seen to read, not only at those of the spec."""
    path = small.root / "notes.txt"
    path.write_text("as it was")
    run = sealed_reading(small, described(path, "notes.txt"))
    found = find_reusable(small_spec(), small)
    assert found.run is not None
    assert found.run.run_id == run.run_id
    path.write_text("changed")
    found = find_reusable(small_spec(), small)
    assert found.run is None
    assert "input notes.txt" in found.why
    path.unlink()
    assert find_reusable(small_spec(), small).run is None


def test_a_hostile_record_puts_nothing_outside(small: Settings, tmp_path: Path) -> None:
    """A path that leads out of the root is never written to."""
    target = tmp_path / "target"
    target.write_text("mine")
    run = sealed_reading(small, {"path": "../target", "sha256": "0" * 64, "size": 1})
    with workspace(run.config, read_inputs(run.manifest or {}), small) as space:
        assert not space.restored[-1].exact
    assert target.read_text() == "mine"


def test_a_record_that_cannot_be_read_fails_the_seal_and_says_so(small: Settings) -> None:
    """The run is sealed as FAILED, without what the record would have said."""
    from pipeline.opening import data_inputs, open_run
    from pipeline.sealing import close_run

    opened = open_run(small_spec(), small, origin="interactive", inputs=data_inputs(small_spec(), small))
    opened.dir.debug.mkdir(exist_ok=True)
    write_json(opened.dir.inputs, {"files": 3})
    error = close_run(opened, None)
    assert error is not None
    assert "does not say what the notebook read" in str(error)
    assert Run(opened.dir).status == "FAILED"
    assert not (small.results / INPUTS_DIR / "x").exists()
