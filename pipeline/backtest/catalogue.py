"""The catalogue of metrics: what each is called, how it is shown, which way is better, by which convention it is made.

Reports, listings, MLflow's description, the objectives of sweeps and the docs take theirs from here. `metrics.py`
computes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["percent", "points", "ratio", "money", "price", "count", "flag", "number"]
Direction = Literal["maximize", "minimize"]
Source = Literal["equity", "bars", "trades", "closed trades", "holdings", "fills"]

PERCENT: Final = "percent"
POINTS: Final = "points"
RATIO: Final = "ratio"
MONEY: Final = "money"
PRICE: Final = "price"
COUNT: Final = "count"
FLAG: Final = "flag"
NUMBER: Final = "number"
UNITS: dict[Kind, str] = {
    PERCENT: "decimal, shown as a percentage",
    RATIO: "ratio",
    MONEY: "money, in the currency of the prices",
    COUNT: "count",
    FLAG: "0 or 1",
    NUMBER: "number",
}
IN_SENTENCE = frozenset({"Sharpe", "Sortino", "Calmar", "CAGR"})  # names that keep their capital there


@dataclass(frozen=True)
class Metric:
    """One entry of stats.json: its label, the kind of number it is, and the convention behind it.

    `direction` is the way it is better, None where neither is, and then it is no objective. `source` is what it is
    computed from: where that is not known, the metric is not. `short` is a label for narrow columns.
    """

    name: str
    label: str
    kind: Kind
    meaning: str
    direction: Direction | None = None
    source: Source = "equity"
    short: str = ""

    @property
    def unit(self) -> str:
        """What the number in stats.json is in."""
        return UNITS[self.kind]

    @property
    def brief(self) -> str:
        """The label where there is little room."""
        return self.short or self.label

    @property
    def inside(self) -> str:
        """The label inside a sentence: `Sharpe ratio`, `maximum drawdown`."""
        kept = self.label.split()[0] in IN_SENTENCE
        return self.label if kept else self.label[:1].lower() + self.label[1:]


_ALL = (
    Metric(
        "total_return", "Total return", PERCENT, "Final equity over initial cash, minus 1, after all costs.",
        "maximize",
    ),
    Metric(
        "cagr", "CAGR", PERCENT, "Compound annual growth by calendar time; a year is 365.25 days.",
        "maximize",
    ),
    Metric(
        "annual_volatility", "Annual volatility", PERCENT,
        "Standard deviation of simple returns (ddof 1), times the square root of bars a year.",
        "minimize", short="Volatility",
    ),
    Metric(
        "sharpe", "Sharpe ratio", RATIO,
        "Mean over standard deviation (ddof 1) of returns in excess of the risk-free rate, annualised.",
        "maximize", short="Sharpe",
    ),
    Metric(
        "sortino", "Sortino ratio", RATIO, "Mean excess return over downside deviation across all bars, annualised.",
        "maximize", short="Sortino",
    ),
    Metric("calmar", "Calmar ratio", RATIO, "CAGR over the absolute maximum drawdown.", "maximize", short="Calmar"),
    Metric(
        "max_drawdown", "Maximum drawdown", PERCENT, "Deepest fall below the highest equity so far.",
        "maximize", short="Max drawdown",  # drawdowns are negative, so the greatest is the mildest
    ),
    Metric(
        "time_in_drawdown", "Time in drawdown", PERCENT, "Share of bars below the highest equity so far.", "minimize"
    ),
    Metric("skewness", "Skewness", RATIO, "Third standardised population moment of returns per bar.", "maximize"),
    Metric(
        "kurtosis", "Kurtosis", RATIO, "Fourth standardised population moment; a normal distribution has 3.", "minimize"
    ),
    Metric("final_equity", "Final equity", MONEY, "Cash plus positions at the last close.", "maximize"),
    Metric(
        "total_trades", "Closed trades", COUNT, "Trades with an exit; an open one is not counted.",
        "minimize", "trades", short="Trades",
    ),
    Metric(
        "open_trades", "Open trades", COUNT, "Positions still held at the last bar, marked to market.", source="trades"
    ),
    Metric(
        "win_rate", "Win rate", PERCENT, "Share of closed trades with a net profit.", "maximize", "closed trades"
    ),
    Metric(
        "profit_factor", "Profit factor", RATIO, "Sum of net profits over sum of net losses of closed trades.",
        "maximize", "closed trades",
    ),
    Metric(
        "avg_trade", "Average trade", PERCENT, "Mean net return of closed trades on their entry value.",
        "maximize", "closed trades",
    ),
    Metric(
        "best_trade", "Best trade", PERCENT, "Highest net return of a closed trade on its entry value.",
        "maximize", "closed trades",
    ),
    Metric(
        "worst_trade", "Worst trade", PERCENT, "Lowest net return of a closed trade on its entry value.",
        "maximize", "closed trades",
    ),
    Metric(
        "avg_bars_held", "Average holding time", NUMBER, "Mean number of bars a closed trade was held.",
        "minimize", "closed trades",
    ),
    Metric("exposure", "Exposure", PERCENT, "Share of bars with a position at the close.", "minimize", "holdings"),
    Metric("turnover", "Turnover a year", RATIO, "Value traded over mean equity, by year.", "minimize", "fills"),
    Metric(
        "avg_gross_exposure", "Average gross exposure", PERCENT, "Mean sum of absolute weights, over all bars.",
        source="holdings",
    ),
    Metric(
        "avg_net_exposure", "Average net exposure", PERCENT,
        "Mean sum of weights, short ones negative, over all bars.", source="holdings",
    ),
    Metric(
        "avg_concentration", "Average concentration", RATIO,
        "Sum of squared weights over the squared gross exposure, mean of the bars with holdings.", source="holdings",
    ),
    Metric(
        "avg_effective_positions", "Average effective positions", RATIO,
        "One over the concentration of a bar, mean of the bars with holdings.", source="holdings",
    ),
    Metric("fees_paid", "Fees paid", MONEY, "Sum of the fees of all fills.", "minimize", "fills"),
    Metric(
        "slippage_paid", "Slippage paid", MONEY, "Sum of what slippage cost on all fills.", "minimize", "fills"
    ),
    Metric(
        "bankrupt", "Account ruined", FLAG,
        "Whether equity fell to zero or below; trading stops there.", source="bars",
    ),
    Metric("n_bars", "Bars", COUNT, "Number of bars in the equity curve.", source="bars"),
    Metric("periods_per_year", "Bars a year", NUMBER, "Annualises volatility and ratios.", source="bars"),
)  # fmt: skip
METRICS = {metric.name: metric for metric in _ALL}
HEADLINE = ("total_return", "cagr", "sharpe", "max_drawdown", "annual_volatility", "total_trades")
IN_PLACE = "calmar"  # takes the place of a headline that is not known
DIRECTIONS: dict[str, Direction] = {metric.name: metric.direction for metric in _ALL if metric.direction is not None}
WITH_BENCHMARK = frozenset(metric.name for metric in _ALL if metric.source == "equity")
OF_TRADES = frozenset(metric.name for metric in _ALL if metric.source == "closed trades")
# not shown where they are not known, as there is nothing of their kind: no trades, no weights, no fills
OPTIONAL = frozenset(metric.name for metric in _ALL if metric.source in ("trades", "holdings", "fills"))


def metric(name: str) -> Metric:
    """Return how the metric `name` is shown; one that the catalogue does not have keeps its own name."""
    return METRICS.get(name) or Metric(name, name, NUMBER, "")
