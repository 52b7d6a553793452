"""Prefixes, and how each compares ranges (R4 Search, "Prefixes")."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, localcontext

from fhir_server.search.expression import Expression, HasRange, Together, all_of, any_of
from fhir_server.search.kinds.asked import under
from fhir_server.search.terms import above, number

PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")

_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d{1,3})?", re.ASCII)
_PREFIXED = re.compile(r"([a-z]{2})(?=[\d+\-.])(.*)", re.DOTALL)

CALCULATION_DIGITS = 200
MOST_CHARACTERS = 100


def split_prefix(text: str) -> tuple[str, str]:
    """The prefix, `eq` when there is none, and the rest; raises ValueError for two letters
    before a number that are no prefix."""
    match = _PREFIXED.match(text)
    if match is None:
        return "eq", text
    if match[1] not in PREFIXES:
        raise ValueError(f"{match[1]!r} is not one of the prefixes {' '.join(PREFIXES)}")
    return match[1], match[2]


@dataclass(frozen=True, slots=True)
class AskedNumber:
    """A number in a query: its value; the range `[low, high)` of what `eq` accepts, from its
    written precision; the range `[least, most]` of what `ap` accepts, ten percent to each side
    or the written precision if that is wider."""

    value: Decimal
    low: Decimal
    high: Decimal
    least: Decimal
    most: Decimal

    def converted(self, convert: Callable[[Decimal], Decimal]) -> "AskedNumber":
        """The same quantity in another unit."""
        values = (self.value, self.low, self.high, self.least, self.most)
        return AskedNumber(*map(convert, values))


def asked_number(text: str) -> AskedNumber:
    """The number with the precision it is written in; ValueError when it is none.

    `100` is [99.5, 100.5), `100.00` is [99.995, 100.005), `1e2` is [95, 105): see
    docs/spec-readings.md, "Precision of a number with an exponent".
    """
    if not _NUMBER.fullmatch(text) or len(text) > MOST_CHARACTERS:
        raise ValueError(f"{text!r} is not a number")
    value = Decimal(text)
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    if "e" in text.lower() and len(digits) < 2:
        exponent -= 1
    with localcontext() as context:
        context.prec = CALCULATION_DIGITS
        half = Decimal((0, (5,), exponent - 1))
        slack = max(half, abs(value) / 10)
        return AskedNumber(value, value - half, value + half, value - slack, value + slack)


@dataclass(frozen=True, slots=True)
class Place:
    """Where numbers stand: points under `key`, bounds under `key<` and `key>`, the pairs of
    bounds as tuples of `tuple_key`; every term begins with `prefix`. `has_bounds` is False
    where no value can have bounds."""

    key: str
    tuple_key: str
    prefix: str = ""
    has_bounds: bool = True


def compare(prefix: str, asked: AskedNumber, place: Place) -> Expression:
    """Some number at the place compares as the prefix says.

    A lower bound is its number, with `!` after it when the number itself is shut out; an upper
    bound is its number when that is shut out, with `!` after it when it belongs.
    """
    points = [under(place.key, place.prefix, *bounds) for bounds in _points(prefix, asked)]
    return any_of([*points, *(_bounds(prefix, asked, place) if place.has_bounds else ())])


def _points(prefix: str, asked: AskedNumber) -> list[tuple[str | None, str | None]]:
    exact = number(asked.value)
    match prefix:
        case "eq":
            return [(number(asked.low), number(asked.high))]
        case "ap":
            return [(number(asked.least), above(number(asked.most)))]
        case "ne":
            return [(None, number(asked.low)), (number(asked.high), None)]
        case "gt" | "sa":
            return [(above(exact), None)]
        case "ge":
            return [(exact, None)]
        case "lt" | "eb":
            return [(None, exact)]
        case "le":
            return [(None, above(exact))]
        case _:
            raise ValueError(f"not a prefix: {prefix}")


def _bounds(prefix: str, asked: AskedNumber, place: Place) -> list[Expression]:
    def low(start: str | None, end: str | None) -> HasRange:
        return under(place.key + "<", place.prefix, start, end)

    def high(start: str | None, end: str | None) -> HasRange:
        return under(place.key + ">", place.prefix, start, end)

    exact = number(asked.value)
    match prefix:
        case "eq":
            start, end = number(asked.low), number(asked.high)
            return [both(place.tuple_key, low(start, end), high(start, above(end)))]
        case "ap":
            start, end = number(asked.least), number(asked.most)
            return [both(place.tuple_key, low(None, above(end)), high(above(start), None))]
        case "ne":
            return [low(None, number(asked.low)), high(above(number(asked.high)), None)]
        case "gt":
            return [high(above(above(exact)), None)]
        case "ge":
            return [high(above(exact), None)]
        case "sa":
            return [low(above(exact), None)]
        case "lt":
            return [low(None, exact)]
        case "le":
            return [low(None, above(exact))]
        case "eb":
            return [high(None, above(exact))]
        case _:
            raise ValueError(f"not a prefix: {prefix}")


def both(tuple_key: str, low: HasRange, high: HasRange) -> Expression:
    """One value passes both tests: each test alone finds candidates, the tuple decides."""
    return all_of([low, high, Together(tuple_key, (low, high))])
