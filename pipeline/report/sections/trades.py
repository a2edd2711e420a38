"""The trades of a run: a summary by side, what costs took, figures, and the list."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipeline.backtest.catalogue import COUNT, MONEY, NUMBER, PERCENT, PRICE, RATIO, metric
from pipeline.report.blocks import Blocks, Cell, Column, chart, markup, side_by_side, table, text
from pipeline.report.markup import Html, html, link
from pipeline.report.numbers import DASH, format_bytes, format_number, several
from pipeline.report.trade_data import packed

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.report.facts import Facts

# Trades in the page as rows of a table; of more than these, rows for readers without scripts.
LISTED, EXCERPT = 600, 100
TALL = "trades tall searchable"
NO_TRADES = "This run left no list of trades."
COLUMNS = (
    ("trade_id", Column("Trade", numeric=True)),
    ("symbol", Column("Symbol")),
    ("side", Column("Side")),
    ("entry_time", Column("Entry")),
    ("exit_time", Column("Exit")),
    ("quantity", Column("Quantity", numeric=True)),
    ("entry_price", Column("Entry price", numeric=True)),
    ("exit_price", Column("Exit price", numeric=True)),
    ("net_pnl", Column("Net P&L", numeric=True, title="After fees and slippage")),
    ("return_pct", Column("Return", numeric=True, title="Net P&L over entry value")),
    ("fees", Column("Fees", numeric=True)),
    ("bars_held", Column("Bars", numeric=True, title="Bars held")),
    ("exit_reason", Column("Exit reason")),
)
KINDS = {
    "trade_id": COUNT, "bars_held": COUNT, "quantity": NUMBER, "entry_price": PRICE, "exit_price": PRICE, "fees": MONEY,
}  # fmt: skip
TIMES = ("entry_time", "exit_time")
FEW_TRADES = 5
WINS, FACTOR = map(metric, ("win_rate", "profit_factor"))
FACTS = (
    ("trades", "Closed trades", COUNT), (WINS.name, WINS.label, WINS.kind), ("net_pnl", "Net P&L", MONEY),
    (FACTOR.name, FACTOR.label, FACTOR.kind), ("payoff", "Average win over average loss", RATIO),
    ("avg_return", "Average return", PERCENT), ("median_return", "Median return", PERCENT),
    ("avg_win", "Average win", PERCENT), ("avg_loss", "Average loss", PERCENT),
    ("best", "Best trade", PERCENT), ("worst", "Worst trade", PERCENT),
    ("avg_bars_held", "Average bars held", NUMBER), ("avg_mae", "Average worst excursion (MAE)", PERCENT),
    ("avg_mfe", "Average best excursion (MFE)", PERCENT),
)  # fmt: skip
SUMMARY_NEEDS = {
    "side", "is_open", "net_pnl", "gross_pnl", "fees", "slippage_cost", "return_pct", "bars_held", "mae", "mfe",
}  # fmt: skip
COST_NEEDS = ("gross_pnl", "fees", "slippage_cost", "net_pnl")
# Coloured by their sign, and what they are multiplied by before they are shown.
SIGNED = {"net_pnl": 1.0, "return_pct": 0.01}


def summary(facts: Facts) -> Blocks:
    """Return counts, sums and averages of all trades and by side."""
    trades = facts.trades
    if facts.foreign and not len(trades.columns):
        return ()
    if trades.empty:
        return facts.missing(NO_TRADES) if len(trades.columns) == 0 else text("The strategy made no trades.")
    if not set(trades.columns) >= SUMMARY_NEEDS and not facts.foreign:
        return text("The list of trades lacks columns, so it is not summed up.")
    trades = _whole(trades)
    from pipeline.backtest.analysis import trade_summary

    found = trade_summary(trades)
    present = [side for side in ("long", "short") if (trades["side"] == side).any()]
    shown = present if len(present) == 1 else ["all", *present]
    columns = [Column("Closed trades"), *(Column(side.capitalize(), numeric=True) for side in shown)]
    is_open = trades["is_open"].astype(bool)
    still_open = {side: is_open if side == "all" else is_open & (trades["side"] == side) for side in shown}
    rows: list[list[Cell]] = [
        [label, *(format_number(_number(found.loc[side, name]), kind) for side in shown)] for name, label, kind in FACTS
    ]
    if facts.foreign:
        rows = [row for row in rows if any(cell != DASH for cell in row[1:])]
    rows.insert(1, ["Open at the end", *(format_number(int(still_open[side].sum()), COUNT) for side in shown)])
    told = {str(row[0]) for row in rows}
    parts = ["Trades by side"]
    parts += ["returns are net, on the entry value"] if "Average return" in told else []
    parts += ["excursions on the entry price"] if "Average worst excursion (MAE)" in told else []
    caption = "; ".join([*parts, f"amounts in {facts.unit}"])
    return table(caption, columns, rows, name="by-side")


def costs(facts: Facts) -> Blocks:
    """Return what fees and slippage took from the closed trades."""
    trades = facts.trades
    if trades.empty or not _known(trades, *COST_NEEDS):
        return ()
    closed = trades[~trades["is_open"].astype(bool)]
    gross, fees, net = (float(closed[name].sum()) for name in ("gross_pnl", "fees", "net_pnl"))
    slippage = float(closed["slippage_cost"].sum())
    before = gross + slippage
    lines = (("P&L before costs", before), ("Slippage", -slippage), ("Fees", -fees), ("Net P&L", net))
    rows: list[list[Cell]] = [
        [label, format_number(value, MONEY), format_number(value / before if before > 0 else None, PERCENT)]
        for label, value in lines
    ]
    columns = [Column("Closed trades"), Column("Amount", numeric=True), Column("Of P&L before costs", numeric=True)]
    return table(f"What costs took, in {facts.unit}", columns, rows, name="by-side")


def figures(facts: Facts) -> Blocks:
    """Return P&L distribution, cumulative P&L, excursions and duration of the closed trades."""
    trades = facts.trades
    if trades.empty or not _known(trades, "exit_time", "return_pct", "bars_held"):
        return ()
    import numpy as np
    import pandas as pd

    from pipeline.report import figures_trades as drawn

    closed = trades[~trades["is_open"].astype(bool)]
    returns = closed["return_pct"].to_numpy(dtype=float) / 100.0
    if len(closed) < FEW_TRADES or not np.isfinite(returns).all():
        return ()
    ordered = closed.assign(exit_time=pd.to_datetime(closed["exit_time"], utc=True)).sort_values("exit_time")
    pnl = ordered.set_index("exit_time")["net_pnl"].astype(float)
    held, unit = closed["bars_held"].to_numpy(dtype=float), facts.unit
    excursions = _known(closed, "mae", "mfe", "trade_id")
    made = (
        ("trade-returns", drawn.returns_figure(returns), "Net returns of the closed trades, on their entry value.",
         f"Histogram of the net returns of {len(closed):,} closed trades."),
        ("trade-pnl", drawn.cumulative_figure(pnl, unit), "Net P&L of the closed trades, added up at their exits.",
         "Line chart of the cumulative net P&L by time of exit."),
        ("trade-excursions", drawn.excursion_figure(closed) if excursions else {},
         "How far each trade went against and in favour of its position, on the entry price.",
         "Scatter chart of the best against the worst excursion of each trade."),
        ("trade-duration", drawn.duration_figure(held), "How long the closed trades were held.",
         f"Histogram of bars held, {format_number(float(np.median(held)), NUMBER)} at the median."),
    )  # fmt: skip
    shown = (each for each in made if each[1])
    blocks = (chart(name, f, caption=said, label=label, height=280) for name, f, said, label in shown)
    return side_by_side(*blocks)


def _known(trades: pd.DataFrame, *columns: str) -> bool:
    """Say whether all closed trades have all of these columns."""
    if not set(columns) <= set(trades.columns):
        return False
    closed = trades[~trades["is_open"].astype(bool)]
    return bool(closed[list(columns)].notna().all(axis=None))


def _whole(trades: pd.DataFrame) -> pd.DataFrame:
    """Return the trades with every column that is summed up; NaN where it is not known."""
    lacking = sorted(SUMMARY_NEEDS - set(trades.columns))
    return trades.assign(**dict.fromkeys(lacking, math.nan)) if lacking else trades


def listing(facts: Facts) -> Blocks:
    """Return all trades, oldest first; of a long list the page's script shows some rows at a time.

    Without scripts, in a static report and on paper a long list is its first and its last trades; the whole is linked.
    """
    trades = facts.trades
    present = [(name, column) for name, column in COLUMNS if name in trades.columns]
    if trades.empty or not present:
        return ()
    long = len(trades) > LISTED
    clock = _within_days(trades)
    packing = [_packing(name, column, clock=clock) for name, column in present]
    data = packed(trades, packing) if long and not facts.static else None
    ends = _ends(trades, (EXCERPT if facts.static or data else LISTED) // 2) if long else trades
    rows = [[_cell(name, row, clock=clock) for name, _ in present] for row in ends.to_dict("records")]
    zone = "UTC" if clock else ""
    units = dict.fromkeys(TIMES, zone) | dict.fromkeys(("net_pnl", "fees"), facts.conventions.currency or "")
    heads = [replace(column, unit=units.get(name, "")) for name, column in present]
    made = table(_listed(trades, ends), heads, rows, name=TALL)
    if data is not None:
        made += markup(html('<script type="application/json" class="table-rows">{data}</script>', data=Html(data)))
    file = facts.run.dir.trades_csv
    if not file.is_file():
        return made
    address = link(file.name, facts.address(file.name))
    size = f" ({format_bytes(file.stat().st_size)})" if long else ""
    why = " They are too many for this page." if long and data is None and not facts.static else ""
    note = '<p class="note">All trades with all columns are in {address}{size}.{why}</p>'
    return made + markup(html(note, address=address, size=Html(size), why=Html(why)))


def _within_days(trades: pd.DataFrame) -> bool:
    """Say whether a trade was opened or closed at a time of day, whose zone must be told then."""
    import pandas as pd

    known = [pd.to_datetime(trades[name], utc=True, errors="coerce").dropna() for name in TIMES if name in trades]
    return any(bool((stamps != stamps.dt.normalize()).any()) for stamps in known)


def _listed(trades: pd.DataFrame, ends: pd.DataFrame) -> str:
    """Return the caption of the list: how many trades there are, and how many of them are shown."""
    half = len(ends) // 2
    note = "" if len(ends) == len(trades) else f", of which the first {half} and the last {half} are shown"
    return f"{several(len(trades), 'trade')}{note}"


def _packing(name: str, column: Column, *, clock: bool) -> tuple[str, str, str, bool]:
    kind = (
        ("time" if clock else "day")
        if name in TIMES
        else KINDS.get(name) or {"net_pnl": MONEY, "return_pct": PERCENT}.get(name, "text")
    )
    return name, column.heading, kind, name in SIGNED


def _ends(trades: pd.DataFrame, half: int) -> pd.DataFrame:
    import pandas as pd

    return pd.concat([trades.head(half), trades.tail(half)])


def _cell(name: str, row: dict[Any, Any], *, clock: bool) -> Cell:
    value = row[name]
    if name == "exit_time" and row.get("is_open"):
        return html('<span class="open">open</span>')
    if name in {"entry_time", "exit_time"}:
        return _timestamp(value, clock=clock)
    if name in SIGNED:
        return _signed(_number(value) * SIGNED[name], PERCENT if name == "return_pct" else MONEY)
    return format_number(_number(value), KINDS[name]) if name in KINDS else _text(value)


def _text(value: Any) -> str:
    import pandas as pd

    return DASH if pd.isna(value) else str(value)


def _signed(value: Any, kind: str) -> Html:
    number = _number(value)
    tone = "gain" if number > 0 else "loss" if number < 0 else "flat"
    return html('<span class="{tone}">{number}</span>', tone=tone, number=format_number(number, kind))


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _timestamp(value: Any, *, clock: bool) -> str:
    """Return a time as its day, and with `clock` its time of day, midnight as well."""
    import pandas as pd

    stamp = pd.to_datetime(value, utc=True, errors="coerce")
    if stamp is pd.NaT:
        return DASH
    return f"{stamp:%Y-%m-%d %H:%M}" if clock else f"{stamp:%Y-%m-%d}"
