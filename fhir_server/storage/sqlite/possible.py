"""What of an expression can match at all: a parameter without a number never had a term here."""

from collections.abc import Callable
from dataclasses import replace

from fhir_server.search.expression import (
    NOTHING,
    AllOf,
    AnyOf,
    Expression,
    LinkedFrom,
    LinksTo,
    Not,
    Shares,
    all_of,
    any_of,
)


def possible(expression: Expression, is_known: Callable[[str], bool]) -> Expression:
    """The same matches, without the alternatives that nothing can pass: chains, that look inside
    contained resources too, stay simple where nothing is contained."""
    match expression:
        case AllOf(tests):
            return all_of(possible(test, is_known) for test in tests)
        case AnyOf(tests):
            return any_of(possible(test, is_known) for test in tests)
        case Not(test):
            return Not(possible(test, is_known))
        case LinksTo() | LinkedFrom() | Shares():
            test = possible(expression.test, is_known)
            is_possible = test != NOTHING and is_known(expression.param)
            return replace(expression, test=test) if is_possible else NOTHING
    return expression if is_known(expression.param) else NOTHING
