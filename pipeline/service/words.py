"""The kinds of values that requests and answers have."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

LARGEST = 2**53  # of whole numbers that JSON carries between all programs
NO_NUL = r"^[^\x00]*$"


def _whole(value: object) -> object:
    """Return a whole number that was written as 3.0, which JSON does not tell from 3."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Text = Annotated[str, StringConstraints(strict=True, max_length=10_000, pattern=NO_NUL)]
Name = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=500, pattern=NO_NUL)]
Key = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=250, pattern=NO_NUL)]
Token = Annotated[str, StringConstraints(strict=True, max_length=4_000, pattern=r"^[\x20-\x7e]*$")]
Finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Undefined = Literal["NaN", "Infinity", "-Infinity"]
Number = Finite | Undefined  # JSON has no word for what is no number
Int = Annotated[int, BeforeValidator(_whole), Field(strict=True)]
Whole = Annotated[Int, Field(ge=-LARGEST, le=LARGEST)]
Count = Annotated[Int, Field(ge=0, le=LARGEST)]


class Request(BaseModel):
    """The body of a request: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(BaseModel):
    """The body of an answer."""

    model_config = ConfigDict(frozen=True)


def as_float(value: Number) -> float:
    """Return a number as Python has it."""
    return float(value)


def as_number(value: Any) -> Number:
    """Return a float as JSON can carry it, not rounded."""
    number = float(value)
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return number
