"""What a run was given, as MLflow describes it (`mlflow.log_input`), for the journal: digests, not data."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

FIELDS = ("name", "digest", "source_type", "source", "schema", "profile")
MAX_NAME, MAX_DIGEST = 500, 36  # MLflow's limits
CONTEXT_TAG = "mlflow.data.context"


def file_dataset(source: str, sha256: str, *, context: str) -> dict[str, Any]:
    """Return a data file as the item of an `inputs` entry: its name is where it came from, as the spec says it.

    MLflow keeps 36 characters of a digest: the first of the SHA-256. All of it is in the profile.
    """
    return {
        "name": source[-MAX_NAME:],
        "digest": sha256[:MAX_DIGEST],
        "source_type": "local",
        "source": json.dumps({"uri": source}),
        "schema": None,
        "profile": json.dumps({"sha256": sha256}),
        "tags": {CONTEXT_TAG: context},
    }


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
