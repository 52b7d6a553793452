"""What a canonical resource is called, in the form in which others name it (R4 References,
"Canonical URLs"): with its version, and without, as any version may be meant."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from fhir_server.fhir.definitions import structures
from fhir_server.search import terms
from fhir_server.search.expression import Expression, Shares, TermTuple


def canonical_key(type_: str) -> str:
    """Where the names of resources of a type stand."""
    return terms.key(type_, "canonical")


def name_terms(resource: Mapping[str, Any]) -> list[TermTuple]:
    """The names of a resource; none for types that no canonical can name."""
    url = resource.get("url")
    if not isinstance(url, str) or resource["resourceType"] not in _canonical_types():
        return []
    key, version = canonical_key(resource["resourceType"]), resource.get("version")
    found = [(key, terms.joined(url, ""))]
    if isinstance(version, str):
        found.append((key, terms.joined(url, version)))
    return found


def is_canonical(type_: str) -> bool:
    """Whether resources of a type have canonical URLs."""
    return type_ in _canonical_types()


def names(param: str, type_: str, test: Expression) -> Expression:
    """Chain: a canonical of `param` names a resource of `type_` that passes the test."""
    return Shares(param, type_, canonical_key(type_), test)


def named_by(own_type: str, source: str, param: str, test: Expression) -> Expression:
    """Reverse chain: a resource of type `source` that passes the test names this one by a
    canonical of its `param`."""
    return Shares(canonical_key(own_type), source, param, test)


@cache
def _canonical_types() -> frozenset[str]:
    return frozenset(
        name
        for name, definition in structures().items()
        if definition["kind"] == "resource"
        and {"url", "version", "status"} <= definition["elements"].keys()
    )
