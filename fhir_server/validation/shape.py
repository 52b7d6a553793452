"""The definitions turned into what a check looks up: one entry for each JSON property."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from fhir_server.fhir.definitions import ElementDefinition, choice_key, structures


@dataclass(frozen=True)
class Property:
    """One JSON property: `Observation.valueQuantity` has the name `value`, type `Quantity`."""

    key: str
    name: str
    type: str
    is_primitive: bool
    is_array: bool
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
            properties[key] = _property(
                key, name, kind=definition["kind"], target=target, element=element
            )
        if element["min"] > 0:
            required[name] = tuple(keys)
        if is_choice:
            choices[name] = tuple(keys)
    is_resource = definition["kind"] == "resource"
    return Shape(type_name, is_resource, properties, required, choices)


def _property(
    key: str, name: str, *, kind: str, target: str, element: ElementDefinition
) -> Property:
    is_element_id = name == "id" and kind != "resource"
    is_primitive = structures()[target]["kind"] == "primitive"
    return Property(
        key=key,
        name=name,
        type="element id" if is_element_id else target,
        is_primitive=is_primitive,
        is_array=element["max"] != "1",
        definition=element,
    )
