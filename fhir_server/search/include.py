"""`_include` and `_revinclude` (R4 Search, "Including other resources"): what a page leads to.

Literal references lead to a resource by its type and id. Canonical references lead to those that
have the url, and the version if one is named (docs/spec-readings.md, "Including by canonical").
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from fhir_server.search import terms
from fhir_server.search.expression import Expression, HasTerm, Query, Terms, all_of, any_of
from fhir_server.search.kinds.asked import starts_with
from fhir_server.search.parse import Include
from fhir_server.search.registry import Parameter, Registry

Reference = tuple[str, str]
"""Type and id."""


class Canonical(NamedTuple):
    """A canonical reference to a resource of one of `types`; an empty version is any."""

    types: tuple[str, ...]
    url: str
    version: str


class Start(NamedTuple):
    """A resource that includes start from."""

    type: str
    id: str
    terms: Terms


def forward(
    include: Include, start: Start, registry: Registry
) -> tuple[list[Reference], list[Canonical]]:
    """What a resource refers to, as far as an `_include` asks for it."""
    references: dict[Reference, None] = {}
    canonicals: dict[Canonical, None] = {}
    if include.source not in (None, start.type):
        return [], []
    wanted = {each.key: each for each in _forward_parameters(include, start.type, registry)}
    for param, value in start.terms.terms:
        parameter = wanted.get(param)
        if parameter is None:
            continue
        if terms.SEPARATOR in value:
            url, _, version = value.partition(terms.SEPARATOR)
            types = _named(parameter, include.target, registry)
            canonicals[Canonical(types, url, version)] = None
            continue
        target, slash, id_ = value.partition("/")
        # Versioned references have an unversioned term too; URLs lead elsewhere.
        is_local = bool(slash) and "/" not in id_ and ":" not in target
        if is_local and include.target in (None, target):
            references[(target, id_)] = None
    return list(references), list(canonicals)


def named_by(canonicals: Iterable[Canonical], limit: int) -> list[Query]:
    """The queries for what the canonical references name, one for each type."""
    tests: dict[str, list[Expression]] = {}
    for each in canonicals:
        for type_ in each.types:
            named: Expression = HasTerm(terms.key(type_, "url"), each.url)
            if each.version:
                prefix = terms.bounded(each.version) + terms.SEPARATOR
                named = all_of([named, starts_with(terms.key(type_, "version"), prefix)])
            tests.setdefault(type_, []).append(named)
    return [Query(type_, any_of(each), limit=limit) for type_, each in tests.items()]


def reverse(
    include: Include, starts: Sequence[Start], registry: Registry, limit: int
) -> list[Query]:
    """The queries for the resources that refer to any of these, one for each source type."""
    tests: dict[str, list[Expression]] = {}
    for type_ in sorted({each.type for each in starts}):
        if include.target not in (None, type_):
            continue
        own = [each for each in starts if each.type == type_]
        for parameter in _reverse_parameters(include, type_, registry):
            found = tests.setdefault(parameter.type, [])
            if parameter.is_link:
                found.extend(HasTerm(parameter.key, f"{type_}/{each.id}") for each in own)
            if parameter.is_canonical:
                found.extend(test for each in own for test in _canonical_tests(parameter, each))
    return [Query(source, any_of(each), limit=limit) for source, each in tests.items() if each]


def needs_terms(include: Include) -> bool:
    """Whether the include looks at what is in the resources that it starts from; a reverse one
    that follows literal references alone asks only for their ids."""
    if not include.is_reverse:
        return True
    return include.parameter is None or include.parameter.is_canonical


def _canonical_tests(parameter: Parameter, start: Start) -> list[Expression]:
    """Tests for a canonical reference to the resource: its url with its version, or without."""
    urls = [value for param, value in start.terms.terms if param == f"{start.type}.url"]
    versions = [
        value.partition(terms.SEPARATOR)[0]
        for param, value in start.terms.terms
        if param == f"{start.type}.version"
    ]
    return [
        HasTerm(parameter.key, terms.joined(url, version))
        for url in urls
        for version in ("", *versions)
    ]


def _named(parameter: Parameter, target: str | None, registry: Registry) -> tuple[str, ...]:
    """The types that a canonical of the parameter may name: those that have a url."""
    return tuple(
        type_
        for type_ in parameter.targets
        if target in (None, type_) and registry.parameter(type_, "url") is not None
    )


def _forward_parameters(include: Include, type_: str, registry: Registry) -> Iterable[Parameter]:
    if include.parameter is not None:
        return (include.parameter,)
    return (each for each in registry.searchable(type_) if each.is_included)


def _reverse_parameters(include: Include, type_: str, registry: Registry) -> list[Parameter]:
    """The parameters that may refer to `type_`."""
    if include.parameter is not None:
        return [include.parameter] if type_ in include.parameter.targets else []
    found = []
    for name in registry.reverse_includes(type_):
        source, _, code = name.partition(":")
        parameter = registry.parameter(source, code)
        if parameter is not None and include.source in (None, source):
            found.append(parameter)
    return found
