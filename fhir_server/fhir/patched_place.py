"""Places in a resource's JSON that a FHIRPath Patch changes, and the values it puts there.

FHIR's JSON keeps what extends a primitive beside it (`_name`), in lists place by place, and names
a choice by its type (`valueQuantity`); a place changes all of that together. Mistakes are
ValueErrors that say what is wrong.
"""

import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, NamedTuple

from fhir_server.fhir.codec import Resource
from fhir_server.fhir.definitions import choice_key, resource_types, structures
from fhir_server.fhir.fhirpath import Node

_STEP = re.compile(r"(\w+)(?:\[(\d+)\])?")


class Value(NamedTuple):
    """A value of a FHIR type; `beside` is what stands in `_name` for a primitive."""

    type: str
    plain: Any
    beside: Any = None


@dataclass(frozen=True)
class Element:
    """What R4 says of an element: its types, and whether it is a list or a choice."""

    types: tuple[str, ...]
    is_list: bool
    is_choice: bool


def element_at(owner: str, name: str) -> Element:
    """The element of a type, or of a backbone element by its path."""
    facts = structures().get(owner)
    found = facts["elements"].get(name) if facts else None
    if found is None:
        raise ValueError(f"{owner} has no element {name}")
    is_choice = bool(found.get("choice", False))
    return Element(tuple(found["types"]), found["max"] != "1", is_choice)


@dataclass(frozen=True)
class Place:
    """The element `name` of `holder`; `at` is the place in the list of one that repeats."""

    holder: dict[str, Any]
    name: str
    element: Element
    at: int | None = None

    @property
    def keys(self) -> list[str]:
        """The keys under which it stands: one, or none, of a choice."""
        if not self.element.is_choice:
            return [self.name] if self._has(self.name) else []
        keys = (choice_key(self.name, type) for type in self.element.types)
        return [key for key in keys if self._has(key)]

    @property
    def is_filled(self) -> bool:
        """Whether anything stands there."""
        return bool(self.keys)

    @property
    def length(self) -> int:
        """How many elements the list has."""
        return max(len(self.holder.get(key, [])) for key in (self.name, f"_{self.name}"))

    @property
    def value(self) -> Any:
        """The JSON value."""
        found = self.holder[self.keys[0]]
        return found if self.at is None else found[self.at]

    def append(self, value: Value) -> None:
        """Put it at the end of the list, or where nothing is."""
        if self.element.is_list:
            self.insert(self.length, value)
        else:
            self._set(value)

    def insert(self, index: int, value: Value) -> None:
        """Put it into the list."""
        length = self.length
        self._insert(self.name, length, index, value.plain)
        self._insert(f"_{self.name}", length, index, value.beside)

    def take(self, index: int) -> Value:
        """Take it out of the list."""
        found = [self._take(key, index) for key in (self.name, f"_{self.name}")]
        return Value(self.element.types[0], *found)

    def replace(self, value: Value) -> None:
        """Put it in the place of what is there."""
        if self.at is not None:
            self.take(self.at)
            self.insert(self.at, value)
            return
        self.delete()
        self._set(value)

    def delete(self) -> None:
        """Take away what is there."""
        if self.at is not None:
            self.take(self.at)
            return
        for key in self.keys:
            self.holder.pop(key, None)
            self.holder.pop(f"_{key}", None)

    def _has(self, key: str) -> bool:
        return key in self.holder or f"_{key}" in self.holder

    def _set(self, value: Value) -> None:
        key = choice_key(self.name, value.type) if self.element.is_choice else self.name
        if value.plain is not None:
            self.holder[key] = value.plain
        if value.beside is not None:
            self.holder[f"_{key}"] = value.beside

    def _insert(self, key: str, length: int, index: int, value: Any) -> None:
        if value is None and key not in self.holder:
            return
        values = self.holder.setdefault(key, [])
        values.extend([None] * (length - len(values)))
        values.insert(index, value)

    def _take(self, key: str, index: int) -> Any:
        values = self.holder.get(key)
        if values is None or index >= len(values):
            return None
        taken = values.pop(index)
        if all(each is None for each in values):
            del self.holder[key]
        return taken


def place_of(resource: Resource, node: Node) -> Place:
    """Where a result of FHIRPath stands; ValueError when it is not an element below the root."""
    if node.place is None:
        raise ValueError("the path leads to no element of the resource")
    holder, owner = resource, resource["resourceType"]
    *above, last = node.place.split(".")[1:] or [""]
    for step in above:
        place = _step(holder, owner, step)
        holder = place.value
        if not isinstance(holder, dict):
            raise ValueError("extensions of primitives can't be changed one by one; replace all")
        owner = holder.get("resourceType") or _type(place)
    return _step(holder, owner, last)


def _step(holder: dict[str, Any], owner: str, step: str) -> Place:
    found = _STEP.fullmatch(step)
    if found is None:
        raise ValueError("the path leads to no element of the resource")
    element = element_at(owner, found[1])
    at = int(found[2]) if found[2] is not None else (0 if element.is_list else None)
    return Place(holder, found[1], element, at)


def _type(place: Place) -> str:
    if not place.element.is_choice:
        return place.element.types[0]
    key = place.keys[0]
    return next(type for type in place.element.types if choice_key(place.name, type) == key)


def value_of(part: Mapping[str, Any], element: Element) -> Value:
    """The value of a part of Parameters, for the element; ValueError when its type is wrong."""
    if "resource" in part:
        return _resource(part["resource"], element)
    if "part" in part:
        return _anonymous(part["part"], element)
    for type in element.types:
        # Parameters have no narratives: one is sent as a string.
        key = choice_key("value", "string" if type == "xhtml" else type)
        if key in part or f"_{key}" in part:
            return Value(type, deepcopy(part.get(key)), deepcopy(part.get(f"_{key}")))
    given = next((name for name in part if name.lstrip("_").startswith("value")), "no value")
    raise ValueError(f"{given} is not of the type {' or '.join(element.types)}")


def _resource(resource: Resource, element: Element) -> Value:
    type = resource.get("resourceType", "")
    if "Resource" not in element.types or type not in resource_types():
        raise ValueError(f"a resource is not of the type {' or '.join(element.types)}")
    return Value(type, deepcopy(resource))


def _anonymous(parts: list[dict[str, Any]], element: Element) -> Value:
    """An element that is made of its own elements, such as Patient.contact."""
    type = element.types[0]
    if len(element.types) > 1 or structures()[type]["kind"] not in ("backbone", "complex"):
        raise ValueError(f"parts make no value of the type {' or '.join(element.types)}")
    made: dict[str, Any] = {}
    for part in parts:
        place = Place(made, part["name"], element_at(type, part["name"]))
        if not place.element.is_list and place.is_filled:
            raise ValueError(f"{part['name']} is given twice")
        place.append(value_of(part, place.element))
    return Value(type, made)
