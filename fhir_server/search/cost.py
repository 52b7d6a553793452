"""What a search costs, as far as the search itself tells: which tests an index of terms serves,
and which orders have an index."""

from collections.abc import Iterator, Sequence

from fhir_server.search.expression import (
    AllOf,
    AnyOf,
    Expression,
    HasAnyTerm,
    HasRange,
    HasTerm,
    HasText,
    LinkedFrom,
    LinksTo,
    Not,
    Shares,
    SortKey,
    Together,
    Within,
)

ORDERED = frozenset({"_lastUpdated", "date"})
"""The parameters that every store keeps an index in the order of; without `_sort` it is the id."""

MOST_COUNTED = 20
"""Most tests of one search whose candidates are counted."""


def is_ordered(sort: Sequence[SortKey]) -> bool:
    """Whether an index has the order asked for."""
    codes = [key.param.partition(".")[2] for key in sort]
    return not codes or (len(codes) == 1 and codes[0] in ORDERED)


def tests_in(expression: Expression) -> Iterator[Expression]:
    """The tests of single resources in an expression, those at the ends of chains too."""
    match expression:
        case AllOf(tests) | AnyOf(tests):
            for test in tests:
                yield from tests_in(test)
        case Not(test) | LinksTo(_, _, test) | LinkedFrom(_, _, test) | Shares(_, _, _, test):
            yield from tests_in(test)
        case _:
            yield expression


def countable(expression: Expression) -> list[HasTerm | HasRange | HasAnyTerm]:
    """The first tests whose candidates the index of terms lists."""
    found = [
        each for each in tests_in(expression) if isinstance(each, HasTerm | HasRange | HasAnyTerm)
    ]
    return list(dict.fromkeys(found))[:MOST_COUNTED]


def is_listed(expression: Expression) -> bool:
    """Whether an index of terms lists what can match; else every resource has to be looked at."""
    match expression:
        case HasTerm() | HasRange() | HasAnyTerm() | Within():
            return True
        case LinksTo(_, _, test) | LinkedFrom(_, _, test) | Shares(_, _, _, test):
            return is_listed(test)
        case AllOf(tests):
            return any(is_listed(test) for test in tests)
        case AnyOf(tests):
            return all(is_listed(test) for test in tests)
        case HasText() | Together() | Not():
            return False
    raise TypeError(f"not an expression: {expression!r}")
