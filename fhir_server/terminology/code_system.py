"""A CodeSystem as facts: its concepts, their properties and their hierarchy (R4 CodeSystem)."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from fhir_server.search.codes import CodesUnknown

Resource = Mapping[str, Any]

USABLE = frozenset({"complete", "fragment"})
"""Kinds of content from which codes can be listed; a fragment has what its publisher thought
enough (docs/spec-readings.md, "Code systems in part")."""

_PARENT, _CHILD = "parent", "child"
_INACTIVE = frozenset({"retired", "inactive"})
_NOT_SELECTABLE = ("notSelectable", "abstract")


class UnusableTerminology(CodesUnknown):
    """A value set cannot be expanded, or a code not be placed; the text says why."""


@dataclass(frozen=True, slots=True)
class Concept:
    """One code of a system. `is_abstract`: for navigation only, no value of anything;
    `properties` are its values as text, by code."""

    system: str
    code: str
    display: str | None = None
    is_abstract: bool = False
    is_inactive: bool = False
    properties: Mapping[str, tuple[str, ...]] = field(default_factory=dict, compare=False)


class CodeSystem:
    """The concepts of one CodeSystem resource, in order; UnusableTerminology when its content
    is not there."""

    def __init__(self, resource: Resource) -> None:
        self.url: str = resource["url"]
        self.version: str | None = resource.get("version")
        if resource.get("content") not in USABLE:
            raise UnusableTerminology(
                f"the code system {self.url} is here without its codes"
                f" (content {resource.get('content')})"
            )
        self._meaning: str = resource.get("hierarchyMeaning", "is-a")
        self._declared = {each["code"] for each in resource.get("property", ()) if "code" in each}
        self._edges: set[tuple[str, str]] = set()
        self.concepts: dict[str, Concept] = {}
        self._read(resource.get("concept", ()))

    def _read(self, first: Iterable[Resource]) -> None:
        """Every concept in document order, and who is below whom."""
        waiting: list[tuple[Resource, str | None]]
        waiting = [(each, None) for each in reversed(list(first))]
        while waiting:
            each, parent = waiting.pop()
            code = each["code"]
            properties = _properties(each.get("property", ()))
            self.concepts.setdefault(code, _concept(self.url, each, properties))
            if parent is not None:
                self._edges.add((parent, code))
            self._edges.update((above, code) for above in properties.get(_PARENT, ()))
            self._edges.update((code, below) for below in properties.get(_CHILD, ()))
            waiting += [(child, code) for child in reversed(each.get("concept", ()))]

    @cached_property
    def children(self) -> Mapping[str, frozenset[str]]:
        """The codes directly below each code."""
        return self._sides(0)

    @cached_property
    def parents(self) -> Mapping[str, frozenset[str]]:
        """The codes directly above each code."""
        return self._sides(1)

    def _sides(self, key: int) -> Mapping[str, frozenset[str]]:
        found: dict[str, set[str]] = {}
        for edge in self._edges:
            if edge[1 - key] in self.concepts:
                found.setdefault(edge[key], set()).add(edge[1 - key])
        return {code: frozenset(others) for code, others in found.items()}

    def below(self, code: str) -> frozenset[str]:
        """The code and all that is subsumed by it."""
        return self._reached(code, self.children)

    def above(self, code: str) -> frozenset[str]:
        """The code and all that subsumes it."""
        return self._reached(code, self.parents)

    def _reached(self, code: str, step: Mapping[str, frozenset[str]]) -> frozenset[str]:
        if self._meaning != "is-a":
            raise UnusableTerminology(
                f"the hierarchy of {self.url} means {self._meaning}, not is-a"
            )
        if code not in self.concepts:
            raise UnusableTerminology(f"the code system {self.url} has no code {code!r}")
        reached, waiting = {code}, [code]
        while waiting:
            new = step.get(waiting.pop(), frozenset()) - reached
            reached |= new
            waiting += new
        return frozenset(reached)

    def values(self, concept: Concept, name: str) -> tuple[str, ...]:
        """The values of a property of a concept; `code` and `display` count as such."""
        match name:
            case "code":
                return (concept.code,)
            case "display":
                return () if concept.display is None else (concept.display,)
            case "parent":
                return tuple(self.parents.get(concept.code, ()))
            case "child":
                return tuple(self.children.get(concept.code, ()))
            case _:
                return concept.properties.get(name, ())

    def knows_property(self, name: str) -> bool:
        """Whether concepts of the system can have the property."""
        if name in ("code", "display", "concept", _PARENT, _CHILD) or name in self._declared:
            return True
        return any(name in each.properties for each in self.concepts.values())

    def __iter__(self) -> Iterator[Concept]:
        return iter(self.concepts.values())


def _properties(given: Iterable[Resource]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for each in given:
        value = next((each[name] for name in each if name.startswith("value")), None)
        if isinstance(value, Mapping):
            value = value.get("code")
        if value is not None:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            found[each["code"]] = (*found.get(each["code"], ()), text)
    return found


def _concept(system: str, each: Resource, properties: Mapping[str, tuple[str, ...]]) -> Concept:
    return Concept(
        system=system,
        code=each["code"],
        display=each.get("display"),
        is_abstract=any(
            "true" in properties.get(name, ()) for name in ("notSelectable", "abstract")
        ),
        is_inactive="true" in properties.get("inactive", ())
        or not _INACTIVE.isdisjoint(properties.get("status", ())),
        properties=properties,
    )
