"""Two runs compared without executing anything: the first input that differs, then by how much."""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cli.output import print_run, print_runs
from pipeline.errors import UsageError
from pipeline.evidence.compare import KINDS, compare_inputs, read_inputs, reproduction_key
from pipeline.replay import explain
from pipeline.replay.outputs import compare_tables
from pipeline.run_row import RunRow
from pipeline.settings import Settings
from tests.replay.runs import FILES, sealed_run

STATS = {"stats.json": '{"sharpe": 1.5000001, "trades": 2, "undefined": null}'}


def test_equal_runs(small: Settings) -> None:
    """Two runs of the same inputs with the same outputs are equal, with no difference of any kind."""
    explanation = explain(sealed_run(small), sealed_run(small))
    assert explanation.equal
    assert explanation.verdict == "equal"
    assert list(explanation.lines()) == ["equal"]
    assert explanation.labels == ()
    assert json.loads(json.dumps(explanation.to_dict()))["first_differing_input"] is None


def test_names_tags_and_tracking_are_labels(small: Settings) -> None:
    """What cannot change results is listed apart and never named as the cause."""
    other = sealed_run(small, sections={"run": {"name": "other", "tags": {"a": "b"}}})
    explanation = explain(sealed_run(small), other)
    assert explanation.inputs == ()
    assert {item.name for item in explanation.labels} == {"run.name", "run.tags", "run.tags.a"}
    assert "also different, without effect on results: 3" in list(explanation.lines())


def test_the_likeliest_cause_comes_first(small: Settings) -> None:
    """Spec before data before notebook before modules, whatever else differs."""
    before = sealed_run(small, modules={"helper": "a" * 64, "zoo": "b" * 64})
    (small.root / "data" / "bars.csv").write_text("timestamp,close\n2020-01-01,2.5\n")
    sections = {"backtest": {"fee_bps": 2.0}, "run": {"seed": 4, "notebook": "notebooks/small.ipynb"}}
    with pytest.raises(UsageError, match="backtest"):  # the notebook takes no backtest section
        sealed_run(small, sections=sections)
    modules = {"helper": "c" * 64, "added": "d" * 64, "zoo": "e" * 64}
    after = sealed_run(small, sections={"run": {"seed": 4}}, modules=modules, files=STATS)
    explanation = explain(before, after)
    named = [(item.kind, item.name) for item in explanation.inputs]
    assert named == [
        ("data", "data"), ("module", "helper"), ("module", "zoo"), ("module", "added"), ("git", "git"), ("seed", "seed")
    ]  # fmt: skip
    assert explanation.verdict.startswith("different: data: sha256:")
    assert [KINDS.index(kind) for kind, _ in named] == sorted(KINDS.index(kind) for kind, _ in named)


def test_every_recorded_input_is_compared(small: Settings) -> None:
    """Each dependency of a real manifest, changed alone, is the one difference, named by its kind and name."""
    statement = sealed_run(small, modules={"helper": "a" * 64}).manifest
    assert statement is not None
    before = read_inputs(statement)
    dependencies = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert len(dependencies) > 20
    for place, dependency in enumerate(dependencies):
        changed = json.loads(json.dumps(statement))
        entry = changed["predicate"]["buildDefinition"]["resolvedDependencies"][place]
        if "digest" in entry:
            entry["digest"] = {name: "0" * len(digest) for name, digest in entry["digest"].items()}
        else:
            entry["uri"] += ".post1"
        (cause,), labels = compare_inputs(before, read_inputs(changed))
        kind, _, name = dependency["name"].partition(":")
        assert (cause.kind, cause.name) == (kind, name or kind)
        assert labels == ()


@given(st.integers(0, 2), st.sampled_from(["equity", "drawdown"]), st.floats(1e-6, 1e6))
@settings(max_examples=50, deadline=None)
def test_one_changed_number_is_found(row: int, column: str, step: float) -> None:
    """Whichever number of the equity curve changes by however little, its row and column are named."""
    table = pd.read_csv(io.StringIO(FILES["equity.csv"]))
    changed = table.assign(**{column: table[column].astype(float)})
    changed.loc[row, column] += step
    with tempfile.TemporaryDirectory() as directory:
        paths = [Path(directory) / name for name in ("a.csv", "b.csv")]
        for path, values in zip(paths, (table, changed), strict=True):
            values.to_csv(path, index=False)
        found = compare_tables(*paths, "timestamp", None)
    assert found is not None
    assert (found.differing, found.first, found.column) == (1, f"2020-01-0{row + 1}T00:00:00Z", column)
    assert found.absolute == pytest.approx(step, rel=1e-6, abs=1e-9)


def test_different_outputs_from_equal_inputs(small: Settings) -> None:
    """Without a differing input the explanation says so, and what may be behind it."""
    explanation = explain(sealed_run(small), sealed_run(small, files=STATS))
    assert not explanation.equal
    assert explanation.first is None
    assert "the notebook is not deterministic" in explanation.verdict


@pytest.mark.parametrize(("tolerance", "equal"), [(None, False), (1e-9, False), (1e-6, True)])
def test_the_size_of_stat_differences(small: Settings, tolerance: float | None, equal: bool) -> None:
    """Absolute and relative size of each; a tolerance is relative to the larger number."""
    explanation = explain(sealed_run(small), sealed_run(small, files=STATS), tolerance=tolerance)
    assert explanation.equal == equal
    if not equal:
        (stat,) = explanation.outputs.stats
        assert stat.name == "sharpe"
        assert stat.absolute == pytest.approx(1e-7, rel=1e-6)
        assert stat.relative == pytest.approx(1e-7 / 1.5000001, rel=1e-6)


def test_an_undefined_and_a_missing_stat(small: Settings) -> None:
    """A metric that became undefined, or is not there any more, differs at any tolerance."""
    other = sealed_run(small, files={"stats.json": '{"sharpe": null, "undefined": null}'})
    explanation = explain(sealed_run(small), other, tolerance=0.5)
    assert [(stat.name, stat.after, stat.absolute) for stat in explanation.outputs.stats] == [
        ("sharpe", None, None),
        ("trades", None, None),
    ]


def test_the_first_differing_timestamp(small: Settings) -> None:
    """Equity is compared by timestamp: the first that differs, how many, the largest difference."""
    changed = FILES["equity.csv"].replace("101.0", "101.5").replace("99.0", "98.0")
    table = explain(sealed_run(small), sealed_run(small, files={"equity.csv": changed})).outputs.equity
    assert table is not None
    assert (table.first, table.column, table.differing) == ("2020-01-02T00:00:00Z", "equity", 2)
    assert table.absolute == 1.0
    shorter = FILES["equity.csv"].rsplit("2020-01-03", 1)[0]
    table = explain(sealed_run(small), sealed_run(small, files={"equity.csv": shorter})).outputs.equity
    assert table is not None
    assert (table.rows_before, table.rows_after, table.first) == (3, 2, "2020-01-03T00:00:00Z")
    assert table.column == "the whole row"


def test_differing_trades_and_cells(small: Settings) -> None:
    """How many trades differ, and which cells, counted in the input notebook."""
    trades = FILES["trades.csv"].replace("-2.0", "-2.5") + "3,1.0\n"
    other = sealed_run(small, files={"trades.csv": trades}, outputs=("{run_id}", "1.6"))
    outputs = explain(sealed_run(small), other).outputs
    assert outputs.trades is not None
    assert (outputs.trades.differing, outputs.trades.first, outputs.trades.column) == (2, "2", "net_pnl")
    assert [cell.cell for cell in outputs.cells] == [2]


def test_other_files(small: Settings) -> None:
    """A picture that differs, or that only one run has, is named; under a tolerance pictures are not compared."""
    other = sealed_run(small, files={"plots/equity_curve.png": "another", "plots/more.png": "x"})
    explanation = explain(sealed_run(small), other)
    assert explanation.outputs.files == ("plots/equity_curve.png", "plots/more.png: only in the second")
    assert explain(sealed_run(small), other, tolerance=1e-9).equal
    recorded = sealed_run(small, files={"conventions.json": "{}", "data.json": "{}"})
    assert explain(sealed_run(small), recorded).outputs.files == ()  # the first is from before there was a record


def test_a_parquet_file_written_by_another_version(small: Settings) -> None:
    """The same rows in other bytes are the same table."""
    runs = sealed_run(small), sealed_run(small)
    table = pd.DataFrame({"trade_id": [1, 2], "net_pnl": [1.0, None]})
    table.to_parquet(runs[0].dir.trades_parquet, compression="snappy")
    table.to_parquet(runs[1].dir.trades_parquet, compression="gzip")
    assert explain(*runs).outputs.files == ()
    table.assign(net_pnl=2.0).to_parquet(runs[1].dir.trades_parquet)
    assert explain(*runs).outputs.files == ("trades.parquet",)


def test_edited_files_are_told(small: Settings) -> None:
    """Equal files prove nothing when one of them was edited after the seal: it is said in the second line."""
    honest, edited = sealed_run(small), sealed_run(small, files=STATS)
    edited.dir.stats.write_text(FILES["stats.json"])
    explanation = explain(honest, edited)
    assert explanation.equal
    lines = list(explanation.lines())
    assert lines[1] == "NOT AS SEALED, so this proves nothing: 1"
    assert f"{edited.run_id}: stats.json: edited" in lines[2]
    assert json.loads(json.dumps(explanation.to_dict()))["unsound"]


def test_the_reproduction_key_ignores_labels_only(small: Settings) -> None:
    """Names do not enter the key; seed, packages and Python do."""
    statement = sealed_run(small, modules={"helper": "a" * 64}).manifest
    assert statement is not None
    key = reproduction_key(read_inputs(statement))
    renamed = sealed_run(small, sections={"run": {"name": "x"}}, modules={"helper": "a" * 64}).manifest
    assert renamed is not None
    assert reproduction_key(read_inputs(renamed)) == key
    newer = json.loads(json.dumps(statement).replace("pkg:pypi/numpy@", "pkg:pypi/numpy@9"))
    assert reproduction_key(read_inputs(newer)) != key
    causes, _ = compare_inputs(read_inputs(statement), read_inputs(newer))
    assert [str(item).split(":")[0] for item in causes] == ["package numpy"]


@pytest.mark.parametrize(
    "files",
    [
        {"stats.json": '{"sharpe": "abc", "total_return": "x"}'},
        {"stats.json": '{"sharpe": [1.5]}'},
        {"stats.json": "[1]"},
        {"trades.csv": "trade_id,net_pnl\n1,2,3\n"},
        {"trades.csv": "net_pnl\n1\n2\n"},
        {"equity.csv": ""},
    ],
    ids=str,
)
def test_what_breaks_the_contract_is_compared_listed_and_shown(small: Settings, files: dict[str, str]) -> None:
    """A run fails for such files, and is sealed with them: they differ, and no command that meets the run breaks."""
    good, bad = sealed_run(small), sealed_run(small, files=files, error=True)
    for pair in ((good, bad), (bad, good)):
        assert not explain(*pair).equal
        assert list(explain(*pair).lines())
    assert explain(bad, bad).equal
    print_runs([RunRow.of(run) for run in (good, bad)], total=2, as_json=False)
    print_run(bad, as_json=False)
