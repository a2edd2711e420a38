"""Compare executed notebooks: what each cell printed and showed, apart from run_id, paths and times."""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from pipeline.digest import sha256_bytes
from pipeline.replay.closeness import close

NOT_OF_THE_INPUT = frozenset({"injected-parameters", "papermill-error-cell-tag"})
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
PATH = re.compile(r"(?<![\w:/.<])(?:/(?:[\w.@+~-]+/)+[\w.@+~-]*|[A-Za-z]:\\(?:[\w.@+~ -]+\\)*[\w.@+~-]+)")
MOMENT = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?")
NOISE = (
    (UUID, "<uuid>"),
    (PATH, "<path>"),
    (re.compile(r"\b0x[0-9a-f]{6,16}\b", re.IGNORECASE), "<address>"),
    (re.compile(r"^(?:CPU times|Wall time): .*$", re.MULTILINE), "<seconds>"),
    (re.compile(r"\[[\d:]+<[\d:?]+, [^\]]*\]"), "<progress>"),
    (re.compile(r"^.*: TqdmWarning: .*\n(?:  .*\n)?", re.MULTILINE), ""),  # of who imported tqdm first, for whom
    (re.compile(r"\bT_[0-9a-f]{5}(?=[_\"'\s#{])"), "T_<style>"),
)
BAR = re.compile(r"[^|]{0,200}?\d+%\|[^|]*\| *\S+ \[[^\]]*\]")  # of tqdm, at the start of what is written over
NUMBER = re.compile(r"[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
BINARY = ("image/png", "image/jpeg", "application/pdf")
UNSTABLE = ("application/vnd.jupyter.widget",)
A_DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class CellDifference:
    """One cell, counted from 0 in the input notebook, that differs; `what` is source, output or presence."""

    cell: int
    what: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"cell {self.cell}: {self.what}: {_excerpt(self.before)} -> {_excerpt(self.after)}"


@dataclass(frozen=True)
class Executed:
    """An executed notebook, and by whom and when: the run_id and wall-clock times of that span are not results."""

    path: Path
    run_id: str = ""
    started: dt.datetime | None = None
    finished: dt.datetime | None = None

    @property
    def cells(self) -> list[Mapping[str, Any]]:
        """Return the code cells of the input notebook as executed; none when there is no notebook."""
        try:
            cells = json.loads(self.path.read_bytes())["cells"]
        except (OSError, ValueError, KeyError):
            return []
        return [cell for cell in cells if not NOT_OF_THE_INPUT & set(cell["metadata"].get("tags", []))]


def compare_notebooks(before: Executed, after: Executed, *, tolerance: float | None) -> tuple[CellDifference, ...]:
    """Return the cells whose source or outputs differ. With a tolerance numbers in text may differ by it, and images
    are not compared.
    """
    return tuple(_differences(before, after, tolerance))


def _differences(before: Executed, after: Executed, tolerance: float | None) -> Iterator[CellDifference]:
    for index, (old, new) in enumerate(zip_longest(before.cells, after.cells)):
        if old is None or new is None:
            yield CellDifference(index, "presence", *("there" if cell else "absent" for cell in (old, new)))
        elif _text(old["source"]) != _text(new["source"]):
            yield CellDifference(index, "source", *_around(_text(old["source"]), _text(new["source"])))
        else:
            outputs = shown(old, before, binary=tolerance is None), shown(new, after, binary=tolerance is None)
            if not _alike(*outputs, tolerance):
                yield CellDifference(index, "output", *_around(*outputs))


def shown(cell: Mapping[str, Any], run: Executed, *, binary: bool = True) -> str:
    """Return all a cell printed and showed as one text, without what differs from run to run."""
    streams: dict[str, str] = {}
    parts = []
    for output in cell.get("outputs", []):
        if output["output_type"] == "stream":
            streams[output["name"]] = streams.get(output["name"], "") + _text(output["text"])
        elif output["output_type"] == "error":
            parts.append(_settled("\n".join([output["ename"], output["evalue"], *output["traceback"]]), run))
        else:
            parts += _data(output["data"], run, binary=binary)
    texts = [_settled(_overwritten(text), run) for text in streams.values()]
    said = sorted(f"{name}:\n{text}" for name, text in zip(streams, texts, strict=True) if text)
    return "\n".join([*said, *parts])


def _overwritten(text: str) -> str:
    """Return what a terminal shows in the end of a text whose lines were written over, without progress bars."""
    return "\n".join(_last_shown(line) if "\r" in line else line for line in text.split("\n"))


def _last_shown(line: str) -> str:
    shown = ""
    for part in line.split("\r"):
        said = BAR.sub("", part, count=1) if BAR.match(part) else part
        shown = said + shown[len(said) :]
    return shown.strip()


def _data(data: Mapping[str, Any], run: Executed, *, binary: bool) -> Iterator[str]:
    for kind in sorted(data):
        if kind.startswith(UNSTABLE) or (kind in BINARY and not binary):
            continue
        value = data[kind]
        text = _text(value) if isinstance(value, str | list) else json.dumps(value, sort_keys=True)
        digest = f"sha256:{sha256_bytes(text.strip().encode())}" if kind in BINARY else ""
        yield f"{kind}: {digest or _settled(text, run)}"


def _settled(text: str, run: Executed) -> str:
    for pattern, replacement in NOISE:
        text = pattern.sub(replacement, text)
    if run.run_id:
        text = text.replace(run.run_id[:8], "<run_id>")
    return MOMENT.sub(lambda match: "<now>" if _is_now(match.group(), run) else match.group(), text)


def _is_now(text: str, run: Executed) -> bool:
    """Say whether a date or time in an output lies in the span of the run, a day more at each end for time zones."""
    if run.started is None or run.finished is None:
        return False
    try:
        moment = dt.datetime.fromisoformat(text.replace(",", "."))
    except ValueError:
        return False
    moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return run.started - A_DAY <= moment <= run.finished + A_DAY


def _alike(before: str, after: str, tolerance: float | None) -> bool:
    if before == after or tolerance is None:
        return before == after
    if NUMBER.sub("#", before) != NUMBER.sub("#", after):
        return False
    pairs = zip(NUMBER.findall(before), NUMBER.findall(after), strict=True)
    return all(old == new or close(_number(old), _number(new), tolerance) for old, new in pairs)


def _number(text: str) -> float:
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return math.nan


def _around(before: str, after: str) -> tuple[str, str]:
    """Return the two texts from shortly before the place where they first differ."""
    place = next(
        (i for i, (x, y) in enumerate(zip(before, after, strict=False)) if x != y), min(len(before), len(after))
    )
    begin = max(before.rfind("\n", 0, place) + 1, place - 40)
    return before[begin : place + 120], after[begin : place + 120]


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _text(source: str | list[str]) -> str:
    return source if isinstance(source, str) else "".join(source)
