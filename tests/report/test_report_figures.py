"""Figures as data: valid for plotly, small, whole numbers of points, no NaN."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.palette import DARK, LIGHT, Palette, matplotlib_style
from pipeline.report.figures import Figure, equity_figure, figure_block, yearly_figure


def curve(n: int, freq: str = "D", benchmark: bool = True) -> pd.DataFrame:
    index = pd.date_range("2020-01-01", periods=n, freq=freq, tz="UTC", name="timestamp")
    equity = 1e5 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.01, n)))
    table = pd.DataFrame({"equity": equity, "drawdown": equity / np.maximum.accumulate(equity) - 1}, index=index)
    return table.assign(benchmark_equity=equity if benchmark else np.nan)


@pytest.mark.parametrize(
    "figure",
    [
        equity_figure(curve(300)),
        equity_figure(curve(1)),
        equity_figure(curve(50_000, "min", benchmark=False)),
        yearly_figure(["2020", "2021"], [0.1, -0.2], [0.0, float("nan")]),
    ],
    ids=["daily", "one bar", "minutes", "years"],
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
