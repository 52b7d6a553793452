"""Contained resources in searches (R4 Search, "Searching Contained Resources"): indexed with their
container, one tuple each, and found by tests that one of them passes alone.

The tuple holds what an ordinary resource of its type would be found by, its type under
`Container._contained`, and, for each reference of the container to it, its id under
`Container.parameter:contained`. Only containers pay for this.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product
from typing import Any

from fhir_server.fhir.definitions import resource_types
from fhir_server.fhir.outcome import too_costly, unsupported
from fhir_server.search import terms
from fhir_server.search.expression import (
    AllOf,
    AnyOf,
    Expression,
    HasAnyTerm,
    HasRange,
    HasTerm,
    HasText,
    Lacks,
    Not,
    Terms,
    TermTest,
    TermTuple,
    Together,
    TupleOfTerms,
    all_of,
    any_of,
)

Resource = Mapping[str, Any]
Tests = tuple[TermTest | Lacks, ...]

INTO_ITSELF = ":contained"
"""Suffix under which a reference into the resource itself has the id that it names."""

MOST_ALTERNATIVES = 256
NOT_CONTAINERS = frozenset({"Binary", "Bundle", "Parameters"})
"""The resources that are no DomainResources."""


def containers() -> list[str]:
    """The types that can contain resources."""
    return sorted(resource_types() - NOT_CONTAINERS)


def contained_key(type_: str) -> str:
    """Where a container has the types of what it contains, and its tuples."""
    return terms.key(type_, "_contained")


def inside(
    container: Resource, extract: Callable[[Resource], Terms], own: Iterable[TermTuple]
) -> tuple[list[TermTuple], list[TupleOfTerms]]:
    """The terms and tuples that a container has for what it contains; `own` are its others."""
    key = contained_key(container["resourceType"])
    named = [each for each in own if each[0].endswith(INTO_ITSELF)]
    found: list[TermTuple] = []
    tuples: list[TupleOfTerms] = []
    for each in container["contained"]:
        marks = [(key, each["resourceType"]), *(one for one in named if one[1] == each.get("id"))]
        found.append(marks[0])
        tuples.append(TupleOfTerms(key, (*marks, *extract(each).terms)))
    return found, tuples


def contains(container: str, type_: str, test: Expression) -> Expression:
    """A resource of the type `container` contains one of `type_` that passes the test. FhirError
    400 not-supported where the test looks beyond that one resource."""
    return _some(container, [HasTerm(contained_key(container), type_)], test)


def leads_to_contained(param: str, type_: str, test: Expression) -> Expression:
    """A reference under `param` leads to a contained resource of `type_` that passes the test;
    with the refusals of `contains`."""
    container = param.partition(".")[0]
    leads, is_one = HasRange(param + INTO_ITSELF, None, None), contained_key(container)
    return _some(container, [leads, HasTerm(is_one, type_)], test)


def _some(container: str, marks: list[HasTerm | HasRange], test: Expression) -> Expression:
    key = contained_key(container)
    alternatives = _alternatives(test)
    decided = any_of(Together(key, (*marks, *dict.fromkeys(tests))) for tests in alternatives)
    # The marks find candidates in the index, the tuple decides.
    return all_of([*marks, decided])


def _alternatives(expression: Expression, *, is_negated: bool = False) -> list[Tests]:
    """The expression, or its opposite, as alternatives, each a conjunction of tests."""
    match expression:
        case HasTerm() | HasRange() | HasText():
            return [(Lacks(expression) if is_negated else expression,)]
        case HasAnyTerm(param, values):
            either = AnyOf(tuple(HasTerm(param, value) for value in sorted(values)))
            return _alternatives(either, is_negated=is_negated)
        case Not(test):
            return _alternatives(test, is_negated=not is_negated)
        case AnyOf(tests) | AllOf(tests):
            parts = [_alternatives(test, is_negated=is_negated) for test in tests]
            if isinstance(expression, AnyOf) is not is_negated:
                return _few([tests for part in parts for tests in part])
            return _few(_each_with_each(parts))
    raise unsupported(
        "contained resources are not searched by chains, _has, composites, near or several dates"
    )


def _each_with_each(parts: list[list[Tests]]) -> Iterator[Tests]:
    for chosen in product(*parts):
        yield tuple(test for tests in chosen for test in tests)


def _few(found: Iterable[Tests]) -> list[Tests]:
    kept: list[Tests] = []
    for each in found:
        kept.append(each)
        if len(kept) > MOST_ALTERNATIVES:
            raise too_costly(
                f"more than {MOST_ALTERNATIVES} alternatives of what a contained resource is"
            )
    return kept
