"""THE table of what the FHIR base answers (R4 RESTful API). Dispatch, Bundle entries and the
CapabilityStatement all read it; an interaction is added by adding its row."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, unquote

from fhir_server.fhir.definitions import resource_types
from fhir_server.fhir.narrow import PARAMETERS as NARROWING
from fhir_server.fhir.outcome import FhirError, bad_parameter, error, not_found
from fhir_server.interactions import history
from fhir_server.interactions.bundle import bundle
from fhir_server.interactions.conditions import require_no_separator
from fhir_server.interactions.context import FhirRequest
from fhir_server.interactions.create import create
from fhir_server.interactions.delete import delete
from fhir_server.interactions.patch import patch
from fhir_server.interactions.read import read, vread
from fhir_server.interactions.search import search_system
from fhir_server.interactions.update import update
from fhir_server.interactions.write import Interaction
from fhir_server.operations.operation import Level
from fhir_server.operations.query import search_or_query
from fhir_server.operations.registry import operation_at
from fhir_server.operations.run import run_operation
from fhir_server.security.scopes import Action

MODE = "mode"
"""What R4 lets the capabilities interaction be asked for."""
ANY_PARAMETER = frozenset({"*"})
"""The interaction itself refuses parameters that it does not know."""
GENERAL_PARAMETERS = frozenset({"_format", "_pretty"})

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Route:
    """One row. `shape` is the path below the base; `action` is what the caller must be allowed
    to do with the type; `run` is None where dispatch itself has the answer. `is_journaled` rows
    write their audit record in their own unit; for the others dispatch writes it afterwards.
    `excluded` types do not have the interaction."""

    method: str
    shape: str
    interaction: str
    action: Action | None = None
    run: Interaction | None = None
    parameters: frozenset[str] = frozenset()
    is_journaled: bool = False
    is_public: bool = False
    excluded: frozenset[str] = frozenset()


# What has happened stays as it was recorded; the guard lets an update only create it.
_UNCHANGEABLE = frozenset({"AuditEvent"})
_TYPE, _INSTANCE = "{type}", "{type}/{id}"
_COMPARTMENT, _COMPARTMENT_ALL = "{focus}/{id}/{type}", "{focus}/{id}/*"
_HISTORY, _VERSION = "{type}/{id}/_history", "{type}/{id}/_history/{version}"
_TYPE_HISTORY = "{type}/_history"
_ASYNC = "_async/{job}"

_LEVELS: Mapping[str, Level] = {
    "": "system", _TYPE: "type", _INSTANCE: "instance", _VERSION: "version"
}  # fmt: skip
"""Where operations are called."""
_OPERATIONS = tuple(
    Route(method, f"{shape}/${{operation}}".lstrip("/"), "operation", None, run_operation,
          ANY_PARAMETER, is_journaled=True)
    for shape in _LEVELS
    for method in ("GET", "POST")
)  # fmt: skip

ROUTES: tuple[Route, ...] = (
    Route("GET", "metadata", "capabilities", parameters=NARROWING | {MODE}, is_public=True),
    Route("POST", "", "transaction", run=bundle, is_journaled=True),
    Route("POST", "", "batch", run=bundle, is_journaled=True),
    Route("GET", _INSTANCE, "read", "r", read, NARROWING),
    Route("GET", _VERSION, "vread", "r", vread, NARROWING),
    Route("PUT", _INSTANCE, "update", "u", update, is_journaled=True),
    Route("PUT", _TYPE, "update", "u", update, ANY_PARAMETER, is_journaled=True,
          excluded=_UNCHANGEABLE),
    Route("PATCH", _INSTANCE, "patch", "u", patch, is_journaled=True, excluded=_UNCHANGEABLE),
    Route("PATCH", _TYPE, "patch", "u", patch, ANY_PARAMETER, is_journaled=True,
          excluded=_UNCHANGEABLE),
    Route("DELETE", _INSTANCE, "delete", "d", delete, is_journaled=True, excluded=_UNCHANGEABLE),
    Route("DELETE", _TYPE, "delete", "d", delete, ANY_PARAMETER, is_journaled=True,
          excluded=_UNCHANGEABLE),
    Route("GET", _HISTORY, "history-instance", "r", history.history_instance, history.PARAMETERS),
    Route("GET", _TYPE_HISTORY, "history-type", "s", history.history_type, history.PARAMETERS),
    Route("GET", "_history", "history-system", None, history.history_system, history.PARAMETERS),
    Route("POST", _TYPE, "create", "c", create, is_journaled=True),
    Route("GET", _TYPE, "search-type", "s", search_or_query, ANY_PARAMETER),
    Route("POST", "{type}/_search", "search-type", "s", search_or_query, ANY_PARAMETER),
    Route("GET", _COMPARTMENT, "search-type", "s", search_or_query, ANY_PARAMETER),
    Route("POST", f"{_COMPARTMENT}/_search", "search-type", "s", search_or_query, ANY_PARAMETER),
    Route("GET", "", "search-system", None, search_system, ANY_PARAMETER),
    Route("POST", "_search", "search-system", None, search_system, ANY_PARAMETER),
    Route("GET", _COMPARTMENT_ALL, "search-system", None, search_system, ANY_PARAMETER),
    Route("POST", f"{_COMPARTMENT_ALL}/_search", "search-system", None, search_system,
          ANY_PARAMETER),
    Route("GET", _ASYNC, "async-status"),
    Route("DELETE", _ASYNC, "async-cancel"),
    *_OPERATIONS,
)  # fmt: skip

BY_INTERACTION: Mapping[str, Route] = {route.interaction: route for route in ROUTES}

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}", re.ASCII)
_VERSION_ID = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)


def _by_shape() -> Mapping[str, Mapping[str, Route]]:
    found: dict[str, dict[str, Route]] = {}
    for route in ROUTES:
        found.setdefault(route.shape, {}).setdefault(route.method, route)
    return found


_BY_SHAPE = _by_shape()


def locate(method: str, path: str, query: Pairs = ()) -> FhirRequest:
    """What the method asks of the path below the base (both decoded): 404 for a path or type
    that is not there, 405 with Allow for a method that it has not, 400 for a parameter that
    the interaction does not have. HEAD asks for what GET asks for."""
    if method == "HEAD":
        return replace(locate("GET", path, query), is_head=True)
    parts = path.strip("/").split("/") if path.strip("/") else []
    if parts and parts[-1].startswith("$"):
        return _operation(method, parts, query)
    shape = _shape(parts)
    routes = _BY_SHAPE.get(shape)
    if routes is None:
        raise not_found(f"the path /{path.strip('/')}")
    is_compartment = shape.startswith("{focus}")
    type = _type(parts, shape)
    for name in (type, parts[0] if is_compartment else None):
        if name is not None and name not in resource_types():
            raise not_found(f"the resource type {name!r}")
    route = routes.get(method)
    if route is None or type in route.excluded:
        raise _not_allowed(method, path, routes, type)
    _check_parameters(route, query)
    if is_compartment:
        focus = (parts[0], _id(parts[1]))
        return FhirRequest(route.interaction, type, query=query, compartment=focus)
    return FhirRequest(
        interaction=route.interaction,
        type=type,
        id=_id(parts[1]) if len(parts) > 1 and (_INSTANCE in shape or shape == _ASYNC) else None,
        version=_version(parts[3]) if len(parts) > 3 else None,
        query=query,
    )


def template(path: str) -> str:
    """The shape of a path below the base, for whoever must not say what was asked for."""
    parts = path.strip("/").split("/") if path.strip("/") else []
    if parts and parts[-1].startswith("$"):
        shape = f"{_shape(parts[:-1])}/${{operation}}".lstrip("/")
        return shape if _shape(parts[:-1]) in _LEVELS else "unknown"
    shape = _shape(parts)
    return shape if shape in _BY_SHAPE else "unknown"


def _operation(method: str, parts: Sequence[str], query: Pairs) -> FhirRequest:
    """The call of an operation: 404 where there is none of that name, 405 when it takes another
    method."""
    *owner, name = parts
    shape, type = _shape(owner), owner[0] if owner else None
    if type is not None and type not in resource_types():
        raise not_found(f"the resource type {type!r}")
    level = _LEVELS.get(shape)
    found = operation_at(name[1:], level, type) if level else None
    if found is None:
        raise not_found(f"the operation {name} at /{'/'.join(owner)}")
    if method not in found.methods:
        raise _method_refused(method, "/".join(parts), found.methods)
    return FhirRequest(
        interaction="operation",
        type=type,
        id=_id(owner[1]) if len(owner) > 1 else None,
        version=_version(owner[3]) if len(owner) > 3 else None,
        query=query,
        operation=found.code,
    )


def locate_entry(base_url: str, method: str, url: str) -> FhirRequest:
    """What a Bundle entry's method and URL ask for; the URL is relative to the base, or begins
    with it."""
    path, _, query = url.removeprefix(base_url).partition("?")
    if "://" in path:
        raise bad_parameter(f"{url} is not below {base_url}")
    pairs = tuple(each for each in parse_query(query) if each[0] not in GENERAL_PARAMETERS)
    return locate(method, unquote(path), pairs)


def parse_query(text: str) -> Pairs:
    """The name-value pairs of a query string, decoded, in order; 400 when it is not UTF-8 or
    has the separator of search terms."""
    if not text:
        return ()
    require_no_separator(text)
    try:
        return tuple(parse_qsl(text, keep_blank_values=True, errors="strict"))
    except ValueError:
        raise bad_parameter("the query string is not percent-encoded UTF-8") from None


def _shape(parts: Sequence[str]) -> str:
    match parts:
        case []:
            return ""
        case ["metadata"] | ["_search"] | ["_history"]:
            return parts[0]
        case ["_async", _]:
            return _ASYNC
        case [_, "_search"]:
            return "{type}/_search"
        case [_, "_history"]:
            return _TYPE_HISTORY
        case [_]:
            return _TYPE
        case [_, _]:
            return _INSTANCE
        case [_, _, "_history"]:
            return _HISTORY
        case [_, _, "_history", _]:
            return _VERSION
        case [_, _, "*"]:
            return _COMPARTMENT_ALL
        case [_, _, name] if name in resource_types():
            return _COMPARTMENT
        case [_, _, name, "_search"]:
            return f"{_COMPARTMENT_ALL if name == '*' else _COMPARTMENT}/_search"
        case _:
            return "?"


def _type(parts: Sequence[str], shape: str) -> str | None:
    """The type that the path is about; None for all."""
    if shape.startswith(_COMPARTMENT):
        return parts[2]
    return parts[0] if shape.startswith(_TYPE) else None


def _id(text: str) -> str:
    if _ID.fullmatch(text) is None:
        raise bad_parameter(f"{text!r} is not an id: 1 to 64 letters, digits, '-' and '.'")
    return text


def _version(text: str) -> int:
    if _VERSION_ID.fullmatch(text) is None:
        raise not_found(f"the version {text!r}")
    return int(text)


def _check_parameters(route: Route, query: Pairs) -> None:
    if route.parameters is ANY_PARAMETER:
        return
    unknown = sorted({name for name, _ in query if name not in route.parameters})
    if unknown:
        raise bad_parameter(f"{route.interaction} has no parameter {', '.join(unknown)}")


def _not_allowed(
    method: str, path: str, routes: Mapping[str, Route], type: str | None
) -> FhirError:
    methods = sorted(name for name, each in routes.items() if type not in each.excluded)
    return _method_refused(method, path.strip("/"), methods)


def _method_refused(method: str, path: str, methods: Iterable[str]) -> FhirError:
    listed = list(methods)
    if "GET" in listed:
        listed.insert(listed.index("GET") + 1, "HEAD")
    allowed = ", ".join(listed)
    refusal = error(405, "not-supported", f"{method} is not possible on /{path}; {allowed} is")
    return FhirError(refusal.status, refusal.issues, {"Allow": allowed})
