"""Figures as data: valid for plotly, small, whole numbers of points, no NaN."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.backtest.analysis import qq_points, return_histogram, rolling_stats
from pipeline.palette import DARK, LIGHT, Palette, matplotlib_style
from pipeline.report.figures import Figure, equity_figure, figure_block, yearly_figure
from pipeline.report.figures_risk import activity_figure, histogram_figure, qq_figure, rolling_figure
from pipeline.report.figures_trades import cumulative_figure, duration_figure, excursion_figure, returns_figure
from pipeline.report.small_multiples import Panel, small_multiples
from pipeline.report.writer import Writer


def curve(n: int, freq: str = "D", benchmark: bool = True) -> pd.DataFrame:
    index = pd.date_range("2020-01-01", periods=n, freq=freq, tz="UTC", name="timestamp")
    equity = 1e5 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.01, n)))
    table = pd.DataFrame({"equity": equity, "drawdown": equity / np.maximum.accumulate(equity) - 1}, index=index)
    return table.assign(benchmark_equity=equity if benchmark else np.nan)


def risk_figures() -> list[Figure]:
    own = curve(300)["equity"]
    rolling = rolling_stats(own, window=20, periods_per_year=252, benchmark=own)
    returns = own.pct_change().dropna().to_numpy()
    months = pd.date_range("2020-01-01", periods=3, freq="MS", tz="UTC")
    activity = pd.DataFrame({"long": [0.1, 0.2, 0.0], "short": [0.0, 0.5, 1.0], "turnover": [1.0, np.nan, 0.0]}, months)
    return [
        rolling_figure(rolling, None), rolling_figure(rolling, rolling),
        histogram_figure(return_histogram(returns)), qq_figure(qq_points(returns)), activity_figure(activity),
    ]  # fmt: skip


def trade_figures(n: int) -> list[Figure]:
    rng = np.random.default_rng(2)
    pnl = pd.Series(rng.normal(0, 100, n), pd.date_range("2020-01-01", periods=n, freq="h", tz="UTC"))
    trades = pd.DataFrame({"trade_id": range(n), "net_pnl": pnl.to_numpy(), "mae": -0.1, "mfe": 0.2})
    held = rng.integers(0, 90, n).astype(float)
    return [
        returns_figure(pnl.to_numpy() / 1e4),
        cumulative_figure(pnl),
        excursion_figure(trades),
        duration_figure(held),
    ]


@pytest.mark.parametrize(
    "figure",
    [
        equity_figure(curve(300)),
        equity_figure(curve(1)),
        equity_figure(curve(50_000, "min", benchmark=False)),
        yearly_figure(["2020", "2021"], [0.1, -0.2], [0.0, float("nan")]),
        *risk_figures(),
        *trade_figures(1),
        *trade_figures(5_000),
    ],
)
def test_plotly_accepts_every_figure(figure: Figure) -> None:
    """Each figure passes the validation of plotly's own Python classes, property by property."""
    graph_objects = pytest.importorskip("plotly.graph_objects")
    graph_objects.Figure(figure)


def test_long_curves_are_thinned() -> None:
    """A million bars make a figure of some tens of kilobytes, with the curve's high and low in it."""
    table = curve(1_000_000, "min")
    figure = equity_figure(table)
    text = json.dumps(figure, allow_nan=False)
    assert len(text) < 250_000
    values = [y for y in figure["data"][0]["y"] if y is not None]
    assert max(values) == pytest.approx(table["equity"].max(), rel=1e-5)
    assert min(values) == pytest.approx(table["equity"].min(), rel=1e-5)


def test_many_trades_stay_small() -> None:
    """A hundred thousand trades make figures of some tens of kilobytes; every trade is counted in the histograms."""
    returns, cumulative, excursions, held = trade_figures(100_000)
    assert sum(sum(trace["y"]) for trace in returns["data"]) == sum(held["data"][0]["y"]) == 100_000
    assert len(json.dumps([returns, cumulative, excursions, held], allow_nan=False)) < 250_000


def test_small_multiples_share_a_scale_and_speak() -> None:
    """Every panel has the same ticks, zero among them, its values in words, and escapes its names."""
    panels = [Panel("a<b>", ["1", "2"], [-0.5, 0.25], base=1), Panel("c", ["x"], [None]), Panel("d", ["x"], [1.2])]
    text = Writer().write(small_multiples("m", panels, caption="C", what="Sharpe ratio"))
    charts = text.split('<div class="panel">')[1:]
    assert len(charts) == 3
    grids = {tuple(part.split("<")[0] for part in chart.split('text-anchor="end">')[1:]) for chart in charts}
    assert grids == {("\u22120.5", "0", "0.5", "1.0", "1.5")}
    assert 'aria-label="Sharpe ratio by a&lt;b&gt;. 1: \u22120.50, 2: 0.25"' in text
    assert text.count('class="base"') == 1
    assert small_multiples("m", [Panel("c", ["x"], [None])], caption="C", what="W") == ()


def test_times_within_a_day_are_kept() -> None:
    """Daily bars carry dates, shorter ones carry times, both in UTC."""
    assert equity_figure(curve(3))["data"][0]["x"][1] == "2020-01-02"
    assert equity_figure(curve(3, "h"))["data"][0]["x"][1] == "2020-01-01T01:00:00"


def test_a_curve_without_benchmark_has_no_benchmark() -> None:
    """An empty column draws no line and no legend entry."""
    assert [trace["name"] for trace in equity_figure(curve(9, benchmark=False))["data"]] == ["Strategy", "Drawdown"]


def test_a_plotly_figure_becomes_a_block_without_its_template() -> None:
    """A figure of plotly's classes can be used in a template; the page's own theme applies."""
    graph_objects = pytest.importorskip("plotly.graph_objects")
    figure = graph_objects.Figure([graph_objects.Scatter(y=[1, 2])])
    text = figure_block("mine", figure, caption="C", label="L")
    data = json.loads(text.split('data-for="plot-mine">')[1].split("</script>")[0])
    assert data["data"][0]["type"] == "scatter"
    assert "template" not in data["layout"]


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_colours_have_contrast(palette: Palette) -> None:
    """Text and lines stand out from the background: 4.5 to 1."""
    ground = luminance(palette.background)
    for name in ("strategy", "benchmark", "drawdown", "gain", "loss", "text", "muted"):
        ink = luminance(getattr(palette, name))
        assert (max(ink, ground) + 0.05) / (min(ink, ground) + 0.05) >= 4.5, name


def test_style_sheet_and_palette_agree() -> None:
    """The page and the static figures use the same colours."""
    from pipeline.report.resolve import ASSETS

    css = (ASSETS / "report.css").read_text()
    for name in ("background", "strategy", "benchmark", "drawdown", "gain", "loss", "text", "muted"):
        assert f"--{name}: light-dark({getattr(LIGHT, name)}, {getattr(DARK, name)});" in css
    assert f"--line: light-dark({LIGHT.grid}, {DARK.grid});" in css


def test_matplotlib_takes_the_style() -> None:
    """Every key of the static style is one matplotlib knows."""
    import matplotlib as mpl

    settings: dict[str, Any] = matplotlib_style()
    with mpl.rc_context(settings):
        assert mpl.rcParams["axes.grid"]


def test_vendored_plotly_is_the_noted_one() -> None:
    """The bundle is the file its note describes."""
    from pipeline.digest import sha256_file
    from pipeline.report.resolve import ASSETS

    note = (ASSETS / "README.md").read_text()
    assert sha256_file(ASSETS / "plotly-basic.min.js") in note
    assert (ASSETS / "LICENSE-plotly.txt").read_text().startswith("MIT License")
