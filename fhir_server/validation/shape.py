"""The definitions turned into what a check looks up: one entry for each JSON property."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from fhir_server.fhir.definitions import ElementDefinition, choice_key, structures


@dataclass(frozen=True)
class Property:
    """One JSON property: `Observation.valueQuantity` has the name `value`, type `Quantity`.
    `has_sibling`: its id and extensions may stand beside it, under its key with `_`."""

    key: str
    name: str
    type: str
    is_primitive: bool
    is_array: bool
    has_sibling: bool
    definition: ElementDefinition


@dataclass(frozen=True)
class Shape:
    """All properties of a type; `required` and `choices` map element names to their keys."""

    type: str
    is_resource: bool
    properties: Mapping[str, Property]
    required: Mapping[str, tuple[str, ...]]
    choices: Mapping[str, tuple[str, ...]]

    def keys_of(self, name: str) -> tuple[str, ...]:
        """Every JSON key under which the element may appear, `_` siblings included."""
        keys = self.choices.get(name, (name,))
        return tuple(each for key in keys for each in (key, "_" + key))


@cache
def shape_of(type_name: str) -> Shape:
    """The shape of a type or backbone element of R4; raises KeyError for others."""
    definition = structures()[type_name]
    properties: dict[str, Property] = {}
    required: dict[str, tuple[str, ...]] = {}
    choices: dict[str, tuple[str, ...]] = {}
    for name, element in definition["elements"].items():
        is_choice = element.get("choice", False)
        keys = [choice_key(name, each) if is_choice else name for each in element["types"]]
        for key, target in zip(keys, element["types"], strict=True):
            properties[key] = _property(key, name, parent=type_name, target=target, element=element)
        if element["min"] > 0:
            required[name] = tuple(keys)
        if is_choice:
            choices[name] = tuple(keys)
    is_resource = definition["kind"] == "resource"
    return Shape(type_name, is_resource, properties, required, choices)


def _property(
    key: str, name: str, *, parent: str, target: str, element: ElementDefinition
) -> Property:
    is_element_id = name == "id" and structures()[parent]["kind"] != "resource"
    # These are no elements of their own: attributes in XML, and a narrative has its id inside.
    is_bare = is_element_id or target == "xhtml" or (parent == "Extension" and name == "url")
    is_primitive = structures()[target]["kind"] == "primitive"
    return Property(
        key=key,
        name=name,
        type="element id" if is_element_id else target,
        is_primitive=is_primitive,
        is_array=element["max"] != "1",
        has_sibling=is_primitive and not is_bare,
        definition=element,
    )
