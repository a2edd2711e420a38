"""Figures, mappings and tables as files; each function returns (bytes, path in the run's artifacts)."""

from __future__ import annotations

import csv
import io
import json
import math
import posixpath
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from pipeline.tracking.values import as_text, plain, storable


def joined(directory: str | None, name: str) -> str:
    """Return the POSIX path of an artifact inside the run's artifacts, never outside of them."""
    path = posixpath.normpath(storable(f"/{directory or ''}/{str(name).replace(chr(92), '/')}")).lstrip("/")
    return path if path not in ("", ".") else "artifact"


def figure_file(figure: Any, target: str) -> tuple[bytes, str]:
    """Render a matplotlib or plotly figure; without a suffix as PNG or HTML."""
    if callable(getattr(figure, "savefig", None)):
        return _matplotlib(figure, target)
    if callable(getattr(figure, "to_html", None)) and callable(getattr(figure, "to_json", None)):
        return _plotly(figure, target)
    owner = getattr(figure, "figure", None) or (figure.get_figure() if hasattr(figure, "get_figure") else None)
    if owner is not None and callable(getattr(owner, "savefig", None)):
        return _matplotlib(owner, target)
    raise TypeError(f"a matplotlib or plotly figure is needed, not {type(figure).__name__}")


def _matplotlib(figure: Any, target: str) -> tuple[bytes, str]:
    suffix = PurePosixPath(target).suffix.lower().lstrip(".")
    wanted = suffix if suffix in figure.canvas.get_supported_filetypes() else "png"
    buffer = io.BytesIO()
    figure.savefig(buffer, format=wanted)
    return buffer.getvalue(), _with_suffix(target, wanted, suffix)


def _plotly(figure: Any, target: str) -> tuple[bytes, str]:
    suffix = PurePosixPath(target).suffix.lower().lstrip(".")
    if suffix == "json":
        return figure.to_json().encode(), target
    if suffix in ("png", "svg", "pdf", "jpg", "jpeg", "webp"):
        try:
            return figure.to_image(format=suffix), target
        except Exception:  # noqa: BLE001 - a static plotly image needs kaleido and a browser: HTML needs neither
            suffix = ""
    page = figure.to_html(full_html=True, include_plotlyjs=True, include_mathjax=False)
    return page.encode(), _with_suffix(target, "html", suffix)


def _with_suffix(target: str, wanted: str, suffix: str) -> str:
    return target if suffix == wanted or (wanted == "html" and suffix == "htm") else f"{target}.{wanted}"


def dict_file(value: Any, target: str) -> tuple[bytes, str]:
    """Serialise as strict JSON, or YAML for .yaml and .yml."""
    cleaned = jsonable(value)
    if target.endswith((".yaml", ".yml")):
        import yaml

        return yaml.safe_dump(cleaned, allow_unicode=True, sort_keys=False).encode(), target
    return json.dumps(cleaned, indent=2, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace"), target


def table_file(data: Any, target: str) -> tuple[bytes, str]:
    """Serialise a table: JSON as MLflow's `load_table` reads it, or CSV for .csv."""
    columns, rows = table(data)
    if target.endswith(".csv"):
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerows([columns, *rows])
        return buffer.getvalue().encode("utf-8", "replace"), target
    name = target if target.endswith(".json") else f"{target}.json"
    return dict_file({"columns": columns, "data": rows}, name)


def table(data: Any) -> tuple[list[str], list[list[Any]]]:
    """Return (columns, rows) of a DataFrame, a mapping of columns (or one row), or a list of rows."""
    if hasattr(data, "columns") and hasattr(data, "itertuples"):
        return [str(name) for name in data.columns], [list(row) for row in data.itertuples(index=False)]
    if isinstance(data, Mapping):
        values = [value if isinstance(value, (list, tuple)) else [value] for value in data.values()]
        return [str(name) for name in data], [list(row) for row in zip(*values, strict=True)]
    rows = list(data)
    if rows and all(isinstance(row, Mapping) for row in rows):
        names = list(dict.fromkeys(name for row in rows for name in row))
        return [str(name) for name in names], [[row.get(name) for name in names] for row in rows]
    raise TypeError(f"a DataFrame, a mapping of columns or a list of mappings is needed, not {type(data).__name__}")


def jsonable(value: Any) -> Any:
    """Return the value as JSON can hold it: NaN and infinities are null, everything unknown is text."""
    value = plain(value)
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if callable(getattr(value, "tolist", None)):
        return jsonable(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else as_text(value)
