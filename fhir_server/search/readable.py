"""A search expression in words that a caller can compare with what was asked for."""

import re
from datetime import UTC, datetime, timedelta

from fhir_server.search.expression import (
    AllOf,
    AnyOf,
    Expression,
    HasAnyTerm,
    HasRange,
    HasTerm,
    HasText,
    Lacks,
    LinkedFrom,
    LinksTo,
    Not,
    Shares,
    Together,
    Within,
)
from fhir_server.search.terms import HIGHEST, LOWEST, SEPARATOR, next_after

MOST_VALUES = 5
"""Of more values than this only the number is said: they may be a value set's."""

_INSTANT = re.compile(r"(\d{18})(!?)")
_YEAR_ONE = datetime(1, 1, 1, tzinfo=UTC)
_CALENDAR = datetime.max.replace(tzinfo=UTC) - _YEAR_ONE
_UNREADABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


def asked(expression: Expression) -> str:
    """What one node asks, without what is inside of it."""
    match expression:
        case HasTerm(_, value):
            return f"is {_value(value)}"
        case HasRange(_, low, high):
            return _bounds(low, high)
        case HasText(_, part):
            return f"contains {_value(part)}"
        case HasAnyTerm(_, values):
            return _one_of(sorted(values))
        case Within(_, _, latitude, longitude, metres):
            return f"at most {metres:g} m from {latitude:g}, {longitude:g}"
        case Together():
            return "one element passes all"
        case LinksTo(_, type_, _):
            return f"refers to a {type_} that passes"
        case LinkedFrom(type_, _, _):
            return f"a {type_} that passes refers to it"
        case Shares(_, type_, other, _):
            return f"shares a value with {other} of a {type_} that passes"
        case AllOf(()):
            return "every resource"
        case AnyOf(()):
            return "no resource"
        case AllOf():
            return "all of these"
        case AnyOf():
            return "any of these"
        case Not():
            return "not this"
    raise TypeError(f"not an expression: {expression!r}")


def inner(expression: Expression) -> tuple[Expression, ...]:
    """The nodes inside of a node."""
    match expression:
        case AllOf(tests) | AnyOf(tests):
            return tests
        case Together(_, parts):
            return tuple(Not(each.test) if isinstance(each, Lacks) else each for each in parts)
        case Not(test) | LinksTo(_, _, test) | LinkedFrom(_, _, test) | Shares(_, _, _, test):
            return (test,)
        case _:
            return ()


def _one_of(values: list[str]) -> str:
    if len(values) > MOST_VALUES:
        return f"is one of {len(values)} values"
    return f"is one of {', '.join(map(_value, values))}"


def _bounds(low: str | None, high: str | None) -> str:
    if low and high == next_after(low):
        return f"begins with {_value(low)}"
    parts = []
    if low not in (None, LOWEST):
        parts.append(f"from {_value(str(low))}")
    if high not in (None, HIGHEST):
        parts.append(f"below {_value(str(high))}")
    return " and ".join(parts) or "has any value"


def _value(term: str) -> str:
    """The term with its separator as a bar, and a moment as a moment."""
    found = _INSTANT.fullmatch(term)
    if found is not None:
        excluded = " (excluded)" if found[2] else ""
        # What lies beyond the calendar is all the same to a search.
        past = timedelta(microseconds=int(found[1]))
        return f"{(_YEAR_ONE + min(past, _CALENDAR)).isoformat()}{excluded}"
    return _UNREADABLE.sub("", term.replace(SEPARATOR, "|")).strip()
