"""What a search expression means: the reference that every store is held to."""

from collections.abc import Callable, Iterable
from typing import Protocol

from fhir_server.search.expression import (
    AllOf,
    AnyOf,
    Expression,
    HasAnyTerm,
    HasRange,
    HasTerm,
    HasText,
    Lacks,
    Link,
    LinkedFrom,
    LinksTo,
    Not,
    Shares,
    Terms,
    TermTest,
    TermTuple,
    Together,
    TupleOfTerms,
    Within,
)
from fhir_server.search.positions import is_within


class Follow(Protocol):
    """How chains reach other resources; a reference is `Type/id`."""

    def resource(self, reference: str) -> Terms | None:
        """The terms of the current resource that is referred to, None if there is none."""

    def resources(self, type_: str) -> Iterable[Terms]:
        """The terms of every current resource of a type."""


class ChainNeedsStore(ValueError):
    """A chain or `_has` was to be judged by one resource alone."""


def evaluate(expression: Expression, terms: Terms, follow: Follow | None = None) -> bool:
    """True when the resource with these terms matches.

    Without `follow`, expressions with chains raise ChainNeedsStore.
    """
    match expression:
        case HasTerm() | HasRange() | HasText():
            return any(map(_test(expression), terms.terms))
        case HasAnyTerm(param, values):
            return any(name == param and value in values for name, value in terms.terms)
        case Within(param, _, latitude, longitude, metres):
            return any(
                name == param and is_within(value, latitude, longitude, metres)
                for name, value in terms.terms
            )
        case Together(param, tests):
            return any(
                all(_has(element, test) for test in tests)
                for element in terms.tuples
                if element.param == param
            )
        case AllOf(tests):
            return all(evaluate(test, terms, follow) for test in tests)
        case AnyOf(tests):
            return any(evaluate(test, terms, follow) for test in tests)
        case Not(test):
            return not evaluate(test, terms, follow)
        case LinksTo() | LinkedFrom() | Shares():
            if follow is None:
                raise ChainNeedsStore("a chain cannot be judged by one resource alone")
            return _linked(expression, terms, follow)
        case _:
            raise TypeError(f"not an expression: {expression!r}")


def _has(element: TupleOfTerms, test: TermTest | Lacks) -> bool:
    if isinstance(test, Lacks):
        return not _has(element, test.test)
    return any(map(_test(test), element.terms))


def _test(test: HasTerm | HasRange | HasText) -> Callable[[TermTuple], bool]:
    match test:
        case HasTerm(param, value):
            wanted = (param, value)
            return lambda term: term == wanted
        case HasRange(param, low, high):
            return lambda term: (
                term[0] == param
                and (low is None or low <= term[1])
                and (high is None or term[1] < high)
            )
        case HasText(param, part):
            return lambda term: term[0] == param and part in term[1]
        case _:
            raise TypeError(f"not a test of one term: {test!r}")


def _linked(expression: Link, terms: Terms, follow: Follow) -> bool:
    if isinstance(expression, Shares):
        named = {value for param, value in terms.terms if param == expression.param}
        return any(
            any(param == expression.other and value in named for param, value in other.terms)
            and evaluate(expression.test, other, follow)
            for other in follow.resources(expression.type)
        )
    if isinstance(expression, LinksTo):
        prefix = expression.type + "/"
        references = [
            value
            for param, value in terms.terms
            if param == expression.param and value.startswith(prefix)
        ]
        targets = (follow.resource(reference) for reference in references)
        return any(
            target is not None and evaluate(expression.test, target, follow) for target in targets
        )
    own = reference_to(terms)
    return any(
        (expression.param, own) in source.terms and evaluate(expression.test, source, follow)
        for source in follow.resources(expression.type)
    )


def reference_to(terms: Terms) -> str:
    """How others refer to the resource with these terms."""
    for param, value in terms.terms:
        type_, _, code = param.partition(".")
        if code == "_id":
            return f"{type_}/{value}"
    raise ValueError("these terms have no _id")
