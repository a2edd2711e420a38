"""Which names of columns mean what: those of exporters and libraries, compared in any case."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache

from pipeline.errors import DataError, nearest

PRICES = ("open", "high", "low", "close")
ALIASES: Mapping[str, tuple[str, ...]] = {
    "timestamp": (
        "timestamp", "date", "datetime", "time", "date time", "open time", "dates", "dtyyyymmdd", "datum",
        "date-time", "gmt time", "local time", "t",
    ),
    "time": ("time", "zeit", "uhrzeit"),
    "open": ("open", "o", "px open", "open price", "price open", "eröffnung", "eröffnungskurs", "erster"),
    "high": ("high", "h", "px high", "high price", "price high", "hoch", "tageshoch", "höchstkurs"),
    "low": ("low", "l", "px low", "low price", "price low", "tief", "tagestief", "tiefstkurs"),
    "close": (
        "close", "c", "last", "px last", "close/last", "close price", "price close", "schluss", "schlusskurs", "price",
        "adj close", "adjusted close",
    ),
    "volume": ("volume", "vol", "v", "vol.", "px volume", "tickvol", "tick volume", "volumen"),
    "ticker": ("ticker", "symbol", "instrument", "name"),
}  # fmt: skip
OPTIONAL = frozenset({"time", "volume"})
MAPPABLE = tuple(name for name in ALIASES if name != "ticker")


def plain_name(name: str) -> str:
    """Return a column's name as it is compared: in any case, blanks for underscores, without <>."""
    return name.strip().strip("<>\"'").strip().casefold().replace("_", " ")


@cache
def known_as(name: str) -> str | None:
    """Return which of our columns a name of a file means, None when it is none of them."""
    plain = plain_name(name)
    return next((ours for ours, aliases in ALIASES.items() if plain in aliases), None)


def match_columns(found: list[str], mapping: Mapping[str, str], where: str) -> dict[str, str]:
    """Return our name -> the file's name; time and volume may be absent, `""` in the mapping leaves them out.

    A time of day is taken beside a date only. Raises DataError with all problems and what to write in the spec.
    """
    problems = [
        f"{name!r} is not one of our columns. {nearest(name, MAPPABLE)}" for name in mapping if name not in MAPPABLE
    ]
    chosen: dict[str, str] = {}
    for name in MAPPABLE:
        said = _chosen(name, found, mapping)
        if isinstance(said, _Problem):
            problems.append(said)
        elif said:
            chosen[name] = said
    if "time" not in mapping and ("timestamp" in mapping or not _is_date_beside_time(chosen)):
        chosen.pop("time", None)
    if problems:
        listed = "\n".join(f"  - {line}" for line in problems)
        raise DataError(f"{where} has columns {', '.join(found)}:\n{listed}\n{_advice(found, problems)}")
    return chosen


class _Problem(str):
    """What is wrong with one column."""

    __slots__ = ()


def _chosen(name: str, found: list[str], mapping: Mapping[str, str]) -> str | _Problem:
    """Return the file's name for one of ours, empty text when it has none and needs none."""
    if name in mapping:
        wanted = mapping[name]
        if wanted in found or (not wanted and name in OPTIONAL):
            return wanted
        return _Problem(f"{name} is mapped to {wanted!r}, which is not in the file. {nearest(wanted, found)}")
    taken = set(mapping.values())
    for alias in ALIASES[name]:
        hits = [item for item in found if plain_name(item) == alias and item not in taken]
        if len(hits) > 1:
            return _Problem(f"{' and '.join(map(repr, hits))} could both be {name}.")
        if hits:
            return hits[0]
    if name in OPTIONAL:
        return ""
    return _Problem(f"no column for {name}; tried {', '.join(ALIASES[name])} in any case.")


def _is_date_beside_time(chosen: Mapping[str, str]) -> bool:
    date, time = chosen.get("timestamp", ""), chosen.get("time", "")
    return bool(time) and time != date and plain_name(date) in {"date", "dates", "dtyyyymmdd", "datum"}


def _advice(found: list[str], problems: Collection[str]) -> str:
    missing = [name for name in MAPPABLE if any(line.startswith(f"no column for {name};") for line in problems)]
    if len(found) == 1 and "," in found[0]:
        return "Each line is one quoted text: take the quotes around whole lines off."
    values = [name for name in found if known_as(name) == "close" or (len(found) == 2 and known_as(name) is None)]
    if missing[:3] == ["open", "high", "low"] and values:
        price = values[0]
        return (
            f"Bars of one price only: name it for all, as data.columns = {{ open = {price!r}, high = {price!r}, "
            f"low = {price!r}, close = {price!r} }}."
        )
    wanted = (missing or ["open"])[0]
    others = [name for name in found if known_as(name) is None]
    dates = [name for name in others if wanted == "timestamp" and ("date" in name.lower() or "time" in name.lower())]
    return f"Name them in data.columns, as {wanted} = {(dates or others or ['Open'])[0]!r}."
