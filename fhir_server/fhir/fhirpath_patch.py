"""FHIRPath Patch (R4 "FHIRPath Patch"): a Parameters resource of operations on a resource.

Paths are evaluated by FHIRPath and must lead to elements of the resource itself. FhirError 400
for Parameters that are no patch, 422 for one that can't be applied to this resource.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any

from fhir_server.fhir.codec import Resource
from fhir_server.fhir.fhirpath import FhirPathError, Node, compiled
from fhir_server.fhir.outcome import FhirError, business_rule, invalid
from fhir_server.fhir.patched_place import Place, Value, element_at, place_of, value_of

_NEEDS: Mapping[str, tuple[str, ...]] = {
    "add": ("path", "name", "value"),
    "insert": ("path", "value", "index"),
    "delete": ("path",),
    "replace": ("path", "value"),
    "move": ("path", "source", "destination"),
}
_SELECTING = frozenset(
    {
        "all", "as", "children", "contains", "count", "empty", "endsWith", "exists", "extension",
        "first", "hasExtension", "hasValue", "is", "last", "length", "lower", "not", "ofType",
        "resolve", "single", "skip", "startsWith", "tail", "take", "toString", "upper", "where",
    }
)  # fmt: skip
"""The functions that a path may call. Others, such as `matches` and `repeat`, can take any time
or memory, and a path is evaluated while others wait to write."""

SECONDS = 2.0
"""The most that all paths of one patch may take."""

_TYPES: Mapping[str, str] = {
    "type": "valueCode",
    "path": "valueString",
    "name": "valueString",
    "index": "valueInteger",
    "source": "valueInteger",
    "destination": "valueInteger",
}


@dataclass(frozen=True)
class _Step:
    """One operation; `number` counts from 0, `value` is its part as it was sent."""

    number: int
    type: str
    said: Mapping[str, Any] = field(default_factory=dict)
    value: Mapping[str, Any] = field(default_factory=dict)
    until: float = 0.0
    """When the time of the whole patch has passed."""

    def failed(self, why: str) -> FhirError:
        return business_rule(f"operation {self.number} ({self.type} {self.said['path']}): {why}")


@dataclass(frozen=True)
class FhirPathPatch:
    """Operations that were read."""

    steps: tuple[_Step, ...]

    def applied(self, resource: Resource) -> Resource:
        """What the operations, each after the other, make of the resource, which itself stays
        as it is; FhirError 422 when one of them can't be done."""
        patched, until = deepcopy(resource), monotonic() + SECONDS
        for step in self.steps:
            try:
                _OPERATIONS[step.type](replace(step, until=until), patched)
            except ValueError as mistake:
                raise step.failed(str(mistake)) from None
        return patched


def fhirpath_patch(parameters: Resource) -> FhirPathPatch:
    """The patch in a Parameters resource that is valid; FhirError 400 when it is none."""
    if parameters.get("resourceType") != "Parameters":
        found = str(parameters.get("resourceType"))
        raise invalid(f"a FHIRPath Patch is a Parameters resource, not a {found}", found)
    steps = []
    for number, each in enumerate(parameters.get("parameter", [])):
        place = f"Parameters.parameter[{number}]"
        if each.get("name") != "operation":
            raise invalid(f"{each.get('name')!r}: the parameters are called operation", place)
        steps.append(_step(number, each.get("part", []), place))
    return FhirPathPatch(tuple(steps))


def _step(number: int, parts: list[dict[str, Any]], place: str) -> _Step:
    said: dict[str, Any] = {}
    value: dict[str, Any] = {}
    for part in parts:
        name = part["name"]
        if name in said or (name == "value" and value):
            raise invalid(f"{name} is given twice", place)
        if name == "value":
            value = part
        elif name not in _TYPES or _TYPES[name] not in part:
            expected = _TYPES.get(name)
            raise invalid(f"{name} needs {expected}" if expected else f"{name} is unknown", place)
        else:
            said[name] = part[_TYPES[name]]
    type = said.pop("type", None)
    if type not in _NEEDS:
        raise invalid(f"type is one of {', '.join(_NEEDS)}", place)
    given = {*said, *(("value",) if value else ())}
    if given != set(_NEEDS[type]):
        raise invalid(f"{type} has {', '.join(_NEEDS[type])}, and nothing else", place)
    said["path"] = _readable(said["path"], place)
    return _Step(number, type, said, value)


def _readable(path: str, place: str) -> str:
    """The path as FHIRPath reads it: the element of a narrative is called like the operator."""
    try:
        found = compiled(path)
    except FhirPathError as mistake:
        if path.endswith("text.div"):
            return _readable(path.removesuffix("div") + "`div`", place)
        raise invalid(f"path: {mistake}", place) from None
    others = sorted(found.functions - _SELECTING)
    if others:
        raise invalid(f"path: a patch cannot use {', '.join(others)}() in its paths", place)
    return path


def _nodes(step: _Step, resource: Resource) -> list[Node]:
    return compiled(step.said["path"]).nodes(resource, until=step.until)


def _only(step: _Step, resource: Resource) -> Node:
    nodes = _nodes(step, resource)
    if len(nodes) != 1:
        raise ValueError(f"the path leads to {len(nodes) or 'no'} elements, not to one")
    return nodes[0]


def _add(step: _Step, resource: Resource) -> None:
    node = _only(step, resource)
    holder = resource if _is_root(node, resource) else place_of(resource, node).value
    if not isinstance(holder, dict):
        raise ValueError("only an element that has elements can be added to")
    name = step.said["name"]
    element = element_at(node.path or node.type or "", name)
    place = Place(holder, name, element)
    if not element.is_list and place.is_filled:
        raise ValueError(f"{name} is there already")
    place.append(_value(step, place))


def _insert(step: _Step, resource: Resource) -> None:
    place = _list(step, resource)
    index = step.said["index"]
    if not 0 <= index <= place.length:
        raise ValueError(f"the list has {place.length} elements, none can be inserted at {index}")
    place.insert(index, _value(step, place))


def _delete(step: _Step, resource: Resource) -> None:
    nodes = _nodes(step, resource)
    if len(nodes) > 1:
        raise ValueError(f"the path leads to {len(nodes)} elements; one can be deleted")
    if nodes:
        place_of(resource, nodes[0]).delete()
        _prune(resource)


def _replace(step: _Step, resource: Resource) -> None:
    place = place_of(resource, _only(step, resource))
    place.replace(_value(step, place))


def _move(step: _Step, resource: Resource) -> None:
    place = _list(step, resource)
    source, destination = step.said["source"], step.said["destination"]
    for index in (source, destination):
        if not 0 <= index < place.length:
            raise ValueError(f"the list has {place.length} elements, none at {index}")
    place.insert(destination, place.take(source))


_OPERATIONS: Mapping[str, Callable[[_Step, Resource], None]] = {
    "add": _add,
    "insert": _insert,
    "delete": _delete,
    "replace": _replace,
    "move": _move,
}


def _prune(holder: dict[str, Any]) -> None:
    """Take away the elements in which nothing is left: FHIR has no empty ones."""
    for name, value in list(holder.items()):
        items = value if isinstance(value, list) else [value]
        for item in items:
            if isinstance(item, dict):
                _prune(item)
        if isinstance(value, list):
            value[:] = [item for item in value if item != {}]
        if value in ({}, []):
            del holder[name]


def _value(step: _Step, place: Place) -> Value:
    return value_of(step.value, place.element)


def _list(step: _Step, resource: Resource) -> Place:
    """The one list whose elements the path leads to."""
    places = [place_of(resource, node) for node in _nodes(step, resource)]
    if not places:
        raise ValueError("the path leads to no elements")
    first = places[0]
    is_whole = len(places) == first.length and all(
        each.holder is first.holder and each.name == first.name for each in places
    )
    if not first.element.is_list or not is_whole:
        raise ValueError("the path leads to something else than the elements of one list")
    return first


def _is_root(node: Node, resource: Resource) -> bool:
    return node.place is None and node.value is resource
