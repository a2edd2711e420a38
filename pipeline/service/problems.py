"""Errors as the service answers them: problem details, RFC 9457, one shape for all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from pipeline.errors import (
    EvidenceError,
    RunExistsError,
    RunNotFoundError,
    StorageError,
    TrackingError,
    UsageError,
    VerificationError,
    shortened,
)
from pipeline.masking import masked_text

MEDIA_TYPE = "application/problem+json"
LONGEST = 2_000
FAULT = "Something went wrong that should not have. The service's log says more under this request's id."
# The nearest class of an error decides.
STATUSES: Mapping[type[EvidenceError], int] = {
    RunNotFoundError: 404,
    RunExistsError: 409,
    UsageError: 400,
    VerificationError: 409,
    TrackingError: 503,
    StorageError: 507,
    EvidenceError: 500,
}


class Refusal(EvidenceError):  # noqa: N818 - most of what it says is no error of ours
    """A request that is answered with a problem. Attributes: `status`, `headers`."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = dict(headers or {})


class Violation(BaseModel):
    """What is wrong with one part of a request."""

    where: str = Field(examples=["body.name"])
    what: str = Field(examples=["Field required"])


class Problem(BaseModel):
    """What went wrong, as RFC 9457 has it: `title` is that of the status, `detail` says what to do."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "about:blank",
                "title": "Not Found",
                "status": 404,
                "detail": "There is no run '1234'.",
                "instance": "/api/runs/1234",
                "request_id": "8f14e45fceea4670b0b5a7d8a7f2c1de",
            }
        }
    )

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    errors: list[Violation] | None = None


def title_of(status: int) -> str:
    """Return the words that go with a status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def problem_bytes(
    scope: Mapping[str, Any], status: int, detail: str, errors: Sequence[Violation] | None = None
) -> bytes:
    """Return the body of an answer that tells of a problem, secrets masked."""
    problem = Problem(
        title=title_of(status),
        status=status,
        detail=masked_text(shortened(detail, LONGEST)),
        instance=str(scope.get("path", "")),
        request_id=str(scope.get("state", {}).get("request_id", "")),
        errors=None if errors is None else list(errors),
    )
    return json.dumps(problem.model_dump(exclude_none=True)).encode()


def problem_response(
    request: Request,
    status: int,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    errors: Sequence[Violation] | None = None,
) -> Response:
    """Return an answer that tells of a problem."""
    body = problem_bytes(request.scope, status, detail, errors)
    return Response(body, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


async def on_http_error(request: Request, error: Exception) -> Response:
    """Answer what the framework refuses."""
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for nothing else
    return problem_response(request, error.status_code, str(error.detail), headers=error.headers)


async def on_invalid(request: Request, error: Exception) -> Response:
    """Answer a request whose parts are not what they must be; what was sent is not repeated."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - it is registered for nothing else
    errors = [Violation(where=".".join(map(str, one["loc"])), what=str(one["msg"])) for one in error.errors()]
    detail = "; ".join(f"{one.where}: {one.what}" for one in errors[:5])
    return problem_response(request, 422, f"The request is not what it must be. {detail}", errors=errors)


async def on_evidence_error(request: Request, error: Exception) -> Response:
    """Answer an error that this package raised on purpose."""
    assert isinstance(error, EvidenceError)  # noqa: S101 - it is registered for nothing else
    status, headers = status_of(error)
    return problem_response(request, status, str(error), headers=headers)


def status_of(error: EvidenceError) -> tuple[int, dict[str, str]]:
    """Return the status that an error is answered with, and headers that go with it."""
    if isinstance(error, Refusal):
        return error.status, error.headers
    status = next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)
    return status, {"Retry-After": "1"} if status == 503 else {}
