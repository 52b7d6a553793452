"""Partial dates as ranges of time."""

import re
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.fhir.dates import (
    DAY,
    EARLIEST,
    LATEST,
    MINUTE,
    SECOND,
    microseconds,
    period_range,
    time_range,
)
from fhir_server.validation.primitives import PRIMITIVES


def at(*parts: int) -> int:
    return microseconds(datetime(*parts, tzinfo=UTC))


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("2015", at(2015, 1, 1), at(2016, 1, 1)),
        ("2015-02", at(2015, 2, 1), at(2015, 3, 1)),
        ("2015-12", at(2015, 12, 1), at(2016, 1, 1)),
        ("2016-02-29", at(2016, 2, 29), at(2016, 3, 1)),
        ("2015-02-07T13:28", at(2015, 2, 7, 13, 28), at(2015, 2, 7, 13, 29)),
        ("2015-02-07T13:28:17Z", at(2015, 2, 7, 13, 28, 17), at(2015, 2, 7, 13, 28, 18)),
        ("2015-02-07T13:28:17+02:00", at(2015, 2, 7, 11, 28, 17), at(2015, 2, 7, 11, 28, 18)),
        ("2015-02-07T23:28:17-05:30", at(2015, 2, 8, 4, 58, 17), at(2015, 2, 8, 4, 58, 18)),
        ("2016-12-31T23:59:60Z", at(2017, 1, 1), at(2017, 1, 1, 0, 0, 1)),
    ],
)
def test_a_date_is_as_wide_as_it_is_precise(text: str, low: int, high: int):
    assert time_range(text) == (low, high)


def test_a_fraction_narrows_the_range():
    low = at(2015, 2, 7, 13, 28, 17)
    assert time_range("2015-02-07T13:28:17.5Z") == (low + 500_000, low + 600_000)
    assert time_range("2015-02-07T13:28:17.239Z") == (low + 239_000, low + 240_000)
    assert time_range("2015-02-07T13:28:17.123456789Z") == (low + 123_456, low + 123_457)


NO_DATES = (
    *("", "15", "2015-13", "2015-00", "2015-02-29", "2100-02-29", "2015-2-7", "2015-02-07T"),
    *("x", "0000", "٢٠١٥", "20150207", "2015-02-07T24:00:00Z", "2015-02-07T13:60:00Z"),
    *("2015-02-07T13:28:61Z", "2015-02-07T13:28:17.Z", "2015-02-07T13:28:17+15:00"),
    *("2015-02-07T13:28:17+14:30", "2015-02-07Z", "2015-02-07\n"),
)


@pytest.mark.parametrize("text", NO_DATES)
def test_what_no_calendar_and_no_clock_shows_is_refused(text: str):
    with pytest.raises(ValueError):
        time_range(text)


def test_a_period_reaches_to_the_end_of_its_end():
    assert period_range({"start": "2015", "end": "2015-02"}) == (at(2015, 1, 1), at(2015, 3, 1))


def test_an_open_side_of_a_period_reaches_to_the_end_of_time():
    assert period_range({"start": "2015"}) == (at(2015, 1, 1), LATEST)
    assert period_range({"end": "2015-02-07"}) == (EARLIEST, at(2015, 2, 8))
    assert time_range("9999").high == LATEST
    assert time_range("0001").low == EARLIEST


@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)))
def test_every_moment_lies_in_its_second_minute_day_month_and_year(moment: datetime):
    point = microseconds(moment.replace(tzinfo=UTC))
    full = moment.isoformat(timespec="microseconds")
    assert time_range(full + "Z") == (point, point + 1)
    widths = []
    for text in (full[:19] + "Z", full[:16], full[:10], full[:7], full[:4]):
        low, high = time_range(text)
        assert low <= point < high
        widths.append(high - low)
    assert widths[:3] == [SECOND, MINUTE, DAY]
    assert widths == sorted(widths)


@given(st.dates(), st.dates())
def test_ranges_are_ordered_as_the_dates_are(first: date, second: date):
    assert (first < second) == (
        time_range(first.isoformat()).high <= time_range(second.isoformat()).low
    )


@given(st.integers(0, 9999), st.integers(0, 13), st.integers(0, 32))
def test_the_date_pattern_and_the_calendar_agree(year: int, month: int, day: int):
    text = f"{year:04}-{month:02}-{day:02}"
    try:
        date(year, month, day)
        exists = True
    except ValueError:
        exists = False
    assert PRIMITIVES["date"].accepts(text) == exists
    assert PRIMITIVES["dateTime"].accepts(text) == exists
    assert PRIMITIVES["instant"].accepts(text + "T10:00:00Z") == exists


@given(st.from_regex(re.compile(PRIMITIVES["dateTime"].pattern or "", re.ASCII), fullmatch=True))
def test_every_valid_date_time_has_a_range(text: str):
    low, high = time_range(text)
    assert low < high
    assert EARLIEST - DAY <= low <= LATEST + timedelta(days=1) // timedelta(microseconds=1)
