"""The input of an operation, from the URL, a Parameters resource, or a bare resource (R4
Operations, "Executing an Operation Synchronously"; Parameters)."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from fhir_server.fhir.codec import Resource, parse
from fhir_server.fhir.dates import time_range
from fhir_server.fhir.outcome import FhirError, Issue, bad_parameter, invalid
from fhir_server.interactions.context import Context, FhirRequest
from fhir_server.interactions.write import require_valid
from fhir_server.operations.operation import Operation, OperationRequest, Parameter

Given = tuple[str, Any]
"""A name and a value: text from the URL, JSON from a body."""

_PATTERNS: Mapping[str, re.Pattern[str]] = {
    "boolean": re.compile("true|false"),
    "code": re.compile(r"\S+(?: \S+)*"),
    "date": re.compile(r"\d{4}(?:-\d\d(?:-\d\d)?)?"),
    "id": re.compile(r"[A-Za-z0-9\-.]{1,64}", re.ASCII),
    "instant": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)"),
    "integer": re.compile(r"0|[-+]?[1-9]\d{0,9}"),
    "positiveInt": re.compile(r"\+?[1-9]\d{0,9}"),
    "string": re.compile(r"(?s).+"),
    "uri": re.compile(r"\S+"),
}
"""How a value of each simple type is written."""

_DATES = frozenset({"date", "instant"})
_WHOLE_NUMBERS = frozenset({"integer", "positiveInt"})
_LARGEST = 2_147_483_647


def operation_request(
    context: Context, operation: Operation, request: FhirRequest
) -> OperationRequest:
    """The call with its parameters checked; FhirError 400 with an issue for each that is
    unknown, of another type, missing, or given too often."""
    problems: list[Issue] = []
    given: list[Given] = [*request.query, *_of_body(context, operation, request)]
    known = {each.name: each for each in operation.parameters}
    values: dict[str, list[Any]] = {}
    search: list[tuple[str, str]] = []
    for name, value in given:
        parameter = known.get(name)
        try:
            if parameter is not None:
                values.setdefault(name, []).append(_value(parameter, value))
            elif operation.takes_search and isinstance(value, str | bool | int):
                search.append((name, _text(value)))
            else:
                raise _unknown(operation, name)
        except FhirError as refusal:
            problems.extend(refusal.issues)
    problems.extend(_miscounted(operation, given))
    if problems:
        raise FhirError(400, tuple(problems))
    found = {name: tuple(each) for name, each in values.items()}
    return OperationRequest(request, found, tuple(search))


def _unknown(operation: Operation, name: str) -> FhirError:
    has = ", ".join(each.name for each in operation.parameters) or "none"
    return bad_parameter(f"${operation.code} has no parameter {name!r}; it has {has}")


def _miscounted(operation: Operation, given: Iterable[Given]) -> Iterable[Issue]:
    names = [name for name, _ in given]
    for each in operation.parameters:
        count = names.count(each.name)
        if count < each.least:
            text = f"${operation.code} needs the parameter {each.name} ({each.type})"
            yield Issue("error", "required", text)
        if each.most is not None and count > each.most:
            text = f"{each.name} is given {count} times; {each.most} is the most"
            yield Issue("error", "invalid", text)


def _of_body(context: Context, operation: Operation, request: FhirRequest) -> list[Given]:
    if not request.body:
        return []
    resource = parse(request.body)
    bare = _bare(operation, resource, request)
    if bare is not None:
        return [(bare.name, resource)]
    found = resource.get("resourceType")
    if found != "Parameters":
        raise invalid(f"${operation.code} takes a Parameters resource, not {found!r}")
    require_valid(context, _shell(resource))
    return [_named(operation, each) for each in resource.get("parameter", [])]


def _bare(operation: Operation, resource: Resource, request: FhirRequest) -> Parameter | None:
    """The parameter that the body is, where the only one that is no simple value is a resource
    (R4: the rest may then stand in the URL)."""
    complex_ones = [each for each in operation.parameters if not each.is_simple]
    if len(complex_ones) != 1 or complex_ones[0].type not in ("Resource", "Bundle"):
        return None
    found = resource.get("resourceType")
    if found != "Parameters":
        return complex_ones[0]
    names = [each.get("name") for each in _parts(resource)]
    is_meant = request.type == "Parameters" and complex_ones[0].name not in names
    return complex_ones[0] if is_meant else None


def _parts(resource: Resource) -> list[Resource]:
    parts = resource.get("parameter")
    return [each for each in parts if isinstance(each, dict)] if isinstance(parts, list) else []


def _shell(parameters: Resource) -> Resource:
    """The Parameters with the resources in it left to the operation to judge."""
    given = parameters.get("parameter")
    if not isinstance(given, list):
        return parameters
    kept = [
        {**each, "resource": {"resourceType": "Basic", "code": {"text": "-"}}}
        if isinstance(each, dict) and isinstance(each.get("resource"), dict)
        else each
        for each in given
    ]
    return {**parameters, "parameter": kept}


def _named(operation: Operation, part: Resource) -> Given:
    """A parameter of the body. FhirError 400 when it is of another type than declared."""
    name = part["name"]
    declared = {each.name: each.type for each in operation.parameters}.get(name)
    if "resource" in part:
        return name, part["resource"]
    if "part" in part:
        raise bad_parameter(f"${operation.code}: {name} has parts, which it may not have")
    found = next((key for key in part if key.startswith("value")), None)
    if found is None:
        raise bad_parameter(f"${operation.code}: {name} has no value")
    if declared is not None and found != f"value{declared[0].upper()}{declared[1:]}":
        raise bad_parameter(f"${operation.code}: {name} is {declared}, not {found}")
    return name, part[found]


def _value(parameter: Parameter, value: Any) -> Any:
    if not parameter.is_simple:
        if not isinstance(value, dict):
            raise bad_parameter(f"{parameter.name} is {parameter.type}; send it in the body")
        found = value.get("resourceType")
        if parameter.type == "Bundle" and found != "Bundle":
            raise bad_parameter(f"{parameter.name} is a Bundle, not {found!r}")
        return value
    text = _text(value) if not isinstance(value, dict) else ""
    if _PATTERNS[parameter.type].fullmatch(text) is None or not _is_possible(parameter, text):
        raise bad_parameter(f"{parameter.name}: {text!r} is no {parameter.type}")
    if parameter.type in _WHOLE_NUMBERS:
        return int(text)
    return text == "true" if parameter.type == "boolean" else text


def _is_possible(parameter: Parameter, text: str) -> bool:
    """Whether the calendar has the date, and an integer of FHIR the number."""
    if parameter.type in _WHOLE_NUMBERS:
        return abs(int(text)) <= _LARGEST
    if parameter.type in _DATES:
        try:
            time_range(text)
        except ValueError:
            return False
    return True


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
