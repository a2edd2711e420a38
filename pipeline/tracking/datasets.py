"""What a run was given, as MLflow describes it (`mlflow.log_input`), for the journal: digests, not data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

FIELDS = ("name", "digest", "source_type", "source", "schema", "profile")


def described(inputs: Iterable[Any]) -> list[dict[str, Any]]:
    """Return MLflow's DatasetInputs as the items of an `inputs` entry."""
    return [
        {name: getattr(given.dataset, name) for name in FIELDS} | {"tags": {tag.key: tag.value for tag in given.tags}}
        for given in inputs
    ]


def as_inputs(items: Iterable[dict[str, Any]]) -> list[Any]:
    """Return the items of an `inputs` entry as MLflow's DatasetInputs."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    return [
        DatasetInput(
            Dataset(**{name: item[name] for name in FIELDS}), [InputTag(*pair) for pair in item["tags"].items()]
        )
        for item in items
    ]
