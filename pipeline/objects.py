"""JSON and TOML objects that others wrote: read, taken for what they are, and flattened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.files import read_json


def as_object(value: object) -> dict[str, Any]:
    """Return `value` when it is an object, a mapping of names to values; an empty one when it is anything else."""
    return value if isinstance(value, dict) else {}


def read_object(path: Path) -> dict[str, Any]:
    """Read a file that holds a JSON object; raises OSError, and ValueError also when it holds anything else."""
    found = read_json(path)
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} holds no JSON object.")  # noqa: TRY004 - about what is in the file
    return found


def flat(values: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted name, value) of nested objects, `strategy.params.fast`; an empty object is a value itself."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{name}.")
        else:
            yield name, value
