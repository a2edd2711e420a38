"""Whether the service and what it talks to are well, for people, load balancers and Prometheus."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Literal

from fastapi import APIRouter, FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from pipeline.errors import EvidenceError
from pipeline.service import metrics
from pipeline.service.problems import Refusal
from pipeline.service.routes import Route, router
from pipeline.service.stores import Store

Wellness = Literal["healthy", "unhealthy"]
# Swagger's page is made of files of its makers, elsewhere.
SWAGGER = "https://cdn.jsdelivr.net"
SWAGGER_POLICY = (
    f"default-src 'none'; script-src 'unsafe-inline' {SWAGGER}; style-src 'unsafe-inline' {SWAGGER}; "
    "img-src data: https://fastapi.tiangolo.com; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'"
)


class Health(BaseModel):
    """How the service is: degraded when something that it talks to does not answer."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Wellness] = Field(init=False)

    service: str = Field(examples=["evidence-chain"])
    status: Literal["healthy", "degraded"]
    timestamp: dt.datetime
    websocket_connections: int = Field(0, description="always 0: events are sent without WebSockets")


class HealthRoutes:
    """The routes that are about the service itself."""

    def __init__(self, name: str, stores: Mapping[str, Store], counters: metrics.Metrics) -> None:
        self._name, self._stores, self._counters = name, stores, counters

    def health(self) -> Health:
        """Say how the service is, and each store that it talks to: 200 as long as it is well itself."""
        found: dict[str, Wellness] = {
            name: "unhealthy" if _trouble(store) else "healthy" for name, store in self._stores.items()
        }
        status: Literal["healthy", "degraded"] = "degraded" if "unhealthy" in found.values() else "healthy"
        now = dt.datetime.now(dt.UTC)
        return Health(service=self._name, status=status, timestamp=now, websocket_connections=0, **found)

    def ready(self) -> Health:
        """Say whether requests can be answered now: 503 while a store is away."""
        away = [name for name, store in self._stores.items() if _trouble(store)]
        if away:
            raise Refusal(503, f"Not ready: {', '.join(away)} cannot be reached.", {"Retry-After": "1"})
        return self.health()

    def metrics(self) -> Response:
        """Tell Prometheus how many requests there were, and how long they took."""
        return Response(self._counters.text(), media_type=metrics.MEDIA_TYPE)

    def router(self) -> APIRouter:
        """Return the routes."""
        text = {"response_class": Response, "responses": {200: {"content": {"text/plain": {}}}}}
        return router(
            "",
            "service",
            [
                Route("GET", "/health", self.health, None),
                Route("GET", "/ready", self.ready, None),
                Route("GET", "/metrics", self.metrics, options=text),
            ],
        )


def add_docs(app: FastAPI) -> None:
    """Add the page on which the operations can be read and tried."""

    def docs() -> Response:
        page = get_swagger_ui_html(openapi_url="/openapi.json", title=app.title)
        page.headers["content-security-policy"] = SWAGGER_POLICY
        return page

    app.add_api_route("/docs", docs, include_in_schema=False, response_class=Response)


def _trouble(store: Store) -> str | None:
    try:
        store.check()
    except EvidenceError as error:
        return str(error)
    return None
