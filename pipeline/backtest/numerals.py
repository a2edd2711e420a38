"""Turn numbers as people write them into floats: decimal commas, thousands, currency signs, K and M.

What a comma means is decided once for all columns of a file, by a value that can be read in one way only.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pipeline.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_SPACES = re.compile(r"[\s\u00a0\u202f'’_]")
_MONEY = re.compile(r"^([+-]?)[$€£¥₹]|[$€£¥₹]$")
# Digits in groups by a sign: thousands, and for a comma the lakhs and crores of India, 12,34,567.
_THOUSANDS = {",": r"(?:\d{1,3}(?:,\d{3})+|\d{1,2}(?:,\d{2})+,\d{3})", ".": r"\d{1,3}(?:\.\d{3})+"}
_SUFFIX = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}
BLANKS = frozenset({"", "-", "--", "–", "—", "n/a", "na", "#n/a", "nan", "null", "none", "."})


def as_numbers(values: pd.DataFrame, decimal: str | None, where: str, section: str = "data") -> pd.DataFrame:
    """Return the columns as numbers, NaN where there is none; `decimal` is the decimal sign, None to find it out.

    Columns that are numbers already stay as they are. Raises DataError where a comma has two meanings, with what to do
    in the section of the spec that names the file.
    """
    import pandas as pd

    if all(is_numeric(values[name]) for name in values.columns):
        return values
    out = values.copy()
    texts = {name: _plain(values[name]) for name in values.columns if not is_numeric(values[name])}
    plain = {name: pd.to_numeric(text, errors="coerce") for name, text in texts.items()}
    hard = {name: text[plain[name].isna() & ~text.isin(BLANKS)] for name, text in texts.items()}
    sign = decimal or "."
    if decimal is not None or any(has_separators(text) for text in hard.values()):
        points = any(_has_fractions(values[name]) for name in values.columns if name not in texts)
        sign = decimal or _decimal_sign(texts, points=points, where=where, section=section)
    for name, text in texts.items():
        read = plain[name] if not len(hard[name]) and (sign == "." or not text.str.contains(r"\.").any()) else None
        out[name] = _numbers(text, sign, suffixes=name == "volume") if read is None else read
    return out


def doubtful_volume(values: pd.DataFrame, decimal: str | None) -> tuple[str, ...]:
    """Return what is to be said of a volume whose points may stand between thousands: `1.234` beside whole prices."""
    if decimal is not None or "volume" not in values.columns:
        return ()
    volume, prices = values["volume"].dropna(), values.drop(columns="volume")
    fractions = volume[volume % 1 != 0]
    grouped = (volume == (volume * 1_000).round() / 1_000).all() and (volume < 1_000).all() and (fractions > 1).all()
    if not len(fractions) or not grouped or (prices % 1 != 0).any(axis=None):
        return ()
    first = fractions.iloc[0]
    said = (
        f"A volume of {first:.3f} was read as {first:g}, not as {first * 1_000:,.0f}, and no other number of the file "
        "tells which it is. Give data.decimal = '.' for the first, ',' for the second."
    )
    return (said,)


def has_separators(text: pd.Series) -> bool:
    """Say whether numbers as text have commas, or points between thousands."""
    return bool(text.str.contains(r",|\.\d{3}\.", regex=True).any())


def is_numeric(column: pd.Series) -> bool:
    """Say whether a column holds numbers, not text."""
    import pandas as pd

    return bool(pd.api.types.is_numeric_dtype(column.dtype))


def blank(values: pd.Series) -> pd.Series:
    """Say of each value whether it stands for none: NaN, an empty cell, a dash, n/a."""
    if is_numeric(values):
        return values.isna()
    return values.isna() | values.astype(str).str.strip().str.lower().isin(BLANKS)


def _plain(column: pd.Series) -> pd.Series:
    """Return text in lower case without blanks, apostrophes between thousands and signs of money."""
    text = column.astype(object).where(column.notna(), "").astype(str)
    text = text.str.replace(_SPACES, "", regex=True).str.replace("−", "-", regex=False)
    return text.str.replace(_MONEY, r"\1", regex=True).str.lower()


def _has_fractions(column: pd.Series) -> bool:
    known = column.dropna()
    return bool((known % 1 != 0).any())


def _decimal_sign(texts: dict[str, pd.Series], *, points: bool, where: str, section: str) -> str:
    """Return the decimal sign that all values agree on."""
    import pandas as pd

    every = pd.concat(list(texts.values()))
    found = {
        ".": points | _is_decimal(every, ".", ","),
        ",": _is_decimal(every, ",", "."),
    }
    if found["."] != found[","]:
        return "." if found["."] else ","
    first = every[every.str.contains(",")].iloc[0]
    if found["."]:
        return "."
    advice = "Give data.decimal = ',' for the first, '.' for the second."
    raise DataError(
        f"{where}: {first!r} has two meanings, {first.replace(',', '.')} and {first.replace(',', '')}, and no other "
        f"value tells which. {advice if section == 'data' else 'Write the numbers with decimal points.'}"
    )


def _is_decimal(text: pd.Series, sign: str, other: str) -> bool:
    """Say whether a value shows that `sign` is the decimal sign: not before three digits, or after the other sign."""
    one, two = re.escape(sign), re.escape(other)
    alone = rf"^[+-]?\d*{one}(?:\d{{1,2}}|\d{{4,}})(?:e[+-]?\d+)?[kmbt]?$"
    zero = rf"^[+-]?0{one}\d+$"
    grouped = rf"^[+-]?{_THOUSANDS[other]}{one}\d*[kmbt]?$"
    twice = rf"^[+-]?(?=.*{two}.*{two}){_THOUSANDS[other]}$"
    return any(bool(text.str.match(pattern).any()) for pattern in (alone, zero, grouped, twice))


def _numbers(text: pd.Series, sign: str, *, suffixes: bool) -> pd.Series:
    import pandas as pd

    other = "," if sign == "." else "."
    digits = text.str.replace(r"[kmbt]$", "", regex=True) if suffixes else text
    # a sign between thousands stands where it groups digits; anywhere else it is an error, and the value none
    grouped = rf"^[+-]?{_THOUSANDS[other]}(?:{re.escape(sign)}\d*)?$"
    fine = digits.str.match(grouped)
    digits = digits.where(~fine, digits.str.replace(other, "", regex=False))
    digits = digits.where(~digits.str.contains(other, regex=False), "")
    numbers = pd.to_numeric(digits.str.replace(sign, ".", regex=False), errors="coerce")
    return numbers * text.str[-1:].map(_SUFFIX).fillna(1.0) if suffixes else numbers
