"""Compute the figures of a sealed run again from its sealed tables: metrics from equity, equity's change from trades.

Nothing of the run is executed. What is compared are this package's formulas (docs/engine.md) on the numbers of
equity.csv and the trades, against what stats.json says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from pipeline.errors import UsageError
from pipeline.files import read_json
from pipeline.replay.closeness import apart, close
from pipeline.results.identity import UNCHECKED

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.replay.sealed_result import SealedResult
    from pipeline.run import Run

ROUNDING = 1e-9  # relative to the larger number: the same sums in another order differ by less
NEEDED = frozenset({"entry_time", "exit_time", "entry_price", "exit_price", "quantity", "side", "fees"}) | {
    "gross_pnl", "net_pnl", "return_pct", "slippage_cost", "bars_held", "is_open",
}  # fmt: skip
OF_TRADES = frozenset(
    {"total_trades", "open_trades", "win_rate", "profit_factor", "best_trade", "worst_trade", "avg_trade"}
    | {"avg_bars_held", "exposure", "turnover", "fees_paid", "slippage_paid"}
)
OWN = "it is a metric of the notebook's own"
DRAWDOWN = "drawdown of each bar"
MALFORMED = (OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError)
Verdict = Literal["equal", "differs", "cannot be checked"]


@dataclass(frozen=True)
class Recomputed:
    """One figure as it was sealed and as it was computed again; None is undefined. `why` it cannot be checked."""

    name: str
    sealed: float | None
    again: float | None
    verdict: Verdict
    why: str = ""

    def __str__(self) -> str:
        if self.verdict == "cannot be checked":
            return f"{self.name}: cannot be checked: {self.why}"
        if self.verdict == "equal":
            return f"{self.name}: equal ({_text(self.sealed)})"
        absolute, _ = apart(self.sealed, self.again)
        size = "" if absolute is None else f" by {absolute:.3g}"
        return f"{self.name}: differs{size}: sealed {_text(self.sealed)}, computed {_text(self.again)}"


@dataclass(frozen=True)
class Recomputation:
    """All figures of one run."""

    run_id: str
    figures: tuple[Recomputed, ...]

    @property
    def equal(self) -> bool:
        """Say whether no figure differs."""
        return all(figure.verdict != "differs" for figure in self.figures)

    def lines(self) -> Iterator[str]:
        """Yield the figures for people, those that differ first, then how many there are of each verdict."""
        order: list[Verdict] = ["differs", "cannot be checked", "equal"]
        for verdict in order:
            yield from (str(figure) for figure in self.figures if figure.verdict == verdict)
        counts = [sum(one.verdict == verdict for one in self.figures) for verdict in order]
        yield f"{self.run_id}: {counts[2]} equal, {counts[0]} different, {counts[1]} that cannot be checked"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"run_id": self.run_id, "equal": self.equal, "figures": [asdict(figure) for figure in self.figures]}


def recompute_run(run: Run) -> Recomputation:
    """Compute all metrics of a run that is not a sweep again; raises UsageError when it left nothing to compute from.

    Verify the run first: this says nothing about who sealed what.
    """
    import pyarrow as pa

    try:
        equity = run.equity.astype(float)
        if equity.empty or "equity" not in equity:
            raise UsageError(f"The run {run.run_id} ({run.status}) left no equity curve to compute from.")
        try:
            trades = run.trades if run.dir.trades_parquet.is_file() else None
        except (OSError, ValueError, pa.ArrowException):
            trades = None
        return Recomputation(run.run_id, tuple(_figures(run, equity, trades)))
    except MALFORMED as error:
        raise UsageError(f"The tables of the run {run.run_id} are not those of a backtest ({error!r}).") from None


def compared(name: str, sealed: Any, again: Any) -> Recomputed:
    """Compare two numbers; None, which is undefined, equals itself only."""
    if sealed is None or again is None:
        return Recomputed(name, sealed, again, "equal" if sealed is again else "differs")
    return Recomputed(name, sealed, again, "equal" if close(sealed, again, ROUNDING) else "differs")


def unchecked(name: str, sealed: Any, why: str) -> Recomputed:
    """Return a figure of which nobody can say whether it is right."""
    return Recomputed(name, sealed, None, "cannot be checked", why)


def _figures(run: Run, equity: pd.DataFrame, trades: pd.DataFrame | None) -> Iterator[Recomputed]:
    from pipeline.backtest.metrics import compute_stats, drawdown
    from pipeline.replay.sealed_result import sealed_result

    cash, used = _cash(run), run.conventions
    curve = equity["equity"]
    other = sealed_result(run, curve, trades)
    if other is not None:
        yield from _of_result(run, other)
        if "drawdown" in equity:
            yield _worst(DRAWDOWN, equity["drawdown"], drawdown(curve, other.result.capital))
        return
    whole = trades is not None and (trades.empty or set(trades.columns) >= NEEDED)
    known = trades if whole and trades is not None and not trades.empty else None
    again = compute_stats(
        curve,
        trades=known,
        fills=_fills(known) if whole else None,
        positions=_positions(known, curve) if whole else None,
        initial_cash=cash,
        periods_per_year=used.periods_per_year,
        risk_free_rate=used.rate,
    )
    again["bankrupt"] = int(bool((curve <= 0.0).any()))
    for name, sealed in run.stats.items():
        if name not in again:
            yield unchecked(name, sealed, OWN)
        elif name in OF_TRADES and not whole:
            yield unchecked(name, sealed, "the run left no trades with the columns of the contract")
        else:
            yield compared(name, sealed, again[name])
    if "drawdown" in equity:
        yield _worst(DRAWDOWN, equity["drawdown"], drawdown(curve, cash))
    if not whole or trades is None:
        yield unchecked("change of equity", None, "the run left no trades with the columns of the contract")
    elif cash is None:
        yield unchecked("change of equity", None, "the spec does not say what it began with")
    else:
        net = 0.0 if known is None else float(known["net_pnl"].sum())
        yield compared("change of equity, from trades", float(curve.iloc[-1]) - cash, net)
        yield from _of_trades(run, known)


def _of_result(run: Run, sealed: SealedResult) -> Iterator[Recomputed]:
    """Compare the metrics of another engine's result, and at how many places its parts do not agree."""
    from pipeline.artifacts import finite_stats
    from pipeline.results.recompute import recompute
    from pipeline.results.reconcile import reconcile

    lost = f"the run's {' and '.join(sealed.missing)} are not there" if sealed.missing else ""
    again = finite_stats(recompute(sealed.result))
    for name, value in run.stats.items():
        if name not in again:
            yield unchecked(name, value, OWN)
        elif lost and value is not None and again[name] is None:
            yield unchecked(name, value, lost)
        else:
            yield compared(name, value, again[name])
    found = sealed.record.reconciliation
    told = {} if found is None else {each.name: each for each in found.identities}
    for each in reconcile(sealed.result).identities:
        before = told.get(each.name)
        if before is not None and lost and each.status != before.status:
            yield unchecked(f"places where not: {each.says}", before.failed, lost)
        elif before is not None and UNCHECKED not in {before.status, each.status}:
            yield compared(f"places where not: {each.says}", before.failed, each.failed)


def _of_trades(run: Run, trades: pd.DataFrame | None) -> Iterator[Recomputed]:
    """Compare each trade with its own prices, quantity and fees, and the summary with the trades."""
    if trades is not None:
        direction = trades["side"].map({"long": 1.0, "short": -1.0})
        gross = direction * trades["quantity"] * (trades["exit_price"] - trades["entry_price"])
        percent = trades["net_pnl"] / (trades["quantity"] * trades["entry_price"]) * 100.0
        yield _worst("gross_pnl of each trade", trades["gross_pnl"], gross)
        yield _worst("net_pnl of each trade", trades["net_pnl"], trades["gross_pnl"] - trades["fees"])
        yield _worst("return_pct of each trade", trades["return_pct"], percent)
    try:
        told = read_json(run.dir.trades_summary)["all"]["net_pnl"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    yield compared("net_pnl of the summary", told, 0.0 if trades is None else float(trades["net_pnl"].sum()))


def _worst(name: str, sealed: pd.Series, again: pd.Series) -> Recomputed:
    """Compare two columns by the row in which they are furthest apart; NaN is undefined."""
    pairs: Iterable[tuple[float, float]] = zip(sealed.astype(float), again.astype(float), strict=True)
    found = [compared(name, *(None if value != value else value for value in pair)) for pair in pairs]  # noqa: PLR0124
    if not found:
        return unchecked(name, None, "there are no rows")
    return max(found, key=lambda one: (one.verdict == "differs", apart(one.sealed, one.again)[0] or 0.0))


def _cash(run: Run) -> float | None:
    return None if run.spec is None or run.spec.backtest is None else run.spec.backtest.initial_cash


def _fills(trades: pd.DataFrame | None) -> pd.DataFrame:
    """Return the executions that trades are made of, the costs of both with the first."""
    import pandas as pd

    columns = {"price": "entry_price", "quantity": "quantity", "fee": "fees", "slippage_cost": "slippage_cost"}
    if trades is None:
        return pd.DataFrame(columns=list(columns), dtype=float)
    entries = pd.DataFrame({name: trades[column] for name, column in columns.items()})
    closed = trades[~trades["is_open"].astype(bool)]
    exits = pd.DataFrame({"price": closed["exit_price"], "quantity": closed["quantity"]}).assign(
        fee=0.0, slippage_cost=0.0
    )
    return pd.concat([entries, exits])


def _positions(trades: pd.DataFrame | None, curve: pd.Series) -> pd.Series:
    """Return how many trades hold something at the close of each bar: from entry until before exit, open ones on."""
    import numpy as np
    import pandas as pd

    steps = np.zeros(len(curve) + 1)
    if trades is not None:
        first = curve.index.searchsorted(pd.DatetimeIndex(trades["entry_time"]))
        last = curve.index.searchsorted(pd.DatetimeIndex(trades["exit_time"]))
        np.add.at(steps, first, 1.0)
        np.add.at(steps, np.where(trades["is_open"].astype(bool), len(curve), last), -1.0)
    return pd.Series(np.cumsum(steps)[:-1], index=curve.index)


def _text(value: float | None) -> str:
    return "undefined" if value is None else repr(value)
