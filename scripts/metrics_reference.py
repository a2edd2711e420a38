"""The reference page of the metrics, docs/metrics.md, from their catalogue."""

from __future__ import annotations

from pipeline.backtest.catalogue import HEADLINE, METRICS, Metric

INTRO = """# Metrics

{generated}

What is in `stats.json`, in this order in reports. Returns are simple, per bar; the first is measured from the initial
cash. A percentage is kept as a decimal (`0.05` is five percent). An undefined value is null, never infinite or NaN; so
is one whose source is not known: without trades there is no `total_trades`, without fills no `turnover`. What else
there is to the conventions is in [engine.md](engine.md#metrics).

*Better* is what a [sweep](sweeps.md) takes for better when the metric is an objective; a metric without it is none. The
ones in bold are the headline: what reports, `evidence show` and MLflow's description begin with.
"""
WAYS = {"maximize": "larger", "minimize": "smaller", None: "–"}


def metrics_page(generated: str) -> str:
    """Return docs/metrics.md."""
    rows = "\n".join(map(_row, METRICS.values()))
    head = "| metric | label | convention | in | from | better |\n|---|---|---|---|---|---|"
    return f"{INTRO.format(generated=generated)}\n{head}\n{rows}\n"


def _row(metric: Metric) -> str:
    name = f"**`{metric.name}`**" if metric.name in HEADLINE else f"`{metric.name}`"
    cells = (name, metric.label, metric.meaning, metric.unit, metric.source, WAYS[metric.direction])
    return f"| {' | '.join(cells)} |"
