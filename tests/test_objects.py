"""Objects that others wrote are taken for what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.objects import as_object, flat, read_object


@pytest.mark.parametrize("value", [None, [], [1], "text", 3, True])
def test_what_is_no_object_is_an_empty_one(value: Any, tmp_path: Path) -> None:
    """Anything else is as nothing, and a file of it is refused by name."""
    import json

    assert as_object(value) == {}
    (tmp_path / "stats.json").write_text(json.dumps(value))
    with pytest.raises(ValueError, match=r"stats.json holds no JSON object"):
        read_object(tmp_path / "stats.json")


def test_an_object_is_itself(tmp_path: Path) -> None:
    """An object is not copied, and a file of one is read as it is."""
    value = {"a": {"b": 1}}
    assert as_object(value) is value
    (tmp_path / "a.json").write_text('{"a": {"b": 1}}')
    assert read_object(tmp_path / "a.json") == value


def test_nested_objects_are_flattened_with_dots() -> None:
    """Lists are values, and so is an empty object; keys are text whatever they were."""
    assert dict(flat({"a": {"b": 1, "c": {}}, "d": [1, {"e": 2}], 3: None})) == {
        "a.b": 1,
        "a.c": {},
        "d": [1, {"e": 2}],
        "3": None,
    }
