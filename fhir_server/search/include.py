"""`_include` and `_revinclude` (R4 Search, "Including other resources"): what a page leads to."""

from collections.abc import Iterable

from fhir_server.search.expression import HasTerm, Query, Terms, any_of
from fhir_server.search.parse import Include
from fhir_server.search.registry import Registry

Reference = tuple[str, str]
"""Type and id."""


def forward(include: Include, type_: str, terms: Terms, registry: Registry) -> list[Reference]:
    """What a resource with these terms refers to, as far as an `_include` asks for it."""
    if include.source not in (None, type_):
        return []
    wanted = _keys(include, type_, registry)
    found: dict[Reference, None] = {}
    for param, value in terms.terms:
        if param not in wanted:
            continue
        target, slash, id_ = value.partition("/")
        # Versioned references have an unversioned term too; URLs lead elsewhere.
        is_local = bool(slash) and "/" not in id_ and ":" not in target
        if is_local and include.target in (None, target):
            found[(target, id_)] = None
    return list(found)


def reverse(
    include: Include, references: Iterable[Reference], registry: Registry, limit: int
) -> list[Query]:
    """The queries for the resources that refer to any of these, one for each source type."""
    by_type: dict[str, list[str]] = {}
    for type_, id_ in references:
        if include.target in (None, type_):
            by_type.setdefault(type_, []).append(f"{type_}/{id_}")
    tests: dict[str, list[HasTerm]] = {}
    for type_, named in by_type.items():
        for source, key in _sources(include, type_, registry):
            tests.setdefault(source, []).extend(HasTerm(key, each) for each in named)
    return [Query(source, any_of(each), limit=limit) for source, each in tests.items()]


def _keys(include: Include, type_: str, registry: Registry) -> frozenset[str]:
    if include.parameter is not None:
        return frozenset({include.parameter.key})
    return frozenset(each.key for each in registry.searchable(type_) if each.is_link)


def _sources(include: Include, type_: str, registry: Registry) -> list[tuple[str, str]]:
    """(source type, parameter key) of the parameters that may refer to `type_`."""
    if include.parameter is not None:
        return [(include.parameter.type, include.parameter.key)]
    found = []
    for name in registry.reverse_includes(type_):
        source, _, code = name.partition(":")
        if include.source in (None, source):
            found.append((source, f"{source}.{code}"))
    return found
