"""The codes of a value set (R4 ValueSet, "Value Set Expansion"): the one function for all uses."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from fhir_server.terminology.code_system import CodeSystem, Concept, UnusableTerminology
from fhir_server.terminology.filters import passing

Resource = Mapping[str, Any]
Place = tuple[str, str]
"""System and code: what makes two entries of an expansion the same."""

MOST_CODES = 20_000
"""Largest expansion; what would have more is refused."""

MOST_NESTED = 20
"""Longest way of value sets that refer to each other."""


class TooManyCodes(UnusableTerminology):
    """The value set has more codes than this server lists."""


class Library(Protocol):
    """Where value sets and code systems are found, by canonical (`url` or `url|version`)."""

    def value_set(self, canonical: str) -> Resource:
        """The ValueSet; UnusableTerminology when there is none."""

    def code_system(self, canonical: str) -> CodeSystem:
        """The CodeSystem with its codes; UnusableTerminology when there is none."""


def expand(value_set: Resource, library: Library) -> list[Concept]:
    """Every code of the value set in order, each once: from its compose; from the expansion it
    was given when it has no compose, or one that needs what is not here.

    UnusableTerminology says what is missing, circular, unknown or too large: an expansion is
    whole or it is refused.
    """
    return list(_Expander(library).whole(value_set, ()).values())


class _Expander:
    def __init__(self, library: Library) -> None:
        self._library = library

    def whole(self, value_set: Resource, path: tuple[str, ...]) -> dict[Place, Concept]:
        name = str(value_set.get("url") or f"ValueSet/{value_set.get('id')}")
        if name in path:
            raise UnusableTerminology(f"the value set {name} refers to itself")
        if len(path) >= MOST_NESTED:
            raise UnusableTerminology(f"more than {MOST_NESTED} value sets inside each other")
        compose, given = value_set.get("compose"), value_set.get("expansion")
        if compose is None:
            return _limited(_given(name, given), name)
        try:
            return self._composed(compose, name, (*path, name))
        except UnusableTerminology:
            if given is None or _is_part(given):
                raise
            return _limited(_given(name, given), name)

    def _composed(
        self, compose: Resource, name: str, path: tuple[str, ...]
    ) -> dict[Place, Concept]:
        found: dict[Place, Concept] = {}
        for include in compose.get("include", ()):
            for place, concept in self._included(include, path).items():
                found.setdefault(place, concept)
            _limited(found, name)
        for exclude in compose.get("exclude", ()):
            for place in self._included(exclude, path):
                found.pop(place, None)
        if compose.get("inactive") is False:
            found = {place: each for place, each in found.items() if self._is_active(each)}
        return found

    def _is_active(self, concept: Concept) -> bool:
        """Whether a concept may be used; a listed one of a system that is not here may."""
        if concept.is_inactive:
            return False
        try:
            known = self._library.code_system(concept.system).concepts.get(concept.code)
        except UnusableTerminology:
            return True
        return known is None or not known.is_inactive

    def _included(self, include: Resource, path: tuple[str, ...]) -> dict[Place, Concept]:
        """What one include or exclude selects: in its system and in all its value sets."""
        named = include.get("valueSet", ())
        found = self._of_system(include) if "system" in include else None
        if found is None and not named:
            raise UnusableTerminology(f"{path[-1]} includes neither a system nor a value set")
        for canonical in named:
            nested = self.whole(self._library.value_set(canonical), path)
            if found is None:
                found = nested
            else:
                found = {place: each for place, each in found.items() if place in nested}
        return found or {}

    def _of_system(self, include: Resource) -> dict[Place, Concept]:
        url, version = include["system"], include.get("version")
        if "concept" in include:
            return {
                (url, each["code"]): Concept(url, each["code"], each.get("display"))
                for each in include["concept"]
            }
        system = self._library.code_system(f"{url}|{version}" if version else url)
        tests = [passing(system, each) for each in include.get("filter", ())]
        return {(url, each.code): each for each in system if all(test(each) for test in tests)}


def _limited(found: dict[Place, Concept], name: str) -> dict[Place, Concept]:
    if len(found) > MOST_CODES:
        raise TooManyCodes(f"the value set {name} has more than {MOST_CODES} codes")
    return found


def _is_part(expansion: Resource) -> bool:
    """Whether an expansion that was given is only a page of the whole."""
    count = sum(1 for _ in _entries(expansion.get("contains", ())))
    return bool(expansion.get("offset")) or expansion.get("total", count) > count


def _given(name: str, expansion: Resource | None) -> dict[Place, Concept]:
    if expansion is None:
        raise UnusableTerminology(f"the value set {name} has neither compose nor expansion")
    if _is_part(expansion):
        raise UnusableTerminology(f"the expansion in the value set {name} is only a part of it")
    return {
        (each["system"], each["code"]): Concept(
            each["system"],
            each["code"],
            each.get("display"),
            bool(each.get("abstract")),
            bool(each.get("inactive")),
        )
        for each in _entries(expansion.get("contains", ()))
        if "system" in each and "code" in each
    }


def _entries(contains: Iterable[Resource]) -> Iterator[Resource]:
    for each in contains:
        yield each
        yield from _entries(each.get("contains", ()))
