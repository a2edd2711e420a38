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
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from pipeline.errors import EvidenceError
from pipeline.service import problems
from pipeline.service.artifact_routes import ArtifactRoutes
from pipeline.service.edge import Edge
from pipeline.service.experiment_routes import ExperimentRoutes
from pipeline.service.health import HealthRoutes, add_docs
from pipeline.service.metrics import Metrics
from pipeline.service.mlflow_store import MlflowStore
from pipeline.service.openapi import allowed_methods, describe
from pipeline.service.routes import router
from pipeline.service.run_routes import RunRoutes
from pipeline.service.settings import Place, ServiceSettings
from pipeline.service.study_routes import StudyRoutes
from pipeline.service.study_store import StudyStore
from pipeline.service.tokens import TokenFile
from pipeline.service.tracked_run_routes import TrackedRunRoutes
from pipeline.service.transfers import Transfers
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
    roots = [settings.resolve(path) for path in service.artifact_roots]
    uri = service.tracking_uri or settings.default_tracking_uri
    mlflow = MlflowStore(uri, settings.root, lock=place.opening, roots=roots, seconds=service.seconds)
    studies = StudyStore(service.storage, place.studies, settings.root, seconds=service.seconds)
    health = HealthRoutes(service.name, {"mlflow": mlflow, "optuna": studies}, metrics)
    transfers = Transfers(place.uploads)
    runs = RunRoutes(settings, transfers)
    routers = [
        health.router(),
        runs.router(),
        _mlflow_routes(mlflow, transfers, service),
        StudyRoutes(studies).router(),
    ]
    app = _application(service, routers)
    edge = Edge(app, service, TokenFile(place.tokens), metrics)
    if not service.origins:
        return edge
    return CORSMiddleware(edge, allow_origins=service.origins, allow_methods=CORS_METHODS, allow_headers=CORS_HEADERS)


async def _on_http_error(request: Request, error: Exception) -> Response:
    """Answer what the framework refuses; with 405 go the methods of all routes of a path, not those of the first."""
    answer = await problems.on_http_error(request, error)
    if answer.status_code == 405 and (methods := allowed_methods(request.app, request.url.path)):
        answer.headers["allow"] = ", ".join(methods)
    return answer


def _mlflow_routes(mlflow: MlflowStore, transfers: Transfers, service: ServiceSettings) -> APIRouter:
    artifacts = ArtifactRoutes(mlflow, transfers, max_upload=service.max_upload)
    tables = [ExperimentRoutes(mlflow).table(), TrackedRunRoutes(mlflow).table(), artifacts.table()]
    return router("/api/mlflow", "mlflow", [route for table in tables for route in table])


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
            HTTPException: _on_http_error,
            RequestValidationError: problems.on_invalid,
            EvidenceError: problems.on_evidence_error,
        },
    )
    for routes in routers:
        app.include_router(routes)
    add_docs(app)
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    return app
