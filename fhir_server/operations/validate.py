"""$validate (R4 Resource $validate): what the server would say to a resource, and whether it would
take it. A mode is tried for real, in a unit that is undone."""

import re
from collections.abc import Awaitable, Callable, Mapping

from fhir_server.fhir.codec import encode
from fhir_server.fhir.definitions import resource_types
from fhir_server.fhir.outcome import (
    FhirError,
    Issue,
    bad_parameter,
    error,
    gone,
    not_found,
    operation_outcome,
    unsupported,
)
from fhir_server.interactions.context import Context, FhirRequest, FhirResponse, Resource
from fhir_server.interactions.create import create
from fhir_server.interactions.delete import delete
from fhir_server.interactions.keys import key_of, type_of
from fhir_server.interactions.update import update
from fhir_server.operations.operation import CORE, Operation, OperationRequest, Parameter
from fhir_server.operations.rehearsal import Rehearsal
from fhir_server.security.scopes import Action

_MODES: Mapping[str, Action] = {"create": "c", "update": "u", "delete": "d"}
_INSTANCE_MODES = frozenset({"update", "delete"})
_ABSTRACT = frozenset({"Resource", "DomainResource"})
_BASE_PROFILE = re.compile(
    r"http://hl7\.org/fhir/StructureDefinition/([A-Z][A-Za-z]+)(?:\|4\.0(?:\.1)?)?"
)

Try = Callable[[Context, FhirRequest], Awaitable[FhirResponse]]


async def validate(context: Context, asked: OperationRequest) -> FhirResponse:
    """200 and an OperationOutcome, whatever is found; 400 when the question can't be answered."""
    resource, mode = asked.only("resource"), asked.only("mode")
    profiled = _profiled_type(asked.only("profile"))
    _require_sense(asked, resource, mode)
    issues: tuple[Issue, ...] = ()
    if mode != "delete":
        issues = _judged(context, asked, resource, profiled)
    if mode is not None and not any(each.severity in ("fatal", "error") for each in issues):
        issues += await _tried(context, asked, resource, mode)
    if not issues:
        would = f"; {mode} would be accepted" if mode else ""
        issues = (Issue("information", "informational", f"No problem was found{would}"),)
    return FhirResponse(200, encode(operation_outcome(issues)))


def _profiled_type(profile: str | None) -> str | None:
    """The type that the profile describes. R4: a server that can't validate against a profile
    SHALL return an error."""
    if profile is None:
        return None
    found = _BASE_PROFILE.fullmatch(profile)
    if found is None or found[1] not in resource_types() | _ABSTRACT:
        raise unsupported(f"profile: this server has no profile {profile}")
    return found[1]


def _require_sense(asked: OperationRequest, resource: Resource | None, mode: str | None) -> None:
    if mode is not None and mode not in _MODES:
        raise bad_parameter(f"mode: {mode!r} is none of {', '.join(_MODES)}")
    if mode in _INSTANCE_MODES and asked.request.id is None:
        raise bad_parameter(f"mode: {mode} is asked of a resource: POST [type]/[id]/$validate")
    if resource is None and mode != "delete":
        raise error(400, "required", "$validate needs the parameter resource, unless mode=delete")


def _judged(
    context: Context, asked: OperationRequest, resource: Resource, profiled: str | None
) -> tuple[Issue, ...]:
    """What is wrong with the content itself."""
    issues = list(context.validator.issues(resource))
    found = resource.get("resourceType")
    if found != asked.request.type:
        text = f"the URL says {asked.request.type}, the resource is {found!r}"
        issues.insert(0, Issue("error", "invalid", text, ("resourceType",)))
    if profiled not in (None, found, *_ABSTRACT):
        text = f"the profile describes {profiled}, the resource is {found!r}"
        issues.append(Issue("error", "invalid", text, ("resourceType",)))
    return tuple(issues)


async def _tried(
    context: Context, asked: OperationRequest, resource: Resource | None, mode: str
) -> tuple[Issue, ...]:
    """Why the interaction would be refused; nothing when it would not."""
    request = FhirRequest(mode, asked.request.type, asked.request.id)
    if mode != "delete":
        request = FhirRequest(mode, request.type, request.id, body=encode(resource))
    rehearsal = Rehearsal(context.store).instead(context)
    try:
        context.access.require(type_of(request), _MODES[mode])
        await _INTERACTIONS[mode](rehearsal, request)
    except FhirError as refusal:
        return refusal.issues
    return ()


async def _delete(context: Context, request: FhirRequest) -> FhirResponse:
    """A deletion of what is not there would succeed, and yet be no deletion."""
    key = key_of(request)
    stored = await context.store.get(key)
    if stored is None:
        raise not_found(key)
    if stored.is_deleted:
        raise gone(key)
    return await delete(context, request)


async def _create(context: Context, request: FhirRequest) -> FhirResponse:
    return await create(context, FhirRequest("create", request.type, body=request.body))


_INTERACTIONS: Mapping[str, Try] = {"create": _create, "update": update, "delete": _delete}

VALIDATE = Operation(
    code="validate",
    definition=f"{CORE}Resource-validate",
    levels=frozenset({"type", "instance"}),
    parameters=(
        Parameter("resource", "Resource"),
        Parameter("mode", "code"),
        Parameter("profile", "uri"),
    ),
    rehearses=True,
    run=validate,
)
