"""Which SQL may be asked: one statement that only reads, of tables of the lake and of functions that make rows.

DuckDB's own parser says what a statement is: since version 2 one that begins with WITH may write. This is the first of
two walls; the connection behind it has no access to any file (pipeline.lake.connection).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pipeline.errors import QueryError, nearest, shown

READING = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
ROW_MAKERS = frozenset({"range", "generate_series", "unnest", "repeat"})
SHUT = frozenset({"getenv", "write_log", "current_setting", "nextval", "currval", "getvariable"})
SCHEMAS = frozenset({"", "main", "information_schema"})
LONGEST = 100_000
MAY = "A query reads tables of the lake and nothing else; `--unsafe` allows everything."


def tables_of(connection: Any, sql: str, known: Collection[str]) -> frozenset[str]:
    """Return the tables of the lake that a query reads; raises QueryError for one that does anything else."""
    if len(sql) > LONGEST:
        raise QueryError(f"The query has {len(sql):,} characters; {LONGEST:,} are the most.")
    tree = _parsed(connection, sql)
    named: set[str] = set()
    own = {entry["key"] for node in _nodes(tree) for entry in _ctes(node)}
    for node in _nodes(tree):
        _check(node)
        if node.get("type") == "BASE_TABLE" and _name_of(node) not in own:
            named.add(_table(node, known))
    return frozenset(named)


def _parsed(connection: Any, sql: str) -> Any:
    import duckdb

    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise QueryError(f"This is no SQL that DuckDB knows: {said(error)}") from None
    if len(statements) != 1:
        raise QueryError(f"One statement is asked at a time; here are {len(statements)}.")
    try:
        told = json.loads(connection.execute("SELECT json_serialize_sql(?)", [statements[0].query]).fetchall()[0][0])
    except (duckdb.Error, RecursionError) as error:
        raise QueryError(f"The query cannot be looked through: {said(error)}") from None
    if told.get("error") or len(told.get("statements", ())) != 1:
        raise QueryError(f"This statement does more than read, or how it reads cannot be told. {MAY}")
    return told["statements"]


def _nodes(tree: Any) -> Iterator[Mapping[str, Any]]:
    """Yield every object of a parsed statement; not by recursion, which deep nesting would end."""
    waiting = [tree]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield item
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def _ctes(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    found = node.get("cte_map")
    if isinstance(found, dict):
        yield from found.get("map", ())


def _check(node: Mapping[str, Any]) -> None:
    kind = node.get("type")
    if isinstance(kind, str) and kind.endswith("_NODE") and kind not in READING:
        raise QueryError(f"A part of this statement is no SELECT ({kind.removesuffix('_NODE')}). {MAY}")
    if kind == "TABLE_FUNCTION":
        function = node.get("function", {})
        name = str(function.get("function_name", "")).lower()
        if name not in ROW_MAKERS:
            raise QueryError(f"The function {shown(name)} may not stand for a table. {MAY}")
    if kind == "FUNCTION" and str(node.get("function_name", "")).lower() in SHUT:
        raise QueryError(f"The function {shown(node['function_name'])} may not be called. {MAY}")


def _name_of(node: Mapping[str, Any]) -> str | None:
    """Return the name of a table that stands alone, as that of a common table expression does."""
    return None if node.get("schema_name") or node.get("catalog_name") else str(node.get("table_name"))


def _table(node: Mapping[str, Any], known: Collection[str]) -> str:
    catalog, schema = str(node.get("catalog_name") or ""), str(node.get("schema_name") or "").lower()
    name = str(node.get("table_name"))
    if catalog not in ("", "memory") or schema not in SCHEMAS:
        raise QueryError(f"{shown('.'.join(filter(None, (catalog, schema, name))))} is no table of the lake. {MAY}")
    if schema == "information_schema":
        return ""
    if name.lower() not in known:
        raise QueryError(f"There is no table {shown(name)} in the lake. {nearest(name.lower(), known)}")
    return name.lower()


def said(error: BaseException) -> str:
    """Return what DuckDB says of an error, without its picture of the place."""
    text = str(error).strip()
    return text.partition("\n\nLINE")[0].replace("\n", " ") or type(error).__name__
