"""What the result hangs on: costs, delay and parameters varied; returns split by year and by regime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.backtest.catalogue import COUNT, NUMBER, PERCENT, RATIO, metric
from pipeline.escape import markdown_text
from pipeline.report.blocks import Blocks, Cell, Column, table, text
from pipeline.report.markup import code, html
from pipeline.report.numbers import DASH, format_number, risk_free, several
from pipeline.report.small_multiples import Panel, small_multiples

if TYPE_CHECKING:
    from pipeline.report.facts import Facts
    from pipeline.robustness_record import Variation

MOST_PARAMETERS = 12
SHOWN = tuple(map(metric, ("sharpe", "total_return", "cagr", "max_drawdown", "total_trades")))
DIFFERS = (
    "Running the backtest again without a change did not give the numbers of the run, so the tables below are not "
    "about exactly the same strategy. It may keep state between calls or use random numbers."
)


def multiples(facts: Facts) -> Blocks:
    """Return the Sharpe ratio of all re-runs as small charts on one scale."""
    rows = facts.robustness.sensitivity
    panels = [_panel(rows, "cost", "", "Costs"), _panel(rows, "delay", "", "Delay in bars")]
    panels += [_panel(rows, "param", name, f"{name}, change in %") for name in _parameters(rows)]
    caption = (
        "Sharpe ratio when one thing is changed at a time: fees and slippage multiplied, signals that arrive bars "
        "later, each numeric parameter moved by 5, 10 and 20 %. The large dot is the run itself; no dot, no re-run."
    )
    found = small_multiples("sensitivity", [panel for panel in panels if panel], caption=caption, what="Sharpe ratio")
    return (text(DIFFERS) if facts.robustness.base_equal is False else ()) + found


def tables(facts: Facts) -> Blocks:
    """Return the re-runs as tables: costs, delay, parameters."""
    rows = facts.robustness.sensitivity
    if facts.foreign and not facts.robustness.present:
        return ()  # the part about look-ahead says why
    if not rows:
        why = facts.robustness.notes.get("sensitivity")
        said = f"The backtest was not run again with changes.{f' {markdown_text(why)}' if why else ''}"
        return facts.missing(said)
    heads = [Column("Costs"), Column("Fee and slippage", numeric=True, unit="bps")]
    body = [([_cost(row), format_number(row.value, NUMBER)], row) for row in _kind(rows, "cost")]
    costs = _table("Costs multiplied", heads, body)
    late: list[tuple[list[Cell], Variation]] = [([_delay(row)], row) for row in _kind(rows, "delay")]
    delay = _table("Signals delayed, on top of the engine's own execution", [Column("Delay")], late)
    moved = [
        ([code(name), _change(row), format_number(row.value, NUMBER)], row)
        for name in _parameters(rows)
        for row in sorted(_of(rows, name), key=lambda row: row.change or 0.0)
    ]
    heads = [Column("Parameter"), Column("Change", numeric=True), Column("Value", numeric=True)]
    return costs + delay + _table("Parameters moved, one at a time", heads, moved)


def by_year(facts: Facts) -> Blocks:
    """Return the years of the run as a table, beside the benchmark."""
    if facts.result is None:
        return facts.missing("This run left no returns to split.")
    import pandas as pd

    from pipeline.backtest.sensitivity import split_by_year

    found = split_by_year(facts.result, benchmark=facts.benchmark_equity, first_counts=facts.first_counts)
    beside = "benchmark_return" in found.columns
    held = facts.held
    if held is not None and facts.foreign:
        found["exposure"] = held.groupby(pd.DatetimeIndex(held.index).year).mean()
    shown = [("total_return", "Return", PERCENT)]
    shown += [("benchmark_return", facts.benchmark_heading, PERCENT)] if beside else []
    metrics = ["annual_volatility", "sharpe", "max_drawdown", *(["exposure"] if held is not None else [])]
    shown += [(each.name, each.brief, each.kind) for each in map(metric, metrics)]
    shown += [("bars", "Bars", COUNT)]
    rows: list[list[Cell]] = [
        [str(year), *(format_number(_plain(row[name]), kind) for name, _, kind in shown)]
        for year, row in found.iterrows()
    ]
    heads = [Column("Year"), *(Column(label, numeric=True) for _, label, _ in shown)]
    caption = (
        f"By calendar year; volatility and Sharpe ratio annualised, ddof 1, {risk_free(facts.conventions)}; drawdown "
        "from peaks inside the year"
    )
    caption += "; exposure is the share of bars with a position" if held is not None else ""
    return table(caption, heads, rows, name="split")


def by_regime(facts: Facts) -> Blocks:
    """Return returns by trend and by volatility of the market, as known at the bar before."""
    rows = [row for row in facts.robustness.regimes if row.bars]
    if not rows:
        return ()
    shown = (
        ("share", "Share of bars", PERCENT), ("total_return", "Return", PERCENT),
        ("annual_return", "Mean a year", PERCENT), ("annual_volatility", "Volatility", PERCENT),
        ("sharpe", "Sharpe", RATIO), ("win_rate", "Bars won", PERCENT),
    )  # fmt: skip
    body: list[list[Cell]] = [
        [
            f"{row.kind.capitalize()}: {row.regime}",
            *(format_number(getattr(row, name), kind) for name, _, kind in shown),
        ]
        for row in rows
    ]
    heads = [Column("Regime"), *(Column(label, numeric=True) for _, label, _ in shown)]
    caption = (
        "By regime of the instrument: terciles, among all bars so far, of the return and of the volatility over the "
        "last 63 bars; unknown before 252 of them. Mean a year is the mean return per bar times bars a year; bars won "
        "are a share of those that moved"
        f"; {risk_free(facts.conventions)}"
    )
    return table(caption, heads, body, name="split")


def _panel(rows: Sequence[Variation], kind: str, name: str, title: str) -> Panel | None:
    chosen = _of(rows, name) if kind == "param" else _kind(rows, kind)
    chosen = sorted(chosen, key=lambda row: row.change or 0.0)
    if not chosen:
        return None
    base = next((i for i, row in enumerate(chosen) if row.is_base), None)
    return Panel(title, [_label(kind, row) for row in chosen], [row.stats.get("sharpe") for row in chosen], base)


def _label(kind: str, row: Variation) -> str:
    if kind == "param":
        return _tick(row).removesuffix("%")
    return f"×{_bare(row)}" if kind == "cost" else _bare(row)


def _table(caption: str, heads: list[Column], rows: list[tuple[list[Cell], Variation]]) -> Blocks:
    if not rows:
        return ()
    with_note = any(row.status != "ok" for _, row in rows)
    columns = [
        *heads,
        *(Column(each.brief, numeric=True, title=each.meaning) for each in SHOWN),
        *([Column("Not run")] if with_note else []),
    ]
    body = [
        [
            *first,
            *(format_number(row.stats.get(each.name), each.kind) for each in SHOWN),
            *_why(row, with_note=with_note),
        ]
        for first, row in rows
    ]
    return table(caption, columns, body, name="variations")


def _why(row: Variation, *, with_note: bool) -> list[Cell]:
    if not with_note:
        return []
    return ["" if row.status == "ok" else str(row.status or DASH)]


def _cost(row: Variation) -> Cell:
    return _marked(f"× {_bare(row)}", row)


def _delay(row: Variation) -> Cell:
    return _marked(several(row.change or 0.0, "bar"), row)


def _change(row: Variation) -> Cell:
    return _marked(_tick(row) if not row.is_base else "0%", row)


def _marked(said: str, row: Variation) -> Cell:
    return html('{said} <span class="note">(this run)</span>', said=said) if row.is_base else said


def _bare(row: Variation) -> str:
    return format_number(row.change, NUMBER)


def _tick(row: Variation) -> str:
    change = row.change or 0.0
    return "0" if change == 0.0 else f"{change * 100:+.0f}%".replace("-", "\u2212")


def _kind(rows: Sequence[Variation], kind: str) -> list[Variation]:
    return [row for row in rows if row.kind == kind]


def _of(rows: Sequence[Variation], name: str) -> list[Variation]:
    return [row for row in rows if row.kind == "param" and row.name == name]


def _parameters(rows: Sequence[Variation]) -> list[str]:
    return list(dict.fromkeys(row.name for row in _kind(rows, "param")))[:MOST_PARAMETERS]


def _plain(value: Any) -> float | int:
    return value.item() if hasattr(value, "item") else value  # type: ignore[no-any-return]
