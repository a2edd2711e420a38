"""Inputs that are declared: by the spec's `[inputs]` or `--input`, as names of files, folders and patterns."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipeline.errors import DataError, SpecError
from pipeline.inputs.places import NO_DATA
from pipeline.inputs.secret_files import holds_secrets

PREFIX = "input:"


def parse_input(text: str) -> tuple[str, str]:
    """Parse `name=path` from the command line into the dotted key of the spec and the path; raises SpecError."""
    name, separator, path = text.partition("=")
    if not separator or not name.strip() or not path.strip():
        raise SpecError(f"The input {text!r} is not of the form name=path, as in --input prices=data/eod.parquet.")
    return f"inputs.{name.strip()}", path.strip()


def declared_files(inputs: Mapping[str, str], root: Path) -> dict[str, tuple[str, Path]]:
    """Return name and path of each file that a spec declares; raises DataError where there is none.

    Those that one input names, by a folder or a pattern, are told apart by their paths.
    """
    found: dict[str, tuple[str, Path]] = {}
    for name, value in inputs.items():
        files = expanded(value, root)
        if not files:
            raise DataError(
                f"The input {name} = {value!r} names no file below {root}. Give a file, a folder or a pattern."
            )
        for path in files:
            if holds_secrets(str(path)):
                raise DataError(f"The input {name} = {value!r} names a file of secrets, which must not be in evidence.")
            found.setdefault(str(path), (name, path))
    return found


def expanded(value: str, root: Path) -> list[Path]:
    """Return the files that a path, relative to `root`, stands for: itself, all in a folder, all that fit a pattern."""
    path = Path(os.path.normpath(root / Path(value).expanduser()))
    if path.is_file():
        return [path]
    if path.is_dir():
        return [*_below(path)]
    matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 - the pattern is absolute
    return [Path(match) for match in matches if Path(match).is_file()]


def _below(directory: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(directory):
        folders[:] = sorted(set(folders) - NO_DATA)
        yield from (Path(folder) / name for name in sorted(names))
