"""Routes as a table: what is asked for, who may, and who answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Depends, Request, params
from fastapi.security import HTTPBearer

from pipeline.service.problems import Refusal
from pipeline.service.tokens import IMPLIED, Scope, Token


@dataclass(frozen=True)
class Route:
    """One operation. `options` are those of FastAPI's `add_api_route`."""

    method: str
    path: str
    call: Callable[..., Any]
    scope: Scope | None = "read"  # None is everybody
    status: int = 200
    options: dict[str, Any] = field(default_factory=dict)


def router(prefix: str, tag: str, routes: Sequence[Route]) -> APIRouter:
    """Return the routes below a prefix; the first of those that fit a path answers."""
    made = APIRouter(prefix=prefix, tags=[tag])
    for route in routes:
        made.add_api_route(
            route.path,
            route.call,
            methods=[route.method],
            status_code=route.status,
            name=route.call.__name__,
            dependencies=[]
            if route.scope is None
            else [Depends(HTTPBearer(auto_error=False)), Depends(needs(route.scope))],
            **route.options,
        )
    return made


def _guards(scope: Scope) -> list[params.Depends]:
    """Return what says in the OpenAPI that a token is needed (the edge asks for it), and what looks at its scope."""
    return [Depends(HTTPBearer(auto_error=False)), Depends(needs(scope))]


def needs(scope: Scope) -> Callable[[Request], None]:
    """Return a dependency that refuses a token which is not good for this; without tokens everybody may."""

    def check(request: Request) -> None:
        token: Token | None = getattr(request.state, "token", None)
        if token is not None and not token.allows(scope):
            good = ", ".join(one for one in IMPLIED if token.allows(one))
            raise Refusal(403, f"This token is good for {good}, and this needs {scope}.")

    return check
