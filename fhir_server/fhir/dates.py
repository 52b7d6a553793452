"""FHIR's partial dates as ranges of time (R4 "date, dateTime, instant, Period").

`2015-08` means the whole month. Every date becomes a half-open range of microseconds since
1970-01-01T00:00Z, so that comparing dates is comparing integers. A date without a time zone is
read as UTC.
"""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

MICROSECOND = 1
SECOND = 1_000_000
MINUTE = 60 * SECOND
DAY = 24 * 60 * MINUTE

_EPOCH = date(1970, 1, 1).toordinal()
_PATTERN = re.compile(
    r"(?P<year>\d{4})(?:-(?P<month>\d\d)(?:-(?P<day>\d\d)"
    r"(?:T(?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d+))?)?"
    r"(?P<zone>Z|[+-]\d\d:\d\d)?)?)?)?",
    re.ASCII,
)


class TimeRange(NamedTuple):
    """From `low` up to but not including `high`, in microseconds since 1970 UTC."""

    low: int
    high: int


EARLIEST = (date(1, 1, 1).toordinal() - _EPOCH) * DAY
LATEST = (date(9999, 12, 31).toordinal() + 1 - _EPOCH) * DAY
_START = datetime(1970, 1, 1, tzinfo=UTC)


def time_range(text: str) -> TimeRange:
    """The range that a date, dateTime or instant stands for, as precise as it is written.

    Seconds and time zone may be left out, as searches allow. Raises ValueError for text that
    is no date and for days that no calendar has.
    """
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a FHIR date")
    part = match.groupdict()
    year = int(part["year"])
    if year == 0:
        raise ValueError(f"{text!r} is in the year 0, which no calendar has")
    if part["month"] is None:
        return TimeRange(_day(year, 1, 1), _month_start(year + 1, 1))
    month = int(part["month"])
    if part["day"] is None:
        low = _day(year, month, 1)
        return TimeRange(low, _month_start(year, month + 1))
    low = _day(year, month, int(part["day"]))
    if part["hour"] is None:
        return TimeRange(low, low + DAY)
    return _timed_range(text, low, part)


def period_range(period: Mapping[str, Any]) -> TimeRange:
    """The range of a Period: an end covers its whole day (or month …), an open side reaches
    to EARLIEST or LATEST."""
    start, end = period.get("start"), period.get("end")
    low = EARLIEST if start is None else time_range(start).low
    high = LATEST if end is None else time_range(end).high
    return TimeRange(low, high)


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970 UTC of an aware datetime."""
    since = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(microseconds=1)


def moment_of(microseconds: int) -> datetime:
    """The moment so long after 1970, as near as a datetime gets to the ends of FHIR's calendar."""
    latest = LATEST - SECOND
    return _START + timedelta(microseconds=min(max(microseconds, EARLIEST), latest))


def _day(year: int, month: int, day: int) -> int:
    return (date(year, month, day).toordinal() - _EPOCH) * DAY


def _month_start(year: int, month: int) -> int:
    if month > 12:
        year, month = year + 1, 1
    return LATEST if year > 9999 else _day(year, month, 1)


def _timed_range(text: str, day: int, part: Mapping[str, str | None]) -> TimeRange:
    hour, minute = int(part["hour"] or 0), int(part["minute"] or 0)
    second = int(part["second"] or 0)
    if hour > 23 or minute > 59 or second > 60:  # 60 is a leap second
        raise ValueError(f"{text!r} has a time that no clock shows")
    low = day + (hour * 60 + minute) * MINUTE + second * SECOND - _offset(text, part["zone"])
    if part["second"] is None:
        return TimeRange(low, low + MINUTE)
    fraction = (part["fraction"] or "")[:6]
    low += int(fraction.ljust(6, "0"))
    return TimeRange(low, low + 10 ** (6 - len(fraction)))


def _offset(text: str, zone: str | None) -> int:
    if zone is None or zone == "Z":
        return 0
    hours, minutes = int(zone[1:3]), int(zone[4:6])
    if hours > 14 or minutes > 59 or (hours == 14 and minutes > 0):
        raise ValueError(f"{text!r} has a time zone that does not exist")
    size = (hours * 60 + minutes) * MINUTE
    return -size if zone[0] == "-" else size
