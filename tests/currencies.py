"""Bars of a market whose year has neither 252 nor 365 days: currencies, daily, with a bar on Sundays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

BARS_A_YEAR = 313.0


def write_currencies(root: Path) -> dict[str, Any]:
    """Write six years of bars below `root`; return the section of a spec that names four months of them."""
    days = pd.date_range("2010-01-01", "2015-12-31", tz="UTC")
    days = days[days.day_of_week != 5]
    close = 1.1 + 0.05 * np.sin(np.arange(len(days)) / 9.0)
    columns = {"timestamp": days.strftime("%Y-%m-%d"), "open": close, "high": close, "low": close, "close": close}
    pd.DataFrame(columns).to_csv(root / "eurusd.csv", index=False)
    return {"source": "eurusd.csv", "symbol": "EURUSD", "start": "2013-02-01", "end": "2013-05-31"}
