"""The CapabilityStatement (R4 Capabilities), computed from the tables that dispatch, search and
the conditions work by: what is not built is not in it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from fhir_server.fhir.codec import instant
from fhir_server.fhir.compartments import compartments
from fhir_server.fhir.definitions import resource_types
from fhir_server.fhir.outcome import bad_parameter
from fhir_server.interactions.conditions import UNDERSTOOD
from fhir_server.operations.operation import Level
from fhir_server.operations.query import QUERIES
from fhir_server.operations.registry import OPERATIONS
from fhir_server.rest.body import PATCH_FORMATS
from fhir_server.rest.routes import MODE, ROUTES
from fhir_server.search.parse import ALL_TYPES
from fhir_server.search.registry import Parameter, Registry

Json = dict[str, Any]

_MODES = ("full", "normative", "terminology")
_OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_SECURITY_SERVICES = "http://terminology.hl7.org/CodeSystem/restful-security-service"


_NOTES: Mapping[str, str] = {
    "AuditEvent": "Update creates under an id of the caller's; what is recorded never changes.",
    "Binary": "Read and written as a resource or as its content, by Accept and Content-Type.",
    "Media": "A read that accepts the type of the content, by name or as image/*, gets that.",
}


FURTHER: tuple[Json, ...] = (
    {
        "name": "_filter",
        "definition": "http://hl7.org/fhir/SearchParameter/filter",
        "type": "special",
    },
    {"name": "_list", "type": "special"},
)
"""Criteria of every type that no element of the resource answers."""

_SEARCHES = (
    "Scores (_score) and functional lists ($current-...) are not offered; named queries (_query) "
    "stand among the operations of their type, with definitions of kind query. "
    "Unknown parameters are refused unless Prefer: handling=lenient is sent; then what was ignored "
    "is listed in the answer. Prefer: respond-async is applied to searches, histories, bundles and "
    "operations; Idempotency-Key to all that writes, where the server is set to remember answers."
)


_SYSTEM = tuple(route.shape for route in ROUTES if "{" not in route.shape and not route.is_public)


@dataclass(frozen=True)
class ServerFacts:
    """What the statement says of this installation. `oauth_urls` holds the URLs of the
    authorization server by the names of the oauth-uris extension (authorize, token …); it is
    empty where no tokens are asked for."""

    base_url: str
    version: str
    started: datetime
    allows_update_create: bool
    deletes_at_once: int = 1
    oauth_urls: Mapping[str, str] = field(default_factory=dict)


def require_mode(query: Iterable[tuple[str, str]]) -> None:
    """400 for what is no `mode` of R4; the statement is the whole one in all of them, as
    "servers MAY ignore the mode parameter and return a CapabilityStatement resource"."""
    given = [value for name, value in query if name == MODE]
    if len(given) > 1:
        raise bad_parameter(f"{MODE} is given more than once")
    if given and given[0] not in _MODES:
        raise bad_parameter(f"{MODE}: {given[0]!r} is not {', '.join(_MODES)}")


def capability_statement(registry: Registry, facts: ServerFacts) -> Json:
    """The statement as an R4 resource."""
    return {
        "resourceType": "CapabilityStatement",
        "url": f"{facts.base_url}/metadata",
        "version": facts.version,
        "name": "MedSAGE",
        "title": "MedSAGE FHIR R4 server",
        "status": "active",
        "date": instant(facts.started),
        "kind": "instance",
        "software": {"name": "MedSAGE", "version": facts.version},
        "implementation": {"description": "MedSAGE FHIR R4 server", "url": facts.base_url},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "application/fhir+xml", "json", "xml"],
        "patchFormat": list(PATCH_FORMATS),
        "rest": [
            {
                "mode": "server",
                "security": _security(facts.oauth_urls),
                "resource": [_resource(registry, type, facts) for type in sorted(resource_types())],
                "interaction": _interactions(_SYSTEM, None),
                "operation": _operations(("system",), None),
                "searchParam": _searched_everywhere(registry),
                "compartment": [
                    f"http://hl7.org/fhir/CompartmentDefinition/{name.lower()}"
                    for name in sorted(compartments())
                ],
                "documentation": _SEARCHES,
            }
        ],
    }


def _security(oauth_urls: Mapping[str, str]) -> Json:
    if not oauth_urls:
        return {"cors": True, "description": "Development setting: no access token is asked for"}
    uris = [{"url": name, "valueUri": url} for name, url in oauth_urls.items()]
    coding = {"system": _SECURITY_SERVICES, "code": "SMART-on-FHIR"}
    return {
        "extension": [{"url": _OAUTH_URIS, "extension": uris}],
        "cors": True,
        "service": [{"coding": [coding], "text": "OAuth2 using SMART-on-FHIR profile"}],
    }


def _resource(registry: Registry, type: str, facts: ServerFacts) -> Json:
    resource: Json = {
        "type": type,
        "documentation": _NOTES.get(type),
        "interaction": _interactions(
            tuple(route.shape for route in ROUTES if route.shape.startswith("{type}")), type
        ),
        "versioning": "versioned-update",
        "readHistory": _has("history-instance", type),
        "updateCreate": facts.allows_update_create and _has("update", type),
        "conditionalCreate": _has("create", type) and "if_none_exist" in UNDERSTOOD["create"],
        "conditionalRead": _conditional_read(UNDERSTOOD["read"]),
        "conditionalUpdate": _is_by_criteria("update", type),
        "conditionalDelete": _conditional_delete(type, facts.deletes_at_once),
        "searchInclude": registry.includes(type),
        "searchRevInclude": registry.reverse_includes(type),
        "searchParam": [*map(_parameter, registry.searchable(type)), *FURTHER],
        "operation": _operations(("type", "instance", "version"), type),
    }
    return {name: value for name, value in resource.items() if value not in ([], None)}


def _searched_everywhere(registry: Registry) -> list[Json]:
    """The parameters of a search over all types."""
    return [*map(_parameter, registry.searchable(ALL_TYPES)), *FURTHER]


def _parameter(parameter: Parameter) -> Json:
    return {
        "name": parameter.code,
        "definition": parameter.url,
        "type": parameter.fhir_type,
    }


def _operations(levels: Iterable[Level], type: str | None) -> list[Json]:
    wanted = tuple(levels)
    return [
        {"name": each.code, "definition": each.definition}
        for each in (*OPERATIONS, *QUERIES)
        if any(each.is_at(level, type) for level in wanted)
    ]


def _has(interaction: str, type: str) -> bool:
    return any(route.interaction == interaction and type not in route.excluded for route in ROUTES)


def _is_by_criteria(interaction: str, type: str) -> bool:
    """Whether the interaction is offered on what criteria in the URL match."""
    return any(
        route.interaction == interaction and route.shape == "{type}" and type not in route.excluded
        for route in ROUTES
    )


def _conditional_delete(type: str, at_once: int) -> str:
    if not _is_by_criteria("delete", type):
        return "not-supported"
    return "single" if at_once == 1 else "multiple"


def _interactions(shapes: Iterable[str], type: str | None) -> list[Json]:
    wanted = set(shapes)
    codes = dict.fromkeys(
        route.interaction
        for route in ROUTES
        if route.shape in wanted and type not in route.excluded and route.interaction != "operation"
    )
    return [{"code": code} for code in codes]


def _conditional_read(conditions: frozenset[str]) -> str:
    return {
        frozenset[str](): "not-supported",
        frozenset({"if_modified_since"}): "modified-since",
        frozenset({"if_none_match"}): "not-match",
        frozenset({"if_modified_since", "if_none_match"}): "full-support",
    }[conditions]
