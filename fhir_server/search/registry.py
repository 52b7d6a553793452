"""SearchParameter definitions as Parameter objects, by resource type and code."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fhir_server.fhir.definitions import resource_types, table
from fhir_server.search import terms
from fhir_server.search.full_text import UNREAD_TYPES
from fhir_server.search.routes import Route, routes, supertypes

Kind = Literal[
    "id", "number", "date", "string", "token", "reference", "composite", "quantity", "uri",
    "special", "age", "near", "narrative", "content",
]  # fmt: skip
"""R4's search parameter types, and one more for each parameter that is like no other: `id` is the
token `_id`, whose term is the bare id; `age` a number, `near` special, `narrative` and `content`
(`_text`, `_content`) strings."""

_SINGULAR: Mapping[str, tuple[Kind, str | None]] = {
    "Resource-id": ("id", None),
    "Resource-content": ("content", "Resource"),
    "DomainResource-text": ("narrative", "DomainResource"),
    "Location-near": ("near", None),
    "patient-extensions-Patient-age": ("age", "Patient"),
    "patient-extensions-Patient-birthOrderBoolean": (
        "token",
        "Patient.multipleBirth.exists() and Patient.multipleBirth != false",
    ),
}
"""URL → the kind of a parameter of its own, and what it is about where R4 gives no expression."""

CORE = "http://hl7.org/fhir/SearchParameter/"
GUARD_TERMS = "urn:medsage:guard-terms"
"""Stands, among the urls of what is to be indexed, for the terms that no search asks for but the
guard."""

_SPELT: Mapping[str, str] = {
    "id": "token",
    "age": "number",
    "near": "special",
    "narrative": "string",
    "content": "string",
}
_UNORDERED = frozenset({"composite", "age", "near", "narrative", "content"})

_ARM_START = re.compile(r"(?:^|\|)\s*\(*\s*(%?\w+)")


@dataclass(frozen=True, slots=True)
class Component:
    """One part of a composite: the parameter that gives its meaning, and its expression
    relative to the composite's element."""

    parameter: "Parameter"
    expression: str


@dataclass(frozen=True, slots=True)
class Parameter:
    """One search parameter as it applies to resources of `type`.

    `expression` is None where the standard gives none (`_text`, `_filter` …): such parameters
    are known but cannot be searched. `targets` are the types a reference may point to.
    `is_link`: it holds literal references; `is_canonical`: it holds canonical ones.
    """

    type: str
    code: str
    kind: Kind
    url: str
    expression: str | None
    targets: tuple[str, ...] = ()
    components: tuple[Component, ...] = ()
    is_link: bool = False
    is_canonical: bool = False

    @property
    def key(self) -> str:
        """`Type.code`: the name of its terms."""
        return terms.key(self.type, self.code)

    @property
    def fhir_type(self) -> str:
        """The parameter's type as R4 spells it."""
        return _SPELT.get(self.kind, self.kind)

    @property
    def is_searchable(self) -> bool:
        """True when this server extracts and answers it."""
        return self.expression is not None and self.kind != "special"

    @property
    def is_included(self) -> bool:
        """True when `_include` can follow it."""
        return self.is_searchable and (self.is_link or self.is_canonical)

    @property
    def is_sortable(self) -> bool:
        """True when `_sort` may name it."""
        return self.is_searchable and self.kind not in _UNORDERED


Row = Mapping[str, Any]
"""A definition: url, code, type, base, expression, target, component."""


@dataclass(slots=True)
class Progress:
    """How far the indexing of what is pending has come; shared by successive registries."""

    percent: int = 0


class Registry:
    """All search parameters of all resource types.

    `rows` are the rows of `definitions/search_parameters.json`, and any further ones of the
    same form; `custom` are rows of this server's own, which never take the place of others.
    `pending` are the urls of parameters whose index is not whole: they are extracted and not
    searched. It never changes; where custom parameters come and go, one takes the place of
    another (`search/live.py`).
    """

    def __init__(
        self,
        rows: Iterable[Row] | None = None,
        custom: Iterable[Row] = (),
        pending: frozenset[str] = frozenset(),
        progress: Progress | None = None,
    ) -> None:
        self._rows = tuple(table("search_parameters.json") if rows is None else rows)
        self._custom = tuple(custom)
        self.pending = pending
        self.progress = progress or Progress()
        self._by_url: dict[str, Row] = {}
        self._by_base: dict[str, list[Row]] = {}
        for row in (*self._rows, *self._custom):
            self._by_url.setdefault(row["url"], row)
            for each in row["base"]:
                self._by_base.setdefault(each, []).append(row)
        self._own = {row["url"]: row for row in self._custom}
        self._of_type: dict[str, dict[str, Parameter]] = {}
        self._reverse_includes: dict[str, list[str]] = {}

    @property
    def rows(self) -> Mapping[str, Row]:
        """Every definition by its url, which for R4's own is shortened."""
        return self._by_url

    @property
    def custom(self) -> Mapping[str, Row]:
        """This server's own definitions, by url."""
        return self._own

    @property
    def is_standard_ready(self) -> bool:
        """Whether the index of R4's own parameters is whole."""
        return self.pending <= {GUARD_TERMS, *self._own}

    def with_custom(
        self, custom: Iterable[Row], pending: frozenset[str] = frozenset()
    ) -> "Registry":
        """The same definitions of R4 with other custom ones."""
        return Registry(self._rows, custom, pending, self.progress)

    def is_ready(self, parameter: Parameter) -> bool:
        """Whether the index of the parameter is whole."""
        if not self.pending:
            return True
        parts = (parameter, *(each.parameter for each in parameter.components))
        return all(each.url not in self.pending for each in parts)

    def parameters(self, type_: str) -> Mapping[str, Parameter]:
        """Every parameter of a resource type by code, those of its supertypes included;
        empty for a type that R4 does not have."""
        found = self._of_type.get(type_)
        if found is None:
            found = self._build(type_) if type_ in resource_types() else {}
            self._of_type[type_] = found
        return found

    def parameter(self, type_: str, code: str) -> Parameter | None:
        """The parameter with exactly this code (codes are case-sensitive), or None."""
        return self.parameters(type_).get(code)

    def searchable(self, type_: str) -> list[Parameter]:
        """What a CapabilityStatement may claim for a type, by code."""
        known = sorted(self.parameters(type_).items())
        return [each for _, each in known if each.is_searchable and self.is_ready(each)]

    def includes(self, type_: str) -> list[str]:
        """The values that `_include` may have when resources of `type_` are searched."""
        return [f"{type_}:{each.code}" for each in self.searchable(type_) if each.is_included]

    def reverse_includes(self, type_: str) -> list[str]:
        """The values that `_revinclude` may have when resources of `type_` are searched."""
        found = self._reverse_includes.get(type_)
        if found is None:
            found = self._reverse_includes[type_] = [
                f"{source}:{each.code}"
                for source in sorted(resource_types())
                for each in self.searchable(source)
                if each.is_included and type_ in each.targets
            ]
        return found

    def _build(self, type_: str) -> dict[str, Parameter]:
        found: dict[str, Parameter] = {}
        for name in supertypes(type_):
            for row in self._by_base.get(name, ()):
                found.setdefault(row["code"], self._parameter(type_, row))
        return found

    def _parameter(self, type_: str, row: Mapping[str, Any]) -> Parameter:
        kind, meant = _SINGULAR.get(row["url"], (row["type"], None))
        expression = _applicable(row.get("expression", meant), type_)
        if kind in ("narrative", "content") and type_ in UNREAD_TYPES:
            expression = None
        is_reference = expression is not None and row["type"] == "reference"
        found = routes(type_, expression or "", type_) if is_reference else []
        return Parameter(
            type=type_,
            code=row["code"],
            kind=kind,
            url=full_url(row["url"]),
            expression=expression,
            targets=_targets(row.get("target", ()), found),
            is_link=any(route.datatype in ("Reference", "Extension") for route in found),
            is_canonical=any(route.datatype == "canonical" for route in found),
            components=tuple(
                Component(self._parameter(type_, self._by_url[part["url"]]), part["expression"])
                for part in row.get("component", ())
            ),
        )


def full_url(url: str) -> str:
    """The url of a definition; R4's own are shortened in rows."""
    return url if "://" in url or url.startswith("urn:") else CORE + url


def _targets(declared: Iterable[str], found: list[Route]) -> tuple[str, ...]:
    """The declared target types, as far as the elements on this type can refer to them."""
    named = [route.targets for route in found if route.datatype == "Reference"]
    possible: set[str] = set()
    for targets in named:
        if targets is None:
            return tuple(declared)
        possible |= targets
    if not named or len(named) < len(found):
        return tuple(declared)
    return tuple(each for each in declared if each in possible)


def _applicable(expression: str | None, type_: str) -> str | None:
    """The expression, None when it starts at other types only (docs/spec-readings.md,
    "Patient part-agree")."""
    if expression is None:
        return None
    starts = _ARM_START.findall(expression)
    own = supertypes(type_)
    return expression if any(start in own or not start[0].isupper() for start in starts) else None
