"""The service put together."""

from __future__ import annotations

import importlib.metadata
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from pipeline.errors import EvidenceError
from pipeline.service import problems
from pipeline.service.edge import Edge
from pipeline.service.health import HealthRoutes, add_docs
from pipeline.service.metrics import Metrics
from pipeline.service.openapi import describe
from pipeline.service.settings import Place, ServiceSettings
from pipeline.service.tokens import TokenFile
from pipeline.settings import Settings

ABOUT = (
    "Runs as evidence, MLflow's experiments and Optuna's studies behind one API. Errors are problem details (RFC 9457)."
)
CORS_HEADERS = ("Authorization", "Content-Type", "X-Request-ID")
CORS_METHODS = ("GET", "POST", "DELETE")


def build_app(settings: Settings, service: ServiceSettings) -> ASGIApp:
    """Return the service of a project. What it keeps is in `service.directory`; raises UsageError."""
    place = Place.of(settings, service).make()
    metrics = Metrics()
    health = HealthRoutes(service.name, {}, metrics)
    app = _application(service, [health.router()])
    edge = Edge(app, service, TokenFile(place.tokens), metrics)
    if not service.origins:
        return edge
    return CORSMiddleware(edge, allow_origins=service.origins, allow_methods=CORS_METHODS, allow_headers=CORS_HEADERS)


def _application(service: ServiceSettings, routers: Sequence[APIRouter]) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = service.threads
        yield

    app = FastAPI(
        title=service.name,
        version=importlib.metadata.version("evidence-chain"),
        description=ABOUT,
        lifespan=lifespan,
        max_body_size=service.max_body,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        exception_handlers={
            HTTPException: problems.on_http_error,
            RequestValidationError: problems.on_invalid,
            EvidenceError: problems.on_evidence_error,
        },
    )
    for router in routers:
        app.include_router(router)
    add_docs(app)
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    return app
