"""Nothing that is asked writes, or reads elsewhere: behind the guard, and without it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipeline.errors import EvidenceError
from pipeline.lake.connection import Lake, Limits, connected
from pipeline.lake.ingest import ingest
from pipeline.lake.place import Place
from pipeline.lake.schema import every_table
from pipeline.settings import Settings
from tests.lake.worlds import make_runs
from tests.tiers import mostly_slow

SECRET = "canary-5f1d"
LIMITS = Limits(5.0, 512, 1)

READS = (
    "SELECT * FROM '{secret}'",
    'SELECT * FROM "{secret}"',
    "SELECT content FROM read_text('{secret}')",
    "SELECT read_text('{secret}')",
    "SELECT * FROM read_blob('{secret}')",
    "SELECT * FROM read_csv('{secret}')",
    "SELECT * FROM read_csv_auto('{secret}', header = false)",
    "SELECT * FROM read_json('{secret}')",
    "SELECT * FROM read_json_auto('{secret}')",
    "SELECT * FROM read_ndjson('{secret}')",
    "SELECT * FROM read_ndjson_objects('{secret}')",
    "SELECT * FROM sniff_csv('{secret}')",
    "SELECT * FROM glob('{folder}/*')",
    "SELECT * FROM glob('{lake}/runs/*')",
    "SELECT * FROM read_parquet('{lake}/runs/*.parquet')",
    "SELECT * FROM parquet_metadata('{lake}/runs/*.parquet')",
    "SELECT * FROM parquet_schema('{lake}/runs/*.parquet')",
    "SELECT * FROM parquet_file_metadata('{lake}/runs/*.parquet')",
    "SELECT * FROM parquet_kv_metadata('{lake}/runs/*.parquet')",
    "SELECT * FROM '{lake}/../../{name}'",
    "SELECT * FROM query('SELECT * FROM read_text(''{secret}'')')",
    "SELECT * FROM query_table(['{secret}'])",
    "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT * FROM read_text(''{secret}'')'))",
    "WITH a AS (SELECT * FROM read_text('{secret}')) SELECT * FROM a",
    "WITH runs AS (SELECT * FROM '{secret}') SELECT * FROM runs",
    "SELECT (SELECT content FROM read_text('{secret}'))",
    "SELECT * FROM runs UNION ALL BY NAME SELECT content AS name FROM read_text('{secret}')",
    "SELECT * FROM runs WHERE name IN (SELECT content FROM read_text('{secret}'))",
    "SELECT * FROM range(1) t(i), LATERAL (SELECT content FROM read_text('{secret}'))",
    "SELECT getenv('CANARY')",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM duckdb_logs()",
    "SELECT * FROM secret_frame",
    "SELECT * FROM memory.main.secret_frame",
    "SELECT * FROM 'https://127.0.0.1:1/{name}.csv'",
    "SELECT * FROM 's3://bucket/{name}.parquet'",
    "FROM sqlite_scan('{secret}', 't')",
    "DESCRIBE SELECT * FROM '{secret}'",
    "SUMMARIZE SELECT * FROM read_csv('{secret}')",
    "EXPLAIN ANALYZE SELECT * FROM read_text('{secret}')",
    "PIVOT (SELECT content AS c FROM read_text('{secret}')) ON c",
    "FROM read_text('{secret}')",
    "IMPORT DATABASE '{folder}'",
    "CALL read_text('{secret}')",
)
WRITES = (
    "COPY runs TO '{target}'",
    "COPY (SELECT 1) TO '{target}' (FORMAT csv)",
    "COPY (SELECT 1) TO '{lake}/runs/current.json' (FORMAT csv, USE_TMP_FILE false)",
    "WITH d AS (COPY (SELECT 1) TO '{target}') SELECT * FROM d",
    "WITH d AS (COPY (SELECT 1) TO '{lake}/runs/current.json') SELECT * FROM d",
    "SELECT * FROM (WITH d AS (COPY (SELECT 1) TO '{target}') SELECT * FROM d)",
    "WITH a AS (WITH d AS (COPY (SELECT 1) TO '{target}') SELECT * FROM d) SELECT * FROM a",
    "WITH RECURSIVE d AS (COPY (SELECT 1) TO '{target}') SELECT * FROM d",
    "FROM query('WITH d AS (COPY (SELECT 1) TO ''{target}'') SELECT * FROM d')",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{target}'",
    "COPY (SELECT 1 AS a) TO '{folder}/parts' (FORMAT parquet, PARTITION_BY (a))",
    "EXPORT DATABASE '{folder}/export'",
    "ATTACH '{target}' AS other",
    "ATTACH '{target}' AS other; CREATE TABLE other.t AS SELECT 1",
    "ATTACH ':memory:' AS other",
    "SELECT 1; COPY (SELECT 1) TO '{target}'",
    "INSERT INTO runs (run_id) VALUES ('x')",
    "WITH d AS (INSERT INTO runs (run_id) VALUES ('x') RETURNING *) SELECT * FROM d",
    "WITH d AS (UPDATE runs SET name = 'x' RETURNING *) SELECT * FROM d",
    "WITH d AS (DELETE FROM runs RETURNING *) SELECT * FROM d",
    "UPDATE runs SET name = 'x'",
    "DELETE FROM runs",
    "TRUNCATE runs",
    "DROP TABLE runs",
    "ALTER TABLE runs ADD COLUMN x INTEGER",
    "CREATE TABLE t AS SELECT 1",
    "CREATE OR REPLACE TABLE runs AS SELECT 1",
    "CREATE VIEW v AS SELECT 1",
    "CREATE MACRO read_text(x) AS x",
    "CREATE SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b')",
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD '{target}'",
    "SET enable_external_access = true",
    "SET GLOBAL memory_limit = '100GB'",
    "SET temp_directory = '{folder}'",
    "RESET lock_configuration",
    "PRAGMA enable_profiling = 'json'",
    "PRAGMA profiling_output = '{target}'",
    "SET log_query_path = '{target}'",
    "CALL enable_logging(storage = 'file', storage_config = {{'path': '{folder}'}})",
    "CHECKPOINT",
    "VACUUM",
    "BEGIN TRANSACTION",
    "USE memory",
    "PREPARE p AS SELECT 1",
    "SET VARIABLE x = 1",
    "SELECT write_log('x')",
    "DETACH memory",
)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return a project with a lake, and a file beside it that nobody may read."""
    root = tmp_path_factory.mktemp("project")
    settings = Settings(root, root / "results")
    make_runs(settings, 3)
    ingest(settings)
    (root / "secret.csv").write_text(f"a,b\n{SECRET},1\n", encoding="utf-8")
    return settings


@pytest.fixture(scope="module")
def lake(settings: Settings) -> Iterator[Lake]:
    with Lake.open(settings, LIMITS) as lake:
        yield lake


def written(settings: Settings, attack: str) -> str:
    """Return an attack that names places of this project."""
    root = settings.root
    return attack.format(
        secret=root / "secret.csv", name="secret.csv", folder=root, lake=settings.lake, target=root / "target"
    )


def files(root: Path) -> dict[str, bytes]:
    """Return every file below a directory."""
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("attack", [*READS, *WRITES])
def test_it_is_refused_in_a_sentence(
    lake: Lake, settings: Settings, attack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An EvidenceError, and nothing on the disk is another than before."""
    monkeypatch.setenv("CANARY", SECRET)
    before = files(settings.root)
    with pytest.raises(EvidenceError) as refused:
        lake.sql(written(settings, attack)).fetchall()
    assert SECRET not in str(refused.value)
    assert files(settings.root) == before


@pytest.mark.parametrize("attack", mostly_slow((*READS, *WRITES), *range(0, len(READS) + len(WRITES), 8)))
def test_behind_the_guard_there_is_a_second_wall(
    settings: Settings, attack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the guard a statement may change what is in memory, and still no file is written, none read."""
    monkeypatch.setenv("CANARY", SECRET)
    secret_frame: Any = [SECRET]  # a variable of whoever asks, which is no table
    before = files(settings.root)
    connection = connected(Place.of(settings), {"runs"}, LIMITS)
    told = ""
    try:
        told = str(connection.execute(written(settings, attack)).fetchall())
    except duckdb.Error as error:
        told = str(error)
    finally:
        connection.close()
    assert SECRET not in told, secret_frame
    assert files(settings.root) == before


def test_there_are_enough_of_them() -> None:
    """The suite does not shrink unseen."""
    assert len({*READS, *WRITES}) >= 90


def test_what_is_asked_for_is_not_refused(lake: Lake) -> None:
    """Joins, windows, common table expressions, sets, functions that make rows, JSON, VALUES, own names."""
    for query in (
        "SELECT COUNT(*) AS n FROM runs",
        "FROM runs SELECT run_id",
        "WITH best AS (SELECT * FROM runs ORDER BY sharpe DESC LIMIT 2) SELECT name FROM best",
        "WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT sum(n) FROM t",
        "SELECT run_id, max(equity) OVER (PARTITION BY run_id) FROM equity QUALIFY row_number() OVER () < 3",
        "SELECT * FROM runs r JOIN params p USING (run_id) WHERE p.name = 'fast'",
        "SELECT name FROM runs UNION SELECT name FROM params EXCEPT SELECT name FROM tags",
        "SELECT * FROM range(3), unnest([1, 2])",
        "SELECT record->>'$.marks.look_ahead' FROM records",
        "SELECT list(x) FILTER (x > 1) FROM (VALUES (1), (2)) v(x)",
        "SELECT * FROM main.runs",
        "SELECT table_name FROM information_schema.tables",
        "DESCRIBE runs",
        "SUMMARIZE SELECT sharpe FROM runs",
        "SELECT COUNT(*) FROM RUNS -- a comment; and a semicolon",
        "SELECT 'COPY x TO y; DROP TABLE runs'",
        "SELECT 1;",
    ):
        assert lake.sql(query).fetchall(), query


def test_a_variable_of_the_caller_is_no_table(lake: Lake) -> None:
    """DuckDB takes a frame of Python for a table where it may; here it may not."""
    import pandas as pd

    frame = pd.DataFrame({"a": [SECRET]})
    with pytest.raises(EvidenceError, match="There is no table 'frame'"):
        lake.sql("SELECT * FROM frame").fetchall()
    assert len(frame) == 1


def test_a_link_that_leads_out_of_the_lake_leads_nowhere(lake: Lake, settings: Settings) -> None:
    """A file that is laid beside the parts is not one of them."""
    (settings.lake / "runs" / "runs-link.parquet").symlink_to(settings.root / "secret.csv")
    with Lake.open(settings, LIMITS) as opened:
        assert opened.sql("SELECT COUNT(*) FROM runs").fetchall() == [(3,)]
        assert {*opened.tables} == {*every_table()}
