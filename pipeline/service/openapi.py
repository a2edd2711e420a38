"""The description of the service: FastAPI's, with the one shape that all errors have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from pipeline.service.problems import MEDIA_TYPE, Problem, title_of

# What any operation may answer, whatever it does.
ALWAYS = (400, 401, 403, 404, 408, 409, 413, 421, 422, 429, 500, 503)
REFERENCE = "#/components/schemas/{model}"
REPLACED = ("HTTPValidationError", "ValidationError")


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI of an application, made once."""
    if app.openapi_schema is None:
        app.openapi_schema = _description(app)
    return app.openapi_schema


def allowed_methods(app: FastAPI, path: str) -> list[str]:
    """Return the methods that a path has, of all routes that fit it; empty for a path that none does."""
    paths = describe(app)["paths"]
    fitting = [one for one in paths if _pattern(one).fullmatch(path)]
    named = min((one.count("{") for one in fitting), default=0)  # a name goes before what stands for any
    return sorted({method.upper() for one in fitting if one.count("{") == named for method in paths[one]})


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{[^}]+\\\}", "[^/]+", re.escape(template)))


def _description(app: FastAPI) -> dict[str, Any]:
    found = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schemas = found.setdefault("components", {}).setdefault("schemas", {})
    for name in REPLACED:
        schemas.pop(name, None)
    schema = Problem.model_json_schema(ref_template=REFERENCE)
    schemas |= schema.pop("$defs", {})
    schemas["Problem"] = schema
    for operation in _operations(found):
        operation["responses"] |= {str(status): _problem(title_of(status)) for status in ALWAYS}
        operation["responses"]["default"] = _problem("Any other problem")
    return found


def _operations(found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in found["paths"].values():
        yield from path.values()


def _problem(title: str) -> dict[str, Any]:
    schema = {"$ref": REFERENCE.format(model="Problem")}
    return {"description": title, "content": {MEDIA_TYPE: {"schema": schema}}}
