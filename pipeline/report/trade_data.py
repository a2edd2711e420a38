"""All trades of a run as compact JSON, column by column, which the page's script shows some rows at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.backtest.catalogue import COUNT, MONEY, NUMBER, PERCENT, PRICE
from pipeline.escape import clean, script_json
from pipeline.report.numbers import money_decimals, price_decimals

if TYPE_CHECKING:
    import pandas as pd

MOST_BYTES = 3_000_000
DAY_NS, MINUTE_NS, SECOND_NS = 86_400_000_000_000, 60_000_000_000, 1_000_000_000


def packed(trades: pd.DataFrame, columns: Sequence[tuple[str, str, str, bool]]) -> str | None:
    """Return the columns (name, heading, kind, signed) of all trades as JSON; None when that is too large for a page.

    Kinds are those of `numbers`, and `time`, `day` and `text`. Amounts and percentages are hundredths, whole but for
    the smallest amounts; times are differences in days, minutes or seconds, texts are numbers of a list: a trade takes
    about 60 bytes.
    """
    packs = {
        COUNT: _counts, NUMBER: _numbers, MONEY: _amounts, PRICE: _prices, PERCENT: _hundredths, "time": _times,
        "day": _times, "text": _texts,
    }  # fmt: skip
    shown = [
        {"heading": heading, "kind": kind, "signed": signed, **packs[kind](trades[name])}
        for name, heading, kind, signed in columns
    ]
    is_open = [place for place, still in enumerate(trades["is_open"].astype(bool)) if still]
    text = script_json({"columns": shown, "open": is_open, "rows": len(trades)})
    return text if len(text) <= MOST_BYTES else None


def _counts(values: pd.Series) -> dict[str, Any]:
    return {"data": [int(value) if math.isfinite(value) else None for value in _floats(values)]}


def _hundredths(values: pd.Series) -> dict[str, Any]:
    return {"data": [round(value * 100) if math.isfinite(value) else None for value in _floats(values)]}


def _amounts(values: pd.Series) -> dict[str, Any]:
    def hundredths(value: float) -> float | int:
        decimals = money_decimals(value) - 2
        return round(value * 100, decimals) if decimals else round(value * 100)

    return {"data": [hundredths(value) if math.isfinite(value) else None for value in _floats(values)]}


def _prices(values: pd.Series) -> dict[str, Any]:
    found = [round(value, price_decimals(value)) if math.isfinite(value) else None for value in _floats(values)]
    return {"data": [value if value is None or value != int(value) else int(value) for value in found]}


def _numbers(values: pd.Series) -> dict[str, Any]:
    return {"data": [_four_digits(value) for value in _floats(values)]}


def _four_digits(value: float) -> float | int | str | None:
    """Return a number rounded as the page shows it; one whose decimals round to 0 as text, so that it keeps them."""
    if not math.isfinite(value) or value == int(value):
        return int(value) if math.isfinite(value) else None
    decimals = max(0, 3 - math.floor(math.log10(abs(value))))
    shown = round(value, decimals)
    if shown != int(shown) or decimals == 0:
        return shown if decimals else int(shown)
    return f"{shown:.{decimals}f}"


def _times(values: pd.Series) -> dict[str, Any]:
    """Return times as differences from one to the next, in the largest unit that loses nothing above a second."""
    import pandas as pd

    stamps = pd.DatetimeIndex(pd.to_datetime(values, utc=True, errors="coerce")).as_unit("ns")
    known = [None if missing else int(stamp) for stamp, missing in zip(stamps.asi8, stamps.isna(), strict=True)]
    unit = next((u for u in (DAY_NS, MINUTE_NS) if all(k is None or k % u == 0 for k in known)), SECOND_NS)
    before = 0
    steps: list[int | None] = []
    for stamp in known:
        if stamp is None:
            steps.append(None)
        else:
            steps.append(stamp // unit - before)
            before = stamp // unit
    return {"seconds": unit // SECOND_NS, "steps": steps}


def _texts(values: pd.Series) -> dict[str, Any]:
    codes: dict[str, int] = {}
    data = [codes.setdefault(" ".join(clean(value).split()), len(codes)) for value in values]
    return {"texts": list(codes), "data": data}


def _floats(values: pd.Series) -> list[float]:
    import pandas as pd

    return [float(value) for value in pd.to_numeric(values, errors="coerce").astype(float)]
