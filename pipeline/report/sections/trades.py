"""The trades of a run: a summary by side and the list."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pipeline.report.escape import html_text, raw_block, relative_url
from pipeline.report.numbers import COUNT, DASH, MONEY, NUMBER, PERCENT, format_number
from pipeline.report.tables import Cell, Column, Html, table

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.report.page import Page

LISTED = 400
NO_TRADES = "\nThis run left no list of trades.\n"
COLUMNS = (
    ("trade_id", Column("Trade", numeric=True)),
    ("symbol", Column("Symbol")),
    ("side", Column("Side")),
    ("entry_time", Column("Entry")),
    ("exit_time", Column("Exit")),
    ("quantity", Column("Quantity", numeric=True)),
    ("entry_price", Column("Entry price", numeric=True)),
    ("exit_price", Column("Exit price", numeric=True)),
    ("net_pnl", Column("Net P&L", numeric=True, title="After fees and slippage, in units of the account")),
    ("return_pct", Column("Return", numeric=True, title="Net P&L over entry value")),
    ("fees", Column("Fees", numeric=True)),
    ("bars_held", Column("Bars", numeric=True, title="Bars held")),
    ("exit_reason", Column("Exit reason")),
)
KINDS = {
    "trade_id": COUNT, "bars_held": COUNT, "quantity": NUMBER, "entry_price": MONEY, "exit_price": MONEY, "fees": MONEY,
}  # fmt: skip
# Coloured by their sign, and what they are multiplied by before they are shown.
SIGNED = {"net_pnl": 1.0, "return_pct": 0.01}


def summary(page: Page) -> str:
    """Return counts, sums and averages of all trades and by side."""
    trades = page.trades
    if trades.empty:
        return NO_TRADES if len(trades.columns) == 0 else "\nThe strategy made no trades.\n"
    sides = [(side.capitalize(), trades[trades["side"] == side]) for side in ("long", "short")]
    shown = [(name, group) for name, group in sides if len(group)]
    if len(shown) != 1:
        shown = [("All", trades), *shown]
    columns = [Column("Closed and open trades")] + [Column(name, numeric=True) for name, _ in shown]
    facts = [_facts(group) for _, group in shown]
    rows: list[list[Cell]] = [[key, *(fact[key] for fact in facts)] for key in facts[0]]
    return table("Trades by side", columns, rows, name="by-side")


def listing(page: Page) -> str:
    """Return the trades, oldest first; of a long list the first and the last, with a link to the whole."""
    trades = page.trades
    present = [(name, column) for name, column in COLUMNS if name in trades.columns]
    if trades.empty or not present:
        return ""
    half = LISTED // 2
    ends = trades if len(trades) <= LISTED else _ends(trades, half)
    rows = [[_cell(name, row) for name, _ in present] for row in ends.to_dict("records")]
    note = "" if len(ends) == len(trades) else f", of which the first {half} and the last {half} are shown"
    caption = f"{len(trades):,} trade{'s' if len(trades) != 1 else ''}{note}"
    text = table(caption, [column for _, column in present], rows, name="trades tall")
    file = page.run.dir.trades_csv
    if not file.is_file():
        return text
    link = f'<a href="{html_text(relative_url(file.name))}">{html_text(file.name)}</a>'
    return text + raw_block(f'<p class="note">All trades with all columns are in {link}.</p>')


def _ends(trades: pd.DataFrame, half: int) -> pd.DataFrame:
    import pandas as pd

    return pd.concat([trades.head(half), trades.tail(half)])


def _facts(trades: pd.DataFrame) -> dict[str, str]:
    closed = trades[~trades["is_open"].astype(bool)]
    pnl = closed["net_pnl"].astype(float)
    won, lost = pnl[pnl > 0], pnl[pnl < 0]
    facts = {
        "Closed trades": format_number(len(closed), COUNT),
        "Open trades": format_number(len(trades) - len(closed), COUNT),
        "Win rate": format_number(_mean(pnl > 0), PERCENT),
        "Net P&L of closed trades": format_number(float(pnl.sum()), MONEY),
        "Average win": format_number(_mean(won), MONEY),
        "Average loss": format_number(_mean(lost), MONEY),
        "Best trade": format_number(float(pnl.max()) if len(pnl) else None, MONEY),
        "Worst trade": format_number(float(pnl.min()) if len(pnl) else None, MONEY),
    }
    for column, label, kind in (("bars_held", "Average bars held", NUMBER), ("fees", "Fees of all trades", MONEY)):
        if column in trades.columns:
            value = _mean(closed[column]) if column == "bars_held" else float(trades[column].sum())
            facts[label] = format_number(value, kind)
    return facts


def _mean(values: pd.Series) -> float | None:
    return float(values.mean()) if len(values) else None


def _cell(name: str, row: dict[Any, Any]) -> Cell:
    value = row[name]
    if name == "exit_time" and row.get("is_open"):
        return Html('<span class="open">open</span>')
    if name in {"entry_time", "exit_time"}:
        return _timestamp(value)
    if name in SIGNED:
        return _signed(_number(value) * SIGNED[name], PERCENT if name == "return_pct" else MONEY)
    return format_number(_number(value), KINDS[name]) if name in KINDS else str(value)


def _signed(value: Any, kind: str) -> Html:
    number = _number(value)
    tone = "gain" if number > 0 else "loss" if number < 0 else "flat"
    return Html(f'<span class="{tone}">{format_number(number, kind)}</span>')


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _timestamp(value: Any) -> str:
    import pandas as pd

    stamp = pd.to_datetime(value, utc=True, errors="coerce")
    if stamp is pd.NaT:
        return DASH
    return f"{stamp:%Y-%m-%d}" if stamp == stamp.normalize() else f"{stamp:%Y-%m-%d %H:%M}"
