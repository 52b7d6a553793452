"""Filters of a value set on the concepts of a code system (R4 ValueSet.compose.include.filter)."""

from collections.abc import Callable, Mapping
from typing import Any

import jsonschema_rs

from fhir_server.terminology.code_system import CodeSystem, Concept, UnusableTerminology

Passes = Callable[[Concept], bool]

HIERARCHY = frozenset({"concept", "code"})
"""Properties on which the hierarchical filters work."""


def passing(system: CodeSystem, given: Mapping[str, Any]) -> Passes:
    """The test that a filter makes of each concept; UnusableTerminology for a filter that this
    server does not know or that the system has no property for."""
    name, operator, value = (given.get(part) for part in ("property", "op", "value"))
    if not (isinstance(name, str) and isinstance(operator, str) and isinstance(value, str)):
        raise UnusableTerminology(f"a filter on {system.url} lacks its property, op or value")
    make = OPERATORS.get(operator)
    if make is None:
        raise UnusableTerminology(f"the filter operator {operator!r} is not supported")
    if not system.knows_property(name):
        raise UnusableTerminology(f"the code system {system.url} has no property {name!r}")
    return make(system, name, value)


def _among(codes: frozenset[str], name: str, operator: str) -> Passes:
    if name not in HIERARCHY:
        raise UnusableTerminology(f"the filter {operator} is about concepts, not about {name!r}")
    return lambda concept: concept.code in codes


def _is_a(system: CodeSystem, name: str, value: str) -> Passes:
    return _among(system.below(value), name, "is-a")


def _descendent_of(system: CodeSystem, name: str, value: str) -> Passes:
    return _among(system.below(value) - {value}, name, "descendent-of")


def _is_not_a(system: CodeSystem, name: str, value: str) -> Passes:
    codes = frozenset(system.concepts) - system.below(value)
    return _among(codes, name, "is-not-a")


def _generalizes(system: CodeSystem, name: str, value: str) -> Passes:
    return _among(system.above(value), name, "generalizes")


def _equals(system: CodeSystem, name: str, value: str) -> Passes:
    at = "code" if name == "concept" else name
    return lambda concept: value in system.values(concept, at)


def _in(system: CodeSystem, name: str, value: str) -> Passes:
    at = "code" if name == "concept" else name
    wanted = frozenset(each.strip() for each in value.split(","))
    return lambda concept: not wanted.isdisjoint(system.values(concept, at))


def _not_in(system: CodeSystem, name: str, value: str) -> Passes:
    inside = _in(system, name, value)
    return lambda concept: not inside(concept)


def _exists(system: CodeSystem, name: str, value: str) -> Passes:
    if value not in ("true", "false"):
        raise UnusableTerminology(f"the filter exists takes true or false, not {value!r}")
    at = "code" if name == "concept" else name
    return lambda concept: bool(system.values(concept, at)) == (value == "true")


def _regex(system: CodeSystem, name: str, value: str) -> Passes:
    """The whole value matches; by an engine whose time grows with the text alone."""
    at = "code" if name == "concept" else name
    schema = {"type": "string", "pattern": f"^(?:{value})$"}
    try:
        expression = jsonschema_rs.Draft202012Validator(
            schema, pattern_options=jsonschema_rs.RegexOptions()
        )
    except jsonschema_rs.ValidationError:
        raise UnusableTerminology(f"{value!r} is not a regular expression here") from None
    return lambda concept: any(map(expression.is_valid, system.values(concept, at)))


OPERATORS: Mapping[str, Callable[[CodeSystem, str, str], Passes]] = {
    "is-a": _is_a,
    "descendent-of": _descendent_of,
    "is-not-a": _is_not_a,
    "generalizes": _generalizes,
    "=": _equals,
    "in": _in,
    "not-in": _not_in,
    "exists": _exists,
    "regex": _regex,
}
"""The filter operators of R4."""
