"""Where value sets and code systems are found: what was loaded from a store, then R4's own.

A library answers at once or not at all: what a store would have to be asked for raises NotLoaded;
the caller loads it, adds it and begins again. So the meaning of codes stays free of waiting.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qs

from fhir_server.fhir.definitions import terminology_resource
from fhir_server.terminology.code_system import CodeSystem, UnusableTerminology
from fhir_server.terminology.expansion import expand

Resource = Mapping[str, Any]

SNOMED = "http://snomed.info/sct"


@dataclass(frozen=True)
class Wanted:
    """Resources to ask the store for: those whose canonical (`url` or `url|version`) is `name`;
    the one with that id; or, for hierarchies, the ids that are directly part of it, or that it
    is directly part of."""

    type: str
    name: str
    by: Literal["canonical", "id", "parts", "wholes"] = "canonical"


class NotLoaded(Exception):
    """The store has not been asked for this yet."""

    def __init__(self, wanted: Wanted) -> None:
        super().__init__(f"{wanted.type} {wanted.name}")
        self.wanted = wanted


@dataclass
class Library:
    """Answers from what was added, and from R4's own definitions for what no store has.

    `own_url` is this server's base URL with a final slash; `parents` names, by type, the search
    parameter that refers to what a resource is part of.
    """

    own_url: str
    _found: dict[Wanted, Sequence[Any]] = field(default_factory=dict)
    _systems: dict[str, CodeSystem] = field(default_factory=dict)

    def add(self, wanted: Wanted, found: Sequence[Any]) -> None:
        """What the store has: resources, the best first, or ids of a hierarchy."""
        self._found[wanted] = found

    def value_set(self, canonical: str) -> Resource:
        """See `expansion.Library`; also `ValueSet/id` and SNOMED CT's implicit value sets."""
        literal = canonical.removeprefix(self.own_url)
        if literal.startswith("ValueSet/"):
            found = self._ask(Wanted("ValueSet", literal.removeprefix("ValueSet/"), "id"))
            if not found:
                raise UnusableTerminology(f"there is no {literal} here")
            return found[0]  # type: ignore[no-any-return]
        if canonical.startswith(SNOMED) and "?" in canonical:
            return _implicit(canonical)
        return self._named("ValueSet", canonical)

    def code_system(self, canonical: str) -> CodeSystem:
        """See `expansion.Library`."""
        known = self._systems.get(canonical)
        if known is None:
            known = self._systems[canonical] = CodeSystem(self._named("CodeSystem", canonical))
        return known

    def members(self, value_set: str) -> frozenset[tuple[str, str]]:
        """The codes of a value set that a resource may have."""
        codes = expand(self.value_set(value_set), self)
        return frozenset((each.system, each.code) for each in codes if not each.is_abstract)

    def below(self, system: str, code: str) -> frozenset[str]:
        """The code and what it subsumes."""
        return self.code_system(system).below(code)

    def above(self, system: str, code: str) -> frozenset[str]:
        """The code and what subsumes it."""
        return self.code_system(system).above(code)

    def parts(self, type_: str, id_: str) -> frozenset[str]:
        """The ids of the resource and of all its parts."""
        return self._reached(Wanted(type_, id_, "parts"))

    def wholes(self, type_: str, id_: str) -> frozenset[str]:
        """The ids of the resource and of all that it is part of."""
        return self._reached(Wanted(type_, id_, "wholes"))

    def _reached(self, wanted: Wanted) -> frozenset[str]:
        return frozenset((wanted.name, *self._ask(wanted)))

    def _ask(self, wanted: Wanted) -> Sequence[Any]:
        if wanted not in self._found:
            raise NotLoaded(wanted)
        return self._found[wanted]

    def _named(self, type_: str, canonical: str) -> Resource:
        found = self._ask(Wanted(type_, canonical))
        if found:
            return found[0]  # type: ignore[no-any-return]
        url, _, version = canonical.partition("|")
        own = terminology_resource(type_, url)
        if own is None or version not in ("", own.get("version")):
            raise UnusableTerminology(f"there is no {type_} {canonical} here")
        return own


def _implicit(url: str) -> Resource:
    """A value set that its URL describes (R4 "Using SNOMED CT with FHIR", Implicit Value Sets):
    all codes, or those that are a given one."""
    system, _, query = url.partition("?")
    (asked,) = parse_qs(query, keep_blank_values=True).get("fhir_vs", ["?"])
    include: dict[str, Any] = {"system": SNOMED}
    if system != SNOMED:
        include["version"] = system
    kind, _, code = asked.partition("/")
    match kind:
        case "":
            pass
        case "isa" if code:
            include["filter"] = [{"property": "concept", "op": "is-a", "value": code}]
        case _:
            raise UnusableTerminology(f"the implicit value set {url} is not supported")
    return {"url": url, "compose": {"include": [include]}}
