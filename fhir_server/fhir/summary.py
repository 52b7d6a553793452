"""The summary view of a resource (R4 Search, "Summary", `_summary=true`): the elements that its
definition marks as summary, at every level, and what is mandatory inside them.

Extensions and element ids are not marked and go, but for modifier extensions; an element of which
nothing would be left stays whole, so that no value turns into an empty one.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from fhir_server.fhir.codec import Resource
from fhir_server.fhir.definitions import choice_key, structures

_ALWAYS = frozenset({"resourceType", "id", "meta", "implicitRules", "modifierExtension"})
_WHOLE = frozenset({"Meta", "Extension", "Narrative"})
"""Types of whose parts nothing is left out."""

Kept = Mapping[str, str | None]
"""JSON property → the type by which its value is cut, None where it stays as it is."""


def summarized(resource: Resource) -> Resource:
    """The summary of a valid resource, without a tag that says so."""
    found = _part(resource, resource["resourceType"])
    contained = resource.get("contained", ())
    kept = _referred(found, {each.get("id", ""): each for each in contained})
    if kept:
        found["contained"] = [summarized(each) for each in contained if each.get("id") in kept]
    return found


def _part(value: Mapping[str, Any], type: str) -> dict[str, Any]:
    kept = _kept(type)
    found: dict[str, Any] = {}
    for name, each in value.items():
        if name in kept:
            found[name] = _cut(each, kept[name])
        elif name[:1] == "_" and name[1:] in kept and _lacks_value(value.get(name[1:])):
            found[name] = each
    return found


def _cut(value: Any, type: str | None) -> Any:
    if type is None:
        return value
    if isinstance(value, list):
        return [_cut(each, type) for each in value]
    if type == "Resource":
        return summarized(value)
    return _part(value, type) or value


def _lacks_value(value: Any) -> bool:
    return value is None or (isinstance(value, list) and None in value)


def _referred(found: Mapping[str, Any], contained: Mapping[str, Resource]) -> set[str]:
    """The ids of the contained resources that `found` refers to, or that those refer to."""
    kept: set[str] = set()
    waiting: list[Any] = [found] if contained else []
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, str) and value[:1] == "#" and value[1:] in contained.keys() - kept:
            kept.add(value[1:])
            waiting.append(summarized(contained[value[1:]]))
    return kept


@cache
def _kept(type: str) -> Kept:
    definition = structures()[type]
    is_resource = definition["kind"] == "resource"
    found: dict[str, str | None] = dict.fromkeys(_ALWAYS) if is_resource else {}
    for name, element in definition["elements"].items():
        if name not in found and (element.get("summary") or element["min"]):
            for each in element["types"]:
                key = choice_key(name, each) if element.get("choice") else name
                found[key] = each if _is_cut(each) else None
    return found


def _is_cut(type: str) -> bool:
    return type not in _WHOLE and structures()[type]["kind"] != "primitive"
