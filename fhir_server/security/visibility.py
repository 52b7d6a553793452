"""The caller's filter, laid into a search expression and judged on one resource in hand."""

from collections.abc import Awaitable, Callable

from fhir_server.search import terms as encodings
from fhir_server.search.evaluate import evaluate, reference_to
from fhir_server.search.expression import (
    EVERYTHING,
    NOTHING,
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
    Query,
    Shares,
    Together,
    Within,
    all_of,
)
from fhir_server.storage.port import Page, Terms

View = Callable[[str], Expression]
"""What the caller may see of a type, when searching."""
Find = Callable[[Query], Awaitable[Page]]


def guarded(expression: Expression, view: View) -> Expression:
    """The expression with the caller's filter ANDed into every hop to another resource."""
    match expression:
        case HasTerm() | HasRange() | HasText() | HasAnyTerm() | Within() | Together():
            return expression
        case AllOf(tests):
            return AllOf(tuple(guarded(test, view) for test in tests))
        case AnyOf(tests):
            return AnyOf(tuple(guarded(test, view) for test in tests))
        case Not(test):
            return Not(guarded(test, view))
        case LinksTo(param, type_, test):
            return LinksTo(param, type_, all_of([view(type_), guarded(test, view)]))
        case LinkedFrom(type_, param, test):
            inner = all_of([view(type_), guarded(test, view)])
            return LinkedFrom(type_, param, inner)
        case Shares(param, type_, other, test):
            return Shares(param, type_, other, all_of([view(type_), guarded(test, view)]))
    raise TypeError(f"not an expression: {expression!r}")


def has_links(expression: Expression) -> bool:
    """Whether the expression asks about other resources too."""
    match expression:
        case LinksTo() | LinkedFrom() | Shares():
            return True
        case AllOf(tests) | AnyOf(tests):
            return any(has_links(test) for test in tests)
        case Not(test):
            return has_links(test)
    return False


async def passes(expression: Expression, terms: Terms, find: Find) -> bool:
    """Whether a resource with these terms passes; `find` answers for the resources it names."""
    return evaluate(await _settled(expression, terms, find), terms)


async def _settled(expression: Expression, terms: Terms, find: Find) -> Expression:
    """The expression with each link replaced by its answer."""
    match expression:
        case HasTerm() | HasRange() | HasText() | HasAnyTerm() | Within() | Together():
            return expression
        case AllOf(tests):
            return await _first_decisive(tests, NOTHING, terms, find)
        case AnyOf(tests):
            return await _first_decisive(tests, EVERYTHING, terms, find)
        case Not(test):
            return Not(await _settled(test, terms, find))
        case LinksTo():
            return EVERYTHING if await _has_link(expression, terms, find) else NOTHING
        case LinkedFrom():
            return EVERYTHING if await _is_named(expression, terms, find) else NOTHING
    raise TypeError(f"a filter can't be judged on one resource: {expression!r}")


async def _first_decisive(
    tests: tuple[Expression, ...], decided: Expression, terms: Terms, find: Find
) -> Expression:
    """`decided` at the first test that comes out so, the other way else: what decides by the terms
    at hand comes first as a rule, and no search follows."""
    wanted = decided == EVERYTHING
    for test in tests:
        if evaluate(await _settled(test, terms, find), terms) == wanted:
            return decided
    return NOTHING if wanted else EVERYTHING


async def _is_named(link: LinkedFrom, terms: Terms, find: Find) -> bool:
    named = HasTerm(link.param, reference_to(terms))
    page = await find(Query(link.type, all_of([named, link.test]), limit=1))
    return bool(page.matches)


async def _has_link(link: LinksTo, terms: Terms, find: Find) -> bool:
    prefix = f"{link.type}/"
    for param, value in terms.terms:
        if param != link.param or not value.startswith(prefix):
            continue
        named = HasTerm(encodings.key(link.type, "_id"), value.removeprefix(prefix))
        page = await find(Query(link.type, all_of([named, link.test]), limit=1))
        if page.matches:
            return True
    return False
