"""The OpenAPI document: FastAPI's own routes, and the FHIR base from its route table."""

import re
from collections import Counter
from typing import Any

from fastapi import FastAPI

from fhir_server.fhir.definitions import resource_types
from fhir_server.fhir.media_types import FHIR_JSON, FHIR_XML
from fhir_server.operations.registry import OPERATIONS
from fhir_server.rest.body import PATCH_FORMATS
from fhir_server.rest.form import FORM
from fhir_server.rest.idempotency import WRITING
from fhir_server.rest.jobs import ANSWERED_LATER
from fhir_server.rest.routes import ROUTES, Route

_MEDIA_TYPES = (FHIR_JSON.name, FHIR_XML.name)
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_STATUS = {"create": "201", "delete": "204", "async-cancel": "202"}


def with_fhir_paths(app: FastAPI) -> None:
    """Let the app's document show `/fhir` too. It is made on the first question and kept."""
    own = app.openapi

    def openapi() -> dict[str, Any]:
        document = own()
        if "/fhir" not in document["paths"]:
            document["paths"] |= fhir_paths()
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way


def fhir_paths() -> dict[str, Any]:
    """The paths of the FHIR base; rows that share a method and a path are one operation."""
    paths: dict[str, Any] = {}
    names: Counter[str] = Counter()
    for route in ROUTES:
        path = f"/fhir/{route.shape}".rstrip("/")
        operations = paths.setdefault(path, {})
        method = route.method.lower()
        if method in operations:
            operations[method]["summary"] += f", {route.interaction}"
        else:
            names[route.interaction] += 1
            operations[method] = _operation(route, names[route.interaction])
    return paths


def _operation(route: Route, number: int) -> dict[str, Any]:
    """`number` counts the operations of the same interaction, whose ids must differ."""
    operation: dict[str, Any] = {
        "tags": ["FHIR R4"],
        "summary": route.interaction,
        "operationId": f"fhir-{route.interaction}{'' if number == 1 else f'-{number}'}",
        "parameters": [
            *(_path_parameter(name) for name in re.findall(r"{(\w+)}", route.shape)),
            *_header_parameters(route),
        ],
        "responses": {
            _STATUS.get(route.interaction, "200"): {"description": "Done", "content": _content()},
            "default": {"description": "OperationOutcome", "content": _content()},
        },
    }
    if route.interaction in ANSWERED_LATER | {"async-status"}:
        operation["responses"]["202"] = {"description": "Will be answered later"}
    if route.method in _WITH_BODY:
        is_form = route.shape.endswith("_search")
        content = {FORM: {"schema": {"type": "object"}}} if is_form else _content()
        if route.interaction == "patch":
            content = {name: {"schema": {}} for name in PATCH_FORMATS}
        operation["requestBody"] = {"required": not is_form, "content": content}
    return operation


def _path_parameter(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if name in ("type", "focus"):
        schema["enum"] = sorted(resource_types())
    if name == "operation":
        schema["enum"] = sorted({each.code for each in OPERATIONS})
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _header_parameters(route: Route) -> list[dict[str, Any]]:
    """The headers that say how a request is to be done."""
    schema = {"type": "string"}
    names = ["Prefer"] if route.interaction in WRITING | ANSWERED_LATER else []
    if route.interaction in WRITING and route.method != "GET":
        names.append("Idempotency-Key")
    return [{"name": each, "in": "header", "required": False, "schema": schema} for each in names]


def _content() -> dict[str, Any]:
    return {name: {"schema": {"type": "object"}} for name in _MEDIA_TYPES}
