"""Result files of engines: what a path or a dict holds, read once for each look."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import ResultError


@dataclass(frozen=True)
class ResultFile:
    """The main JSON of a result, and the other files that came with it by name; `path` None for a dict."""

    content: Mapping[str, Any]
    path: Path | None = None
    others: tuple[str, ...] = field(default=())

    def bytes_of(self, name: str) -> bytes:
        """Return the content of one of `others`."""
        if self.path is None:
            raise ResultError(f"There is no {name} beside a dict.")
        if self.path.suffix == ".zip":
            with zipfile.ZipFile(self.path) as archive:
                return archive.read(name)
        return (self.path.parent / name).read_bytes()


def result_file(value: Any) -> ResultFile | None:
    """Return what a dict, or a path to a JSON or zip file or freqtrade's folder, holds; None for anything else."""
    if isinstance(value, Mapping):
        return ResultFile(value)
    if not isinstance(value, str | Path):
        return None
    path = Path(value)
    try:
        if path.is_dir() and (path / ".last_result.json").is_file():
            path = path / json.loads((path / ".last_result.json").read_text())["latest_backtest"]
        if path.suffix == ".zip" and path.is_file():
            return _of_zip(path)
        if path.suffix == ".json" and path.is_file():
            content = json.loads(path.read_text(encoding="utf-8"))
            beside = tuple(sorted(one.name for one in path.parent.glob(f"{path.stem}*") if one != path))
            return ResultFile(content, path, beside) if isinstance(content, Mapping) else None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ResultError(f"{path} could not be read: {error}. Give the file as the engine wrote it.") from None
    return None


def _of_zip(path: Path) -> ResultFile | None:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        main = min((name for name in names if name.endswith(".json") and "_config" not in name), key=len, default=None)
        if main is None:
            return None
        content = json.loads(archive.read(main))
    return ResultFile(content, path, tuple(names)) if isinstance(content, Mapping) else None
