"""The artifacts a backtest leaves: written by the notebook, checked before the run is sealed."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import ArtifactError
from pipeline.files import write_atomic, write_json
from pipeline.layout import Layout
from pipeline.rundir import RunDir

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from pipeline.backtest.engine import BacktestResult

EQUITY_COLUMNS = ("timestamp", "equity", "drawdown", "benchmark_equity")


def write_backtest_artifacts(
    result: BacktestResult,
    directory: Path,
    *,
    benchmark: pd.Series | None = None,
    label: str = "Buy and hold",
    figure: bool = True,
) -> list[Path]:
    """Write stats.json, conventions.json, equity.csv, trades, figure (unless not wanted), summaries below `directory`.

    `benchmark` is an equity curve on the index of `result.equity_curve`, called `label` in the figure; without one
    the column stays empty. Undefined stats become null. Returns the paths written. Raises StorageError.
    """
    files = Layout(directory)
    stats = finite_stats(result.stats)
    write_json(files.stats, stats)
    write_json(files.conventions, result.conventions.to_dict())
    write_atomic(files.equity, equity_csv(result.equity_curve, benchmark, result.config.get("initial_cash")))
    write_atomic(files.trades_csv, trades_csv(result.trades))
    write_atomic(files.trades_parquet, parquet_bytes(result.trades, index=False))
    if figure:
        write_atomic(files.equity_plot, _equity_png(result, benchmark, label))
    write_json(files.trades_summary, trades_summary(result.trades))
    write_atomic(files.report_text, report_text(result, stats).encode())
    return [
        files.stats,
        files.conventions,
        files.equity,
        files.trades_csv,
        files.trades_parquet,
        *([files.equity_plot] if figure else []),
        files.trades_summary,
        files.report_text,
    ]


def equity_table(result: BacktestResult, benchmark: pd.Series | None = None) -> pd.DataFrame:
    """Return the columns of equity.csv: ISO-8601 UTC timestamp, equity, drawdown (≤ 0), benchmark_equity.

    The initial cash counts as a peak.
    """
    import pandas as pd

    stamps, *numbers = _equity_columns(result.equity_curve, benchmark, result.config.get("initial_cash"))
    return pd.DataFrame(dict(zip(EQUITY_COLUMNS, (stamps, *numbers), strict=True)))


def equity_csv(equity: pd.Series, benchmark: pd.Series | None, capital: float | None) -> bytes:
    """Return the bytes of equity.csv; `capital` is what the equity starts from, and counts as a peak."""
    return _equity_csv(_equity_columns(equity, benchmark, capital))


def _equity_columns(
    equity: pd.Series, benchmark: pd.Series | None, capital: float | None
) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    import numpy as np

    from pipeline.backtest.metrics import drawdown

    down = drawdown(equity, capital)
    held = np.full(len(equity), np.nan) if benchmark is None else benchmark.reindex(equity.index).to_numpy(float)
    return iso_timestamps(equity.index), equity.to_numpy(float), down.to_numpy(float), held


def iso_timestamps(values: Any) -> list[str]:
    """Return timestamps as ISO-8601 UTC text, `2018-12-31T00:00:00Z`; a missing one as empty text."""
    import numpy as np
    import pandas as pd

    index = pd.DatetimeIndex(values)
    index = index.tz_localize("UTC") if index.tz is None else index.tz_convert("UTC")
    seconds = index.as_unit("s")
    if not index.hasnans and (seconds == index).all():
        texts: list[str] = np.datetime_as_string(seconds.tz_localize(None).to_numpy(), timezone="UTC").tolist()
        return texts
    return ["" if pd.isna(stamp) else stamp.isoformat().replace("+00:00", "Z") for stamp in index]


def trades_summary(trades: pd.DataFrame) -> dict[str, Any]:
    """Return counts and sums over the trades, all of them and by side; undefined values are None."""
    sides = {side: _summary(trades[trades["side"] == side]) for side in ("long", "short")}
    return {"all": _summary(trades), "by_side": sides}


def report_text(result: BacktestResult, stats: dict[str, Any]) -> str:
    """Return the results as plain text, one value a line."""
    title = f"Backtest report: {result.config.get('symbol', '')}".rstrip(": ")
    width = max((len(name) for name in stats), default=0)
    lines = [f"{name:<{width}}  {_plain(value)}" for name, value in stats.items()]
    return "\n".join([title, "=" * len(title), "", *lines, ""])


def check_artifacts(run: RunDir) -> None:
    """Raise ArtifactError when a finished notebook has not left what the run directory's contract asks for.

    Required: stats.json (strict JSON object of finite numbers and null), equity.csv (the columns of the
    contract, finite equity); trades.parquet and trades.csv together or neither.
    """
    trades = (run.trades_parquet, run.trades_csv)
    needed = (run.stats, run.equity, *(trades if any(path.is_file() for path in trades) else ()))
    for path in needed:
        if not path.is_file():
            raise ArtifactError(
                f"The notebook ended without writing {path.name}. Call `run.save(result)` in its last cells."
            )
    _check_stats(run.stats)
    _check_equity(run.equity)


def _check_stats(path: Path) -> None:
    def refuse(literal: str) -> float:
        raise ArtifactError(f"{path.name} holds {literal}, which is not JSON. Write null for an undefined value.")

    try:
        stats = json.loads(path.read_bytes(), parse_constant=refuse)
    except ValueError as error:
        raise ArtifactError(f"{path.name} is not valid JSON: {error}.") from None
    if not isinstance(stats, dict) or not stats:
        raise ArtifactError(f"{path.name} must be a JSON object with at least one metric.")
    for name, value in stats.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ArtifactError(f"{path.name}: {name} is {value!r}; a number or null is needed.")


def _check_equity(path: Path) -> None:
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        raise ArtifactError(f"{path.name} is not UTF-8 text.") from None
    lines = text.splitlines()
    rows = csv.reader(lines) if '"' in text else (line.split(",") for line in lines)
    header, count = next(rows, []), 0
    if tuple(header) != EQUITY_COLUMNS:
        raise ArtifactError(f"{path.name} has the columns {header}; needed: {list(EQUITY_COLUMNS)}.")
    for count, row in enumerate(rows, start=1):
        if len(row) != len(EQUITY_COLUMNS) or not _is_finite(row[1]):
            raise ArtifactError(f"{path.name}, line {count + 1}: equity is not a finite number.")
    if count == 0:
        raise ArtifactError(f"{path.name} has no rows.")


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def finite_stats(stats: Mapping[str, Any]) -> dict[str, float | int | None]:
    """Return metrics as stats.json has them: plain numbers, null for what is undefined."""
    return {name: _finite(value) for name, value in stats.items()}


def _finite(value: Any) -> float | int | None:
    """Return a plain Python number, None for NaN and infinities."""
    if value is None:
        return None
    number = value.item() if hasattr(value, "item") else value
    return number if math.isfinite(number) else None


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:,.6f}"


def _summary(trades: pd.DataFrame) -> dict[str, Any]:
    pnl = trades["net_pnl"].astype(float)
    return {
        "trades": len(trades),
        "open_trades": int(trades["is_open"].sum()),
        "winners": int((pnl > 0).sum()),
        "losers": int((pnl < 0).sum()),
        "net_pnl": float(pnl.sum()),
        "fees": float(trades["fees"].sum()),
        "average_pnl": _finite(pnl.mean()) if len(pnl) else None,
        "best_pnl": _finite(pnl.max()) if len(pnl) else None,
        "worst_pnl": _finite(pnl.min()) if len(pnl) else None,
        "average_bars_held": _finite(trades["bars_held"].mean()) if len(pnl) else None,
    }


def _equity_csv(columns: tuple[list[str], np.ndarray, np.ndarray, np.ndarray]) -> bytes:
    """Return what pandas would write of the equity table, in a fifth of the time."""
    stamps, *numbers = columns
    rows = [",".join(row) for row in zip(stamps, *map(_shortest, numbers), strict=True)]
    return "\n".join([",".join(EQUITY_COLUMNS), *rows, ""]).encode()


def _shortest(values: np.ndarray) -> list[str]:
    """Return numbers as `repr` shows them, nothing for NaN. Arrow finds the same digits, several times as fast."""
    import numpy as np
    import pyarrow as pa

    texts: list[str] = pa.array(values).cast(pa.string()).to_pylist()
    size = np.abs(values)
    with np.errstate(invalid="ignore"):
        as_repr = (size >= 1e-4) & (size < 1e9) & (values % 1.0 != 0.0)  # Arrow writes 1.0 as 1, 1e-05 as 0.00001
    for place in np.flatnonzero(~as_repr):
        value = float(values[place])
        texts[place] = "" if math.isnan(value) else repr(value)
    return texts


def trades_csv(trades: pd.DataFrame) -> bytes:
    """Return the bytes of trades.csv."""
    table = trades.copy()
    for column in ("entry_time", "exit_time"):
        table[column] = iso_timestamps(table[column])
    text: str = table.to_csv(index=False, lineterminator="\n")
    return text.encode()


def parquet_bytes(table: pd.DataFrame, *, index: bool, large: bool = False) -> bytes:
    """Return a table as the bytes of a Parquet file, to be written in one piece.

    Of a `large` one numbers get no dictionary: they seldom repeat, and looking whether they do takes half of the time.
    """
    buffer = io.BytesIO()
    options: dict[str, Any] = {}
    if large:
        words = [str(name) for name, kind in table.dtypes.items() if kind.kind != "f"]
        options["use_dictionary"] = words or False
    table.to_parquet(buffer, index=index, engine="pyarrow", **options)
    return buffer.getvalue()


def _equity_png(result: BacktestResult, benchmark: pd.Series | None, label: str) -> bytes:
    from pipeline.plots import equity_png

    title, initial = str(result.config.get("symbol", "")), result.config.get("initial_cash")
    return equity_png(result.equity_curve, benchmark, initial=initial, title=title, label=label)
