"""Ranges of numbers and of time, and R4's table of prefixes over them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY = 86_400_000_000
PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")


@dataclass(frozen=True, slots=True)
class Range:
    """From `low` to `high`; None is without end. An open side does not belong to it."""

    low: Fraction | None
    high: Fraction | None
    is_low_open: bool = False
    is_high_open: bool = False

    def contains(self, other: "Range") -> bool:
        """No part of the other lies outside."""
        return not other.reaches_below(self) and not other.reaches_above(self)

    def reaches_above(self, other: "Range") -> bool:
        """Something of this is higher than all of the other."""
        if other.high is None:
            return False
        if self.high is None or self.high > other.high:
            return True
        return self.high == other.high and other.is_high_open and not self.is_high_open

    def reaches_below(self, other: "Range") -> bool:
        """Something of this is lower than all of the other."""
        if other.low is None:
            return False
        if self.low is None or self.low < other.low:
            return True
        return self.low == other.low and other.is_low_open and not self.is_low_open

    def is_above(self, other: "Range") -> bool:
        """All of this is higher than all of the other."""
        if self.low is None or other.high is None:
            return False
        if self.low == other.high:
            return self.is_low_open or other.is_high_open
        return self.low > other.high

    def overlaps(self, other: "Range") -> bool:
        """Something belongs to both."""
        return not self.is_above(other) and not other.is_above(self)


COMPARED: Mapping[str, Callable[[Range, Range], bool]] = {
    "eq": lambda stored, asked: asked.contains(stored),
    "ne": lambda stored, asked: not asked.contains(stored),
    "gt": lambda stored, asked: stored.reaches_above(asked),
    "lt": lambda stored, asked: stored.reaches_below(asked),
    "ge": lambda stored, asked: stored.reaches_above(asked) or asked.contains(stored),
    "le": lambda stored, asked: stored.reaches_below(asked) or asked.contains(stored),
    "sa": lambda stored, asked: stored.is_above(asked),
    "eb": lambda stored, asked: asked.is_above(stored),
    "ap": lambda stored, asked: stored.overlaps(asked),
}
"""R4 Search, "Prefixes": prefix → (the resource's range, the range asked for) → a match."""

COMPARED_NUMBERS: Mapping[str, Callable[[Range, Range], bool]] = {
    **COMPARED,
    "ge": lambda stored, asked: not asked.is_above(stored),
    "le": lambda stored, asked: not stored.is_above(asked),
}
"""The same for numbers, where what is asked for is a point: a range that touches it is found."""


def prefixed(text: str) -> tuple[str, str]:
    """The prefix, `eq` when there is none, and the rest."""
    return (text[:2], text[2:]) if text[:2] in PREFIXES else ("eq", text)


def number_asked(prefix: str, text: str) -> Range:
    """The numbers that a search value stands for: what is written means half a unit of its last
    digit either way for eq and ne; the exact number for the rest; ten percent for ap."""
    value = Fraction(text)
    if prefix in ("eq", "ne"):
        return _around(value, _half_a_unit(text), is_high_open=True)
    if prefix != "ap":
        return Range(value, value)
    return _around(value, max(abs(value) / 10, _half_a_unit(text)))


def _around(value: Fraction, slack: Fraction, *, is_high_open: bool = False) -> Range:
    return Range(value - slack, value + slack, is_high_open=is_high_open)


def _half_a_unit(text: str) -> Fraction:
    mantissa, mark, exponent = text.lower().partition("e")
    places = len(mantissa.partition(".")[2])
    digits = mantissa.lstrip("+-").replace(".", "").lstrip("0")
    if mark:  # 1e2 is [95, 105): two significant digits at least
        places = max(places, places + 2 - max(len(digits), 1))
    return Fraction(10) ** (int(exponent or 0) - places) / 2


def date_asked(prefix: str, text: str, now: datetime) -> Range:
    """The moments that a search value stands for; for ap a tenth of the distance to now more."""
    found = time_range(text)
    if prefix != "ap" or found.low is None or found.high is None:
        return found
    slack = abs(_microseconds(now) - found.low) // 10
    return Range(found.low - slack, found.high + slack, is_high_open=True)


def time_range(text: str) -> Range:
    """A partial date or time as the half-open range of all its moments, in microseconds."""
    date, mark, time = text.partition("T")
    year, month, day = ([int(part) for part in date.split("-")] + [0, 0])[:3]
    start = datetime(year, month or 1, day or 1, tzinfo=UTC)
    if mark:
        return _time(start, time)
    if day:
        return _from(start, DAY)
    follower = (year + month // 12, month % 12 + 1) if month else (year + 1, 1)
    if follower[0] > 9999:
        return _from(start, DAY * (31 if month else 365))
    end = datetime(*follower, 1, tzinfo=UTC)
    return _from(start, _microseconds(end) - _microseconds(start))


def _time(day: datetime, text: str) -> Range:
    clock, shift = text, timedelta()
    if text.endswith("Z"):
        clock = text[:-1]
    elif text[-6] in "+-":
        clock, hours, minutes = text[:-6], int(text[-5:-3]), int(text[-2:])
        shift = timedelta(hours=hours, minutes=minutes) * (-1 if text[-6] == "-" else 1)
    parts = clock.split(":")
    seconds, dot, fraction = (parts[2] if len(parts) > 2 else "0").partition(".")
    moment = day.replace(tzinfo=timezone(shift)) + timedelta(
        hours=int(parts[0]), minutes=int(parts[1]), seconds=int(seconds)
    )
    unit = 10**6 if len(parts) > 2 else 60 * 10**6
    if dot:
        unit = 10 ** (6 - len(fraction))
        moment += timedelta(microseconds=int(fraction) * unit)
    return _from(moment, unit)


def _from(start: datetime, length: int | Fraction) -> Range:
    low = _microseconds(start)
    return Range(low, low + length, is_high_open=True)


def _microseconds(moment: datetime) -> Fraction:
    return Fraction((moment - EPOCH) // timedelta(microseconds=1))
