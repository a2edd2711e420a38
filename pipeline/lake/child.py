"""The process that asks the lake: the question on standard input, the answer on standard output."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from pipeline.errors import EvidenceError
from pipeline.lake.connection import Limits, connected, explained
from pipeline.lake.formats import rendered
from pipeline.lake.guard import tables_of
from pipeline.lake.place import Place
from pipeline.lake.query import Question
from pipeline.lake.schema import every_table

MORE = 512  # megabytes beyond the limit that rows take as Python has them, and libraries for themselves


def main() -> int:
    """Answer; an error is the last line of standard error, as JSON."""
    try:
        question, place = Question.from_json(sys.stdin.read())
        answer = answered(question, place)
    except EvidenceError as error:
        sys.stderr.write("\n" + json.dumps({"kind": type(error).__name__, "message": str(error)}) + "\n")
        return error.exit_code
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()
    return 0


def answered(question: Question, place: Place) -> bytes:
    """Return the answer to a question; only the tables that it names are opened."""
    import duckdb

    if question.unsafe:
        names = frozenset(every_table())
    else:
        with duckdb.connect() as parser:
            names = tables_of(parser, question.sql, every_table())
    connection = connected(place, names, question.limits, unsafe=question.unsafe)
    _limit_memory(question.limits)
    with explained(question.limits):
        return _all(connection, question)


def _all(connection: Any, question: Question) -> bytes:
    relation = connection.sql(question.sql)
    return b"" if relation is None else rendered(relation, question.file_format)


def _limit_memory(limits: Limits) -> None:
    """Let the system refuse memory beyond the limit, where it can."""
    try:
        import resource

        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - no file of a project
            used = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (ImportError, OSError):
        return
    most = used + (limits.memory + MORE) * 2**20
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


if __name__ == "__main__":
    sys.exit(main())
