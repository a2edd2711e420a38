"""Questions and their answers: formats, limits, the command line."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

from pipeline.cli.edge import run_command
from pipeline.errors import LakeError, QueryError
from pipeline.lake import connect
from pipeline.lake.child import answered
from pipeline.lake.connection import Lake, Limits
from pipeline.lake.ingest import ingest
from pipeline.lake.place import Place
from pipeline.lake.query import Question, ask
from pipeline.lake.schema import every_table
from pipeline.settings import Settings
from tests.lake.worlds import make_runs


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return a project with three runs in its lake."""
    root = tmp_path_factory.mktemp("project")
    settings = Settings(root, root / "results")
    make_runs(settings, 3)
    ingest(settings)
    return settings


VALUES = (
    "SELECT 1.5::DOUBLE AS x, 'a|b,\"<' AS t, TIMESTAMP '2026-01-02' AS d, [1, 2] AS l, NULL AS n, true AS b, "
    "{'k': 'NaN'::DOUBLE} AS s, 2::HUGEINT AS h, 'q'::BLOB AS y, 1.25::DECIMAL(5, 2) AS m"
)


def answer(settings: Settings, sql: str, file_format: str) -> str:
    """Answer in this process, without the limits of the system."""
    from pipeline.lake.connection import connected
    from pipeline.lake.formats import rendered

    connection = connected(Place.of(settings), {"runs"}, Limits())
    return rendered(connection.sql(sql), file_format).decode()


def test_the_same_values_in_every_format(settings: Settings) -> None:
    """Numbers whole, times as ISO-8601, null told from text."""
    (row,) = json.loads(answer(settings, VALUES, "json"))
    assert row == {
        "x": 1.5, "t": 'a|b,"<', "d": "2026-01-02T00:00:00", "l": [1, 2], "n": None, "b": True, "s": {"k": None},
        "h": 2, "y": "71", "m": "1.25",
    }  # fmt: skip
    names, values = csv.reader(io.StringIO(answer(settings, VALUES, "csv")))
    told = dict(zip(names, values, strict=True))
    assert told == {
        "x": "1.5", "t": 'a|b,"<', "d": "2026-01-02T00:00:00", "l": "[1, 2]", "n": "", "b": "true",
        "s": '{"k": null}', "h": "2", "y": "71", "m": "1.25",
    }  # fmt: skip
    assert answer(settings, VALUES, "markdown").splitlines()[2].startswith('| 1.5 | a\\|b,"&lt; | 2026-01-02 |')
    lines = answer(settings, "SELECT name, sharpe FROM runs ORDER BY sharpe", "table").splitlines()
    assert lines == ["name   sharpe", "-----  ------", "run 0       0", "run 1     0.1", "run 2     0.2", "(3 rows)"]
    with pytest.raises(QueryError, match="Two columns are called 'a'"):
        answer(settings, "SELECT 1 AS a, 2 AS a", "json")


def test_notebooks_get_frames(settings: Settings) -> None:
    """pandas, Polars where it is installed, Arrow; what is taken in meanwhile, the next query sees."""
    with connect(settings) as lake:
        assert lake.tables == (*every_table(),)
        found = lake.sql("SELECT run_id, max(equity) AS best FROM equity GROUP BY run_id ORDER BY best")
        assert found.df()["best"].tolist() == [103.5, 104.5, 105.5]
        assert found.to_arrow_table().num_rows == 3
        with pytest.raises(QueryError, match="does more than read"):
            lake.sql("CREATE TABLE t AS SELECT 1")


def test_a_connection_sees_what_was_taken_in_since(tmp_path: Path) -> None:
    """It need not be opened again; what it had begun to read stays readable."""
    settings = Settings(tmp_path, tmp_path / "results")
    make_runs(settings, 1)
    ingest(settings)
    with connect(settings) as lake:
        before = lake.sql("SELECT COUNT(*) FROM equity")
        make_runs(settings, 1, first=1)
        ingest(settings, compact=True)
        assert lake.sql("SELECT COUNT(*) FROM equity").fetchall() == [(8,)]
        del before


def test_without_a_lake_it_is_said_how_to_make_one(tmp_path: Path) -> None:
    """No empty answer."""
    with pytest.raises(LakeError, match="`evidence lake ingest` makes one"):
        Lake.open(Settings(tmp_path, tmp_path / "results"))


def test_a_query_over_its_time_is_ended(settings: Settings) -> None:
    """DuckDB keeps to the time, and the error says how to give more."""
    slow = Question(
        "SELECT COUNT(*) FROM range(1000000) a, range(1000000) b WHERE a.range % 7 < b.range", "csv", Limits(0.2)
    )
    with pytest.raises(LakeError, match=r"took longer than 0\.2 s: --timeout"):
        answered(slow, Place.of(settings))


@pytest.mark.slow
def test_a_query_over_its_memory_is_ended_by_the_system(settings: Settings) -> None:
    """Also where one long call of a function passes by DuckDB's own limit; the process that asked goes on."""
    with pytest.raises(LakeError, match="--memory"):
        ask(settings, Question("SELECT length(repeat('x', 2000000000))", "csv", Limits(20, 200)))


@pytest.mark.slow
def test_an_answer_and_an_error_come_back_from_the_other_process(settings: Settings) -> None:
    """As bytes of the format, and as the class of error with its sentence."""
    assert ask(settings, Question("SELECT COUNT(*) AS n FROM runs", "csv")) == b"n\n3\n"
    with pytest.raises(QueryError, match="no table 'nothing'"):
        ask(settings, Question("SELECT * FROM nothing"))
    with pytest.raises(QueryError, match="cannot be answered"):
        ask(settings, Question("SELECT nothing FROM runs"))
    ask(settings, Question(f"COPY (SELECT 1 AS a) TO '{settings.root / 'own.csv'}'", unsafe=True))
    assert (settings.root / "own.csv").read_text(encoding="utf-8") == "a\n1\n"


@pytest.mark.slow
def test_the_command_line(project: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """Ingest, query with a file as the answer, tables, schema; exit codes."""
    make_runs(project, 2)
    assert run_command(["lake", "query", "SELECT 1 FROM runs"]) == 1
    assert run_command(["lake", "ingest"]) == 0
    assert "2 runs in" in capsys.readouterr().out
    assert run_command(["lake", "query", "SELECT COUNT(*) AS n FROM runs", "--format", "csv"]) == 0
    assert capsys.readouterr().out == "n\n2\n"
    assert run_command(["lake", "query", "FROM equity", "--format", "parquet"]) == 2
    assert run_command(["lake", "query", "FROM equity", "--format", "parquet", "-o", "equity.parquet"]) == 0
    assert (project.root / "equity.parquet").read_bytes()[:4] == b"PAR1"
    assert run_command(["lake", "query", "DROP TABLE runs"]) == 2
    assert "does more than read" in capsys.readouterr().err
    assert run_command(["lake", "query", "FROM runs", "--format", "xml"]) == 2
    assert run_command(["lake", "tables", "--json"]) == 0
    assert {table["name"]: table["rows"] for table in json.loads(capsys.readouterr().out)}["runs"] == 2
    assert run_command(["lake", "schema", "ru"]) == 2
    assert "Did you mean 'runs'?" in capsys.readouterr().err
    shutil.rmtree(project.results)
    assert run_command(["lake", "ingest", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["gone"] == 2
