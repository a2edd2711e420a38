"""When two numbers count as the same."""

from __future__ import annotations

import math

NEAR_ZERO = 1e-9


def close(before: float, after: float, tolerance: float | None) -> bool:
    """Say whether two numbers are equal, or differ by at most `tolerance` times the larger one, or by 1e-9.

    Without a tolerance only equal numbers are the same; two NaN are.
    """
    if before == after or (math.isnan(before) and math.isnan(after)):
        return True
    return tolerance is not None and math.isclose(before, after, rel_tol=tolerance, abs_tol=NEAR_ZERO)


def apart(before: float | None, after: float | None) -> tuple[float | None, float | None]:
    """Return by how much two numbers differ, absolutely and relative to the larger one; None when one is undefined."""
    if before is None or after is None or math.isnan(before) or math.isnan(after):
        return None, None
    absolute = abs(after - before)
    return absolute, absolute / max(abs(before), abs(after)) if absolute else 0.0
