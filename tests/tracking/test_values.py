"""What becomes of params, metrics and names on their way to MLflow."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name, _validate_param, _validate_tag

from pipeline.tracking.values import MAX_PARAM, as_text, shorten, sort_metrics, valid_name


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "True"),
        (0.1, "0.1"),
        (10, "10"),
        ([1, "a", None], '[1, "a", null]'),
        ((1, 2), "[1, 2]"),
        ({"b", "a"}, '["a", "b"]'),
        (np.float64(0.5), "0.5"),
        (np.int64(3), "3"),
        (np.array([1, 2]), "[1, 2]"),
        ([np.float32(0.5), np.array([1])], "[0.5, [1]]"),
        (dt.date(2020, 1, 2), "2020-01-02"),
        ({}, "{}"),
        ("ünï\n", "ünï\n"),
    ],
)
def test_everything_becomes_text(value: object, text: str) -> None:
    """Lists are JSON, None is null, numpy scalars are plain, text stays as it is."""
    assert as_text(value) == text


@given(st.text(max_size=400))
def test_every_name_becomes_one_that_mlflow_accepts(name: str) -> None:
    """No name makes MLflow refuse a batch, whatever a caller invents."""
    cleaned = valid_name(name)
    _validate_metric_name(cleaned)
    _validate_param(cleaned, "x")
    _validate_tag(cleaned, "x")
    assert valid_name(cleaned) == cleaned


def test_good_names_stay() -> None:
    """A name MLflow accepts is not touched."""
    for name in ("sharpe", "strategy.params.fast", "train/loss", "a b:c-d", "größe"):
        assert valid_name(name) == name


def test_shortened_text_says_where_the_rest_is() -> None:
    """A cut value fits the limit and names the artifact with all of it."""
    text = shorten("x" * 10_000, MAX_PARAM, "params/a.txt")
    assert len(text) == MAX_PARAM
    assert "10000 characters" in text
    assert "params/a.txt" in text


def test_metrics_are_sorted_by_what_they_are() -> None:
    """Booleans are not metrics, NaN and infinities are listed, everything finite is a float."""
    numbers = sort_metrics(
        {
            "i": 3,
            "f": 0.5,
            "np": np.float32(0.5),
            "npi": np.int64(2),
            "nan": math.nan,
            "inf": -math.inf,
            "big": 10**400,
            "b": True,
            "npb": np.bool_(False),
            "s": "1.0",
            "none": None,
            "arr": np.array([1.0, 2.0]),
            "one": np.array(7.0),
        }
    )
    assert numbers.finite == {"i": 3.0, "f": 0.5, "np": 0.5, "npi": 2.0, "one": 7.0}
    assert numbers.undefined == {"nan": "nan", "inf": "-inf", "big": "inf"}
    assert set(numbers.refused) == {"b", "npb", "s", "none", "arr"}
