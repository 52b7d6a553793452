"""Numbers, quantities and dates of a resource as ranges."""

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from bench.oracle.elements import Value
from bench.oracle.ranges import Range, time_range

UCUM = "http://unitsofmeasure.org"

UNITS: Mapping[str, tuple[str, Fraction, Fraction]] = {
    "g": ("mass", Fraction(1), Fraction(0)),
    "mg": ("mass", Fraction(1, 1000), Fraction(0)),
    "kg": ("mass", Fraction(1000), Fraction(0)),
    "ug": ("mass", Fraction(1, 10**6), Fraction(0)),
    "m": ("length", Fraction(1), Fraction(0)),
    "cm": ("length", Fraction(1, 100), Fraction(0)),
    "mm": ("length", Fraction(1, 1000), Fraction(0)),
    "s": ("time", Fraction(1), Fraction(0)),
    "min": ("time", Fraction(60), Fraction(0)),
    "h": ("time", Fraction(3600), Fraction(0)),
    "1": ("number", Fraction(1), Fraction(0)),
    "%": ("number", Fraction(1, 100), Fraction(0)),
    "K": ("temperature", Fraction(1), Fraction(0)),
    "Cel": ("temperature", Fraction(1), Fraction(27315, 100)),
    "[degF]": ("temperature", Fraction(5, 9), Fraction(45967, 100) * Fraction(5, 9)),
}
"""UCUM code → what it measures, and factor and offset to a unit of that. Enough for the units
that random searches are made of."""


def unit_of(code: str | None) -> tuple[str, Fraction, Fraction] | None:
    """The row of a UCUM code; an annotation alone (`{score}`) is a mere number."""
    is_annotation = code is not None and re.fullmatch(r"\{[^{}]*\}", code) is not None
    return UNITS["1"] if is_annotation else UNITS.get(code or "")


_COMPARATORS = {
    "<": lambda value: Range(None, value, is_high_open=True),
    "<=": lambda value: Range(None, value),
    ">": lambda value: Range(value, None, is_low_open=True),
    ">=": lambda value: Range(value, None),
}


def converted(numbers: Range, unit: tuple[str, Fraction, Fraction]) -> Range:
    """The same range in the unit's base."""
    _, factor, offset = unit

    def moved(value: Fraction | None) -> Fraction | None:
        return None if value is None else value * factor + offset

    return Range(moved(numbers.low), moved(numbers.high), numbers.is_low_open, numbers.is_high_open)


def numbers(value: Value) -> Range | None:
    """The range that a number, Quantity or Range stands for, units apart; None for none."""
    content = value.content
    if not isinstance(content, Mapping):
        number = Fraction(str(content))
        return Range(number, number)
    if value.datatype == "Range":
        low, high = (_number(content.get(side)) for side in ("low", "high"))
        return None if low is None and high is None else Range(low, high)
    if value.datatype == "SampledData":
        return _samples(content)
    number_found = _number(content)
    if number_found is None:
        return None
    compare = _COMPARATORS.get(content.get("comparator", ""))
    return compare(number_found) if compare else Range(number_found, number_found)


def _samples(content: Mapping[str, Any]) -> Range | None:
    """From the lowest to the highest sample; `E`, `U` and `L` are none."""
    origin, factor = _number(content["origin"]), Fraction(str(content.get("factor", 1)))
    texts = [each for each in content.get("data", "").split() if each not in ("E", "U", "L")]
    if origin is None or not texts:
        return None
    found = [origin + factor * Fraction(each) for each in texts]
    return Range(min(found), max(found))


def _number(quantity: Any) -> Fraction | None:
    if not isinstance(quantity, Mapping) or "value" not in quantity:
        return None
    return Fraction(str(quantity["value"]))


def units(value: Value) -> list[tuple[str | None, str | None, str | None]]:
    """(system, code, unit text) of a quantity, or of both ends of a Range."""
    content = value.content
    sides = [content]
    if value.datatype == "Range":
        sides = [content[side] for side in ("low", "high") if side in content]
    elif value.datatype == "SampledData":
        sides = [content["origin"]]
    return [
        (each.get("system"), each.get("code"), each.get("unit") or each.get("currency"))
        for each in sides
    ]


def moments(value: Value) -> Range | None:
    """The range of time that a date, Period or Timing stands for; None for none."""
    content = value.content
    if isinstance(content, str):
        return time_range(content)
    if value.datatype == "Timing":
        return _timing(content)
    return _period(content)


def _period(content: Mapping[str, Any]) -> Range | None:
    start, end = content.get("start"), content.get("end")
    if start is None and end is None:
        return None
    low = None if start is None else time_range(start).low
    high = None if end is None else time_range(end).high
    return Range(low, high, is_high_open=True)


def _timing(content: Mapping[str, Any]) -> Range | None:
    found = [time_range(event) for event in content.get("event", ())]
    bounds = _period(content.get("repeat", {}).get("boundsPeriod", {}))
    found += [bounds] if bounds else []
    if not found:
        return None
    lows, highs = [each.low for each in found], [each.high for each in found]
    low = None if None in lows else min(each for each in lows if each is not None)
    high = None if None in highs else max(each for each in highs if each is not None)
    return Range(low, high, is_high_open=True)
