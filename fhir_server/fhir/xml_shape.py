"""The shape of each type in XML (R4 XML Representation), from the same tables as everything else:
which child elements a type has, in what order, and which of its parts are attributes."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from fhir_server.fhir.definitions import ElementDefinition, choice_key, structures

FHIR = "http://hl7.org/fhir"
XHTML = "http://www.w3.org/1999/xhtml"

Kind = Literal["text", "boolean", "integer", "decimal", "complex", "resource", "xhtml"]

_NUMBERS: Mapping[str, Kind] = {
    "boolean": "boolean",
    "integer": "integer",
    "unsignedInt": "integer",
    "positiveInt": "integer",
    "decimal": "decimal",
    "xhtml": "xhtml",
}


@dataclass(frozen=True, slots=True)
class Child:
    """A child element: its place among the others, its FHIRPath name (that of the choice for
    value[x]), whether it repeats, and what it holds."""

    name: str
    element: str
    order: int
    kind: Kind
    type: str
    is_list: bool


@dataclass(frozen=True, slots=True)
class XmlShape:
    """A type in XML: its children by name, and the parts that are attributes."""

    children: Mapping[str, Child]
    attributes: frozenset[str]


@cache
def xml_shape(type: str) -> XmlShape:
    """The shape of an R4 type; backbone elements by path (`Observation.component`)."""
    definition = structures()[type]
    children: dict[str, Child] = {}
    attributes: set[str] = set()
    for order, (name, element) in enumerate(definition["elements"].items()):
        if _is_attribute(type, name):
            attributes.add(name)
            continue
        for each in _children(name, element, order):
            children[each.name] = each
    return XmlShape(children, frozenset(attributes))


def _is_attribute(type: str, name: str) -> bool:
    """The representation xmlAttr: the ids of elements (not those of resources), and the URL of
    an extension."""
    if name == "id":
        return structures()[type]["kind"] != "resource"
    return name == "url" and type == "Extension"


def _children(name: str, element: ElementDefinition, order: int) -> list[Child]:
    is_choice = element.get("choice", False)
    return [
        Child(
            name=choice_key(name, type) if is_choice else name,
            element=name,
            order=order,
            kind=_kind(type),
            type=type,
            is_list=element["max"] != "1",
        )
        for type in element["types"]
    ]


def _kind(type: str) -> Kind:
    kind = structures()[type]["kind"]
    if kind == "primitive":
        return _NUMBERS.get(type, "text")
    return "resource" if kind == "resource" else "complex"
