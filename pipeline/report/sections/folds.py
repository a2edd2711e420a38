"""Train and test windows, their scores, and the equity of the test windows alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pipeline.backtest.catalogue import NUMBER, PERCENT, RATIO
from pipeline.report.blocks import Blocks, Cell, Column, chart, table, text
from pipeline.report.numbers import DASH, format_number, several

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.report.facts import Facts
    from pipeline.results.contract import Fold

MOST = 60  # rows of the table
DAY = 10


def folds(facts: Facts) -> Blocks:
    """Return the folds as a table and the stitched out-of-sample curve; empty without folds."""
    found = facts.kept.folds
    if not found:
        return ()
    return _table(facts, found) + _stitched(facts, found)


def tested_windows(facts: Facts) -> list[tuple[str, str]]:
    """Return first and last time of each test window that the equity figure shades; none of very many."""
    windows = [(fold.test_start, fold.test_end) for fold in facts.kept.folds]
    return windows[:: 2 if _adjoining(windows) else 1] if len(windows) <= MOST else []


def _adjoining(windows: list[tuple[str, str]]) -> bool:
    """Say whether the test windows follow on each other, so that shading all of them would tell nothing apart."""
    import itertools

    import pandas as pd

    ends = [(_stamp(begin), _stamp(end)) for begin, end in windows]
    return len(ends) > 1 and all(
        later[0] - earlier[1] <= pd.Timedelta(days=DAY) for earlier, later in itertools.pairwise(ends)
    )


def _table(facts: Facts, found: tuple[Fold, ...]) -> Blocks:
    trained = any(fold.train_start or fold.train_end for fold in found)
    params = any(fold.params for fold in found)
    scored = any(fold.score_in is not None or fold.score_out is not None for fold in found)
    columns = [Column("Fold", numeric=True), *([Column("Trained on")] if trained else []), Column("Tested on")]
    columns += [Column("Params")] if params else []
    columns += [Column("Score in", numeric=True), Column("Score out", numeric=True)] if scored else []
    columns += [Column("Return", numeric=True), Column("Sharpe", numeric=True)]
    rows = []
    for number, fold in enumerate(found[:MOST], start=1):
        row: list[Cell] = [str(number)]
        row += [_window(fold.train_start, fold.train_end)] if trained else []
        row.append(_window(fold.test_start, fold.test_end))
        row += [_params(fold)] if params else []
        row += [format_number(fold.score_in, NUMBER), format_number(fold.score_out, NUMBER)] if scored else []
        rows.append([*row, *_numbers(facts, _inside(facts.returns, fold))])
    shown = f", of which the first {MOST} are shown" if len(found) > MOST else ""
    caption = f"{several(len(found), 'fold')}{shown}; "
    caption += "scores are those of the run, " if scored else ""
    caption += "return and annualised Sharpe ratio are computed here from the returns inside the test window"
    return table(caption, columns, rows, name="falls")


def _numbers(facts: Facts, returns: pd.Series) -> list[Cell]:
    import numpy as np

    from pipeline.backtest.metrics import return_stats

    if returns.empty:
        return [DASH, DASH]
    used = facts.conventions
    values = returns.to_numpy(dtype=float)
    stats = return_stats(values, periods_per_year=used.periods_per_year, risk_free_rate=used.rate)
    growth = float(np.prod(1.0 + values)) - 1.0
    return [format_number(growth, PERCENT), format_number(stats["sharpe"], RATIO)]


def _stitched(facts: Facts, found: tuple[Fold, ...]) -> Blocks:
    """Return the curve of the returns inside the test windows, one after the other."""
    import pandas as pd

    parts = [_inside(facts.returns, fold) for fold in found]
    together = pd.concat(parts) if parts else facts.returns.iloc[:0]
    if len(together) < 2:
        return text("No return of the equity lies inside a test window.")
    if together.index.has_duplicates:
        return text("Test windows overlap, so there is no one out-of-sample curve of them.")
    together = together.sort_index()
    growth, sharpe = _numbers(facts, together)
    said = f"total return {growth}, Sharpe ratio {sharpe}, {several(len(together), 'return')}"
    if len(together) == len(facts.returns):
        return text(f"Every return of the equity lies inside a test window: all of it is out of sample ({said}).")
    from pipeline.report.figures_portfolio import stitched_figure

    start = facts.initial_cash or 1.0
    curve = (1.0 + together).cumprod() * start
    caption = f"Out of sample: the returns inside the test windows alone, one after the other; {said}."
    label = f"Line chart of the equity of the test windows, stitched together: {said}."
    return chart("stitched", stitched_figure(curve, facts.unit), caption=caption, label=label, height=300)


def _inside(returns: pd.Series, fold: Fold) -> pd.Series:
    """Return the returns that end inside the test window of a fold; a window that ends with a day holds all of it."""
    import pandas as pd

    begin, end = _stamp(fold.test_start), _stamp(fold.test_end)
    if end == end.normalize():
        end += pd.Timedelta(days=1) - pd.Timedelta(1, "ns")
    return returns[(returns.index >= begin) & (returns.index <= end)]


def _stamp(text: str) -> pd.Timestamp:
    import pandas as pd

    stamp = pd.Timestamp(text)
    return stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp.tz_convert("UTC")


def _window(begin: str | None, end: str | None) -> str:
    return f"{(begin or '')[:DAY] or DASH} to {(end or '')[:DAY] or DASH}"


def _params(fold: Fold) -> str:
    return ", ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in (fold.params or {}).items())
