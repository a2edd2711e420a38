"""Which cases of a family of tests are fast."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def mostly_slow(cases: Iterable[Any], *fast: int) -> list[Any]:
    """Return the cases of `parametrize`, all of them slow but those at the places `fast`; None given: the first.

    A tuple is the values of several names; a case that is a tuple itself is given as a list.
    """
    places = fast or (0,)
    return [
        case
        if number in places
        else pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow)
        for number, case in enumerate(cases)
    ]
