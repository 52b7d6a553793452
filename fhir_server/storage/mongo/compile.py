"""Expression → MongoDB filter.

Each test is an equality or a range over the one array of terms. Chains and distances arrive here
already answered (`chains.py`): `links` holds, for each of them, the filter that stands for it.
"""

import re
from collections.abc import Mapping

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
    TermTest,
    Together,
    Within,
)
from fhir_server.search.terms import next_after
from fhir_server.storage.mongo.connect import Document
from fhir_server.storage.mongo.records import term

Asked = Link | Within
"""What is asked by queries of its own, before the search itself."""
Links = Mapping[Asked, Document]

_SPECIAL = re.compile(r"[\\.^$|()\[\]{}*+?]")

NEVER: Document = {"_id": {"$in": []}}


def to_filter(expression: Expression, links: Links) -> Document:
    """The filter that the matching documents of `resources` pass."""
    match expression:
        case HasTerm() | HasRange() | HasText():
            return _term_test(expression)
        case Together(param, tests):
            return _together(param, tests)
        case HasAnyTerm(param, values):
            return _among([term(param, value) for value in sorted(values)])
        case LinksTo() | LinkedFrom() | Shares() | Within():
            return links[expression]
        case AllOf(tests):
            ordered = sorted(tests, key=_cost)
            return _joined("$and", [to_filter(test, links) for test in ordered], {})
        case AnyOf(tests):
            return _any(tests, links)
        case Not(test):
            return {"$nor": [to_filter(test, links)]}
        case _:
            raise TypeError(f"not an expression: {expression!r}")


def _cost(test: Expression) -> int:
    """Equalities first: engines that do not try several plans take the first test's index."""
    match test:
        case HasTerm() | HasAnyTerm() | Within():
            return 0
        case HasRange():
            return 1
        case Not() | HasText() | Together():
            return 3
        case _:
            return 2


def _any(tests: tuple[Expression, ...], links: Links) -> Document:
    """Equalities become one `$in`: a thousand codes stay one test."""
    equal = [term(test.param, test.value) for test in tests if isinstance(test, HasTerm)]
    others = [to_filter(test, links) for test in tests if not isinstance(test, HasTerm)]
    if equal:
        others.insert(0, _among(equal))
    return _joined("$or", others, NEVER)


def _among(terms: list[str]) -> Document:
    return {"terms": terms[0]} if len(terms) == 1 else {"terms": {"$in": terms}}


def _joined(operator: str, filters: list[Document], empty: Document) -> Document:
    if len(filters) <= 1:
        return filters[0] if filters else empty
    return {operator: filters}


def _term_test(test: HasTerm | HasRange | HasText) -> Document:
    match test:
        case HasTerm(param, value):
            return {"terms": term(param, value)}
        case HasRange(param, low, high):
            return {"terms": {"$elemMatch": term_range(param, low, high)}}
        case HasText(param, part):
            pattern = f"^{_escaped(term(param, ''))}.*{_escaped(part)}"
            # "s": a line break in a value is a character like others.
            return {"terms": {"$regex": pattern, "$options": "s"}}
        case _:
            raise TypeError(f"not a test of one term: {test!r}")


def term_range(param: str, low: str | None, high: str | None) -> Document:
    """The bounds of a range over one parameter's terms."""
    prefix = term(param, "")
    upper = next_after(prefix) if high is None else prefix + high
    return {"$gte": prefix + (low or ""), "$lt": upper}


def _together(param: str, tests: tuple[TermTest | Lacks, ...]) -> Document:
    """The field comes first: an `$elemMatch` that begins with an operator is not understood
    everywhere."""
    element: Document = {"param": param}
    if tests:
        element["$and"] = [
            {"$nor": [_term_test(test.test)]} if isinstance(test, Lacks) else _term_test(test)
            for test in tests
        ]
    return {"tuples": {"$elemMatch": element}}


def _escaped(text: str) -> str:
    # Only what is special in every engine; a pattern travels as a C string, which NUL would end.
    return _SPECIAL.sub(r"\\\g<0>", text).replace("\x00", "\\x00")
