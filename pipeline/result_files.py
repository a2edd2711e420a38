"""Write a result of any engine as the files of the run directory's contract."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from pipeline.artifacts import equity_csv, finite_stats, parquet_bytes, trades_csv
from pipeline.errors import ResultError
from pipeline.files import write_atomic, write_json
from pipeline.layout import Layout
from pipeline.results.beside import beside
from pipeline.results.boundary import boundary
from pipeline.results.recompute import recompute, settled
from pipeline.results.reconcile import reconcile
from pipeline.results.record import ResultRecord, as_json
from pipeline.robustness_record import Robustness

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.results.contract import Result

FILE_NAME = re.compile(r"[\w][\w. -]{0,99}")


def write_result(
    result: Result, files: Layout, *, figure: bool = True, examined: Robustness | None = None
) -> Mapping[str, Any]:
    """Write a checked result below a run directory; return its metrics, undefined and unknown ones None.

    `examined` is what was found out about it. What an earlier call left is replaced. Raises ResultError for a part
    that cannot be written, before anything is; StorageError.
    """
    _check_own(result)
    drawn = {str(name): _picture(str(name), value) for name, value in result.figures.items()}
    conventions, stats = settled(result), finite_stats(recompute(result))
    conventions = replace(conventions, risk_free_rate=conventions.rate)  # 0 is what the metrics were computed with
    if result.currency is not None:
        conventions = replace(conventions, currency=result.currency)
    _clear(files)
    if examined is not None:
        write_json(files.robustness, examined.to_dict())
    write_json(files.stats, stats)
    write_json(files.conventions, conventions.to_dict())
    write_record(result, files, stats)
    benchmark = next(iter(result.benchmarks.values()), None)
    write_atomic(files.equity, equity_csv(result.equity, benchmark, result.capital))
    for name, table in _tables(result).items():
        write_atomic(files.part(name), parquet_bytes(table, index=name != "fills", large=True))
    if result.trades is not None:
        write_atomic(files.trades_parquet, parquet_bytes(result.trades, index=False))
        write_atomic(files.trades_csv, trades_csv(result.trades))
    if result.folds:
        write_json(files.folds, {"schema_version": 1, "folds": as_json([asdict(fold) for fold in result.folds])})
    for name, (suffix, data) in drawn.items():
        write_atomic(files.plots / f"{name}{suffix}", data)
    for name, table in result.tables.items():
        write_atomic(files.tables / f"{name}.csv", table.to_csv(lineterminator="\n").encode())
    for item in result.files.values():
        write_atomic(files.own_files / item.path.name, item.path.read_bytes())
    if figure:
        write_atomic(files.equity_plot, _equity_png(result, benchmark))
    return stats


def write_record(result: Result, files: Layout, stats: Mapping[str, Any] | None = None) -> None:
    """Write `result.json`: what made the result, what it is of, whether its parts agree, what was looked at.

    What is in `robustness.json` by then is known to it; `stats` are its metrics, where they were computed before.
    Raises StorageError.
    """
    found, numbers = reconcile(result), beside(result, recompute(result) if stats is None else stats)
    limits = boundary(result, found, numbers, look_ahead=Robustness.read(files).leak_status)
    write_json(files.result, ResultRecord.of(result, found, numbers, limits).to_dict())


def _check_own(result: Result) -> None:
    """Raise ResultError for figures, tables and files of the user's own that cannot be kept."""
    names = [*result.figures, *result.tables, *result.files]
    for name in names:
        if not FILE_NAME.fullmatch(str(name)):
            raise ResultError(f"{name!r} is no name for a file: letters, digits, blanks, - and _ only.")
    missing = [str(item.path) for item in result.files.values() if not item.path.is_file()]
    if missing:
        raise ResultError(f"The file {missing[0]} is not there. Write it before run.save.")


def _tables(result: Result) -> dict[str, pd.DataFrame]:
    """Return the tables that go into files of their own, by name."""
    import pandas as pd

    found = {name: getattr(result, name) for name in ("fills", "positions", "weights", "prices")}
    tables = {name: table for name, table in found.items() if table is not None}
    account = {name: getattr(result, name) for name in ("cash", "leverage") if getattr(result, name) is not None}
    if account:
        tables["account"] = pd.DataFrame(account)
    if len(result.benchmarks) > 1:
        tables["benchmarks"] = pd.DataFrame(dict(result.benchmarks))
    return tables


def _clear(files: Layout) -> None:
    """Remove what an earlier result left, so that nothing of it stands beside this one."""
    names = ("fills", "positions", "weights", "prices", "account", "benchmarks")
    for path in (*map(files.part, names), files.trades_parquet, files.trades_csv, files.folds, files.robustness):
        path.unlink(missing_ok=True)
    for directory in (files.tables, files.own_files):
        shutil.rmtree(directory, ignore_errors=True)


def _picture(name: str, value: Any) -> tuple[str, bytes]:
    """Return a figure's file ending and bytes: PNG of matplotlib's, JSON of plotly's."""
    if hasattr(value, "savefig"):
        buffer = io.BytesIO()
        value.savefig(buffer, format="png", metadata={"Software": None})
        return ".png", buffer.getvalue()
    if hasattr(value, "to_plotly_json"):
        return ".plotly.json", json.dumps(json.loads(value.to_json()), sort_keys=True).encode()
    raise ResultError(f"The figure {name!r} is a {type(value).__name__}; figures of matplotlib and plotly are kept.")


def _equity_png(result: Result, benchmark: pd.Series | None) -> bytes:
    from pipeline.plots import equity_png

    title = result.strategy or ", ".join(result.symbols[:3])
    label = next(iter(result.benchmarks), "")
    return equity_png(result.equity, benchmark, initial=result.capital, title=title, label=label)
