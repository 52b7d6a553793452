"""Chains and `_has` (R4 Search, "Chained parameters", "Reverse Chaining"): over references, and
over canonicals by what resources are called."""

from collections.abc import Callable
from contextlib import suppress

from fhir_server.fhir.definitions import resource_types
from fhir_server.fhir.outcome import FhirError, bad_parameter
from fhir_server.search import canonical
from fhir_server.search.contained import leads_to_contained
from fhir_server.search.expression import Expression, LinkedFrom, LinksTo, any_of
from fhir_server.search.parse import find_parameter, near
from fhir_server.search.registry import Parameter, Registry

Inner = Callable[[str], Expression]
"""A resource type → the rest of the chain on resources of that type."""


def chained(parameter: Parameter, modifier: str, inner: Inner) -> Expression:
    """The chain over every target type that knows the rest; 400 when none does."""
    found: list[Expression] = []
    refusals: list[FhirError] = []
    for target in _targets(parameter, modifier):
        try:
            rest = inner(target)
        except FhirError as refusal:
            refusals.append(refusal)
            continue
        if parameter.is_link:
            found.append(LinksTo(parameter.key, target, rest))
            with suppress(FhirError):  # docs/spec-readings.md, "Contained resources"
                found.append(leads_to_contained(parameter.key, target, rest))
        if parameter.is_canonical and canonical.is_canonical(target):
            found.append(canonical.names(parameter.key, target, rest))
    if not found:
        raise refusals[0] if refusals else bad_parameter(f"{parameter.code} cannot be chained")
    return any_of(found)


def _targets(parameter: Parameter, modifier: str) -> tuple[str, ...]:
    if parameter.kind != "reference":
        raise bad_parameter(
            f"{parameter.code} of {parameter.type} is a {parameter.fhir_type}; "
            "only references can be chained"
        )
    if not (parameter.is_link or parameter.is_canonical):
        raise bad_parameter(f"{parameter.code} of {parameter.type} leads to no resource here")
    if not modifier:
        return parameter.targets
    if modifier not in parameter.targets:
        raise bad_parameter(f"{parameter.code} of {parameter.type} does not refer to {modifier!r}")
    return (modifier,)


def reverse(
    registry: Registry, type_: str, name: str, inner: Callable[[str, str], Expression]
) -> Expression:
    """`_has:Source:parameter:rest` on resources of `type_`; `inner` plans the rest on Source."""
    parts = name.split(":", 3)
    if len(parts) != 4 or not all(parts):
        raise bad_parameter(f"{name}: _has is _has:Type:reference:parameter=value")
    _, source, code, rest = parts
    if source not in resource_types():
        known = near(source, sorted(resource_types()))
        raise bad_parameter(f"{name}: {source!r} is not a resource type of R4{known}")
    parameter = find_parameter(registry, source, code)
    if type_ not in parameter.targets:
        raise bad_parameter(f"{name}: {source}.{code} does not refer to {type_}")
    test = inner(source, rest)
    found: list[Expression] = []
    if parameter.is_link:
        found.append(LinkedFrom(source, parameter.key, test))
    if parameter.is_canonical and canonical.is_canonical(type_):
        found.append(canonical.named_by(type_, source, parameter.key, test))
    if not found:
        raise bad_parameter(f"{name}: {source}.{code} does not refer to resources here")
    return any_of(found)
