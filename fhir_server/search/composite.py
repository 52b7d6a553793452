"""Composite parameters (R4 Search, "composite"): all components from one element."""

from collections.abc import Sequence
from itertools import product

from fhir_server.search.expression import (
    AllOf,
    AnyOf,
    Expression,
    HasRange,
    HasTerm,
    HasText,
    Lacks,
    TermTest,
    Together,
    all_of,
    any_of,
)


def together(key: str, components: Sequence[Expression]) -> Expression:
    """The components' tests find candidates among all terms, one tuple of `key` decides."""
    combinations = product(*map(_alternatives, components))
    decided = any_of(
        Together(key, tuple(dict.fromkeys(test for tests in combination for test in tests)))
        for combination in combinations
    )
    return all_of([*components, decided])


def _alternatives(expression: Expression) -> list[tuple[TermTest | Lacks, ...]]:
    """The expression as alternatives, each a conjunction of tests of single terms."""
    match expression:
        case HasTerm() | HasRange() | HasText():
            return [(expression,)]
        case Together(_, tests):
            return [tests]
        case AnyOf(tests):
            return [alternative for test in tests for alternative in _alternatives(test)]
        case AllOf(tests):
            return [
                tuple(test for part in parts for test in part)
                for parts in product(*map(_alternatives, tests))
            ]
        case _:
            raise TypeError(f"not a test of one value: {expression!r}")
