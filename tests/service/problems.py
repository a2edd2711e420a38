"""What every answer that is an error must be."""

from __future__ import annotations

from typing import Any

MEDIA_TYPE = "application/problem+json"


def check_problem(response: Any, status: int) -> dict[str, Any]:
    """Say that an answer is a problem, whole; return it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == MEDIA_TYPE
    problem: dict[str, Any] = response.json()
    assert problem["status"] == status
    assert problem["request_id"] == response.headers["x-request-id"]
    assert {"type", "title", "detail", "instance"} <= problem.keys()
    return problem
