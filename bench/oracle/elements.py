"""The values of a search parameter in a resource, found by its FHIRPath expression."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from fhir_server.fhir.definitions import structures, table, value_sets
from fhir_server.fhir.fhirpath import Node, compiled

Resource = Mapping[str, Any]
Row = Mapping[str, Any]

_INDEX = re.compile(r"\[\d+\]")

UNSEARCHABLE: Mapping[str, tuple[str, ...]] = {
    "date": ("string", "boolean", "Age", "Range"),
    "quantity": ("string", "boolean", "dateTime", "Period"),
    "string": ("boolean", "dateTime", "Age", "Period", "Range"),
    "reference": ("Attachment", "CodeableConcept", "Identifier", "string"),
    "token": ("Quantity", "Range", "Reference", "Period"),
}
"""Parameter type → datatypes to which its expressions lead, and which it cannot search."""


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a parameter: the JSON, its datatype, and what the definitions say of its
    element."""

    content: Any
    datatype: str
    element: Mapping[str, Any]

    @property
    def implied_system(self) -> str | None:
        """The system of a `code`, from the value set that its element must take it from."""
        codes = value_sets().get(self.element.get("values", ""), {})
        return next((system for system, known in codes.items() if self.content in known), None)


@cache
def rows() -> dict[str, Row]:
    """The official search parameters by url."""
    return {row["url"]: row for row in table("search_parameters.json")}


@cache
def row(type_: str, code: str) -> Row:
    """The definition of a parameter on a type, which may come from Resource."""
    for base in (type_, "DomainResource", "Resource"):
        for each in rows().values():
            if each["code"] == code and base in each["base"]:
                return each
    raise LookupError(f"{type_} has no search parameter {code}")


def values(resource: Resource, definition: Row) -> list[Value]:
    """What the expression finds in the resource."""
    expression = _spelt_right(definition["expression"])
    return _searchable(definition, compiled(expression).nodes(dict(resource)))


def component_values(resource: Resource, definition: Row) -> list[list[list[Value]]]:
    """Of a composite: for each element that it is about, the values of each component."""
    elements = compiled(definition["expression"]).nodes(dict(resource))
    variables = {"resource": resource, "rootResource": resource}
    parts = [(rows()[each["url"]], each["expression"]) for each in definition["component"]]
    return [
        [
            _searchable(part, compiled(_spelt_right(path)).nodes(element, variables))
            for part, path in parts
        ]
        for element in elements
    ]


def _searchable(definition: Row, nodes: list[Node]) -> list[Value]:
    wrong = UNSEARCHABLE.get(definition["type"], ())
    return [_value(node) for node in nodes if node.type not in wrong]


def _spelt_right(expression: str) -> str:
    """One component of the standard says DateTime where the type is dateTime; some ask for an
    extension where its value is meant (docs/spec-readings.md)."""
    fixed = re.sub(r"\bas\(DateTime\)", "as(dateTime)", expression)
    return re.sub(r"(extension\('[^']*'\))$", r"\1.value", fixed)


def _value(node: Node) -> Value:
    return Value(node.value, node.type or "", _element(node.place or ""))


@cache
def _definition(path: str) -> Mapping[str, Any]:
    """The definition of the element at a path from a type, through the types between."""
    head, *names = path.split(".")
    types = head
    found: Mapping[str, Any] = {}
    for name in names:
        known = structures().get(types)
        found = {**known["elements"].get(name, {})} if known else {}
        inner = found.get("types", ())
        backbone = f"{types}.{name}"
        types = backbone if backbone in structures() else (inner[0] if inner else "")
    return found


def _element(place: str) -> Mapping[str, Any]:
    return _definition(_INDEX.sub("", place))
