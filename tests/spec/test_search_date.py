"""R4 Search, "date": ranges of precision on both sides, time zones, prefixes."""

from pathlib import Path

import pytest

from fhir_server.fhir.outcome import FhirError
from tests.search_ward import plan, ward


def observation(id: str, **effective: object) -> dict[str, object]:
    code = {"text": "x"}
    return {"resourceType": "Observation", "id": id, "status": "final", "code": code, **effective}


RESOURCES = [
    observation("day", effectiveDateTime="2013-01-14"),
    observation("noon", effectiveDateTime="2013-01-14T12:00:00Z"),
    observation("east", effectiveDateTime="2013-01-15T01:00:00+05:00"),  # 14 January in UTC
    observation("next", effectiveDateTime="2013-01-15"),
    observation("year", effectiveDateTime="2013"),
    observation("past", effectiveDateTime="2012-12-31"),
    observation("period", effectivePeriod={"start": "2013-01-10", "end": "2013-01-20"}),
    observation("since", effectivePeriod={"start": "2013-01-14T13:00:00Z"}),
    observation("until", effectivePeriod={"end": "2013-01-14"}),
    observation("instant", effectiveInstant="2013-01-14T12:00:00.123Z"),
    observation(
        "timing",
        effectiveTiming={"event": ["2013-01-12", "2013-01-13T08:00:00Z"]},
    ),
    observation("none"),
]

CASES = [
    ("2013-01-14", {"day", "noon", "east", "instant"}),
    ("eq2013-01-14", {"day", "noon", "east", "instant"}),
    ("2013-01", {"day", "noon", "east", "next", "period", "instant", "timing"}),
    ("2013", {"day", "noon", "east", "next", "year", "period", "instant", "timing"}),
    ("2013-01-14T12:00", {"noon", "instant"}),
    ("2013-01-14T12:00:00Z", {"noon", "instant"}),
    ("2013-01-14T12:00:00.123Z", {"instant"}),
    ("2013-01-14T13:00:00+01:00", {"noon", "instant"}),
    ("2013-01-14T12:01", set()),
    ("ne2013-01-14", {"next", "year", "past", "period", "since", "until", "timing"}),
    ("gt2013-01-14", {"next", "year", "period", "since"}),
    ("ge2013-01-14", {"day", "noon", "east", "next", "year", "period", "since", "instant"}),
    ("gt2013", {"since"}),
    (
        "ge2013",
        {"day", "noon", "east", "next", "year", "period", "since", "instant", "timing"},
    ),
    ("lt2013-01-14", {"year", "past", "period", "until", "timing"}),
    (
        "le2013-01-14",
        {"day", "noon", "east", "year", "past", "period", "until", "instant", "timing"},
    ),
    ("lt2013", {"past", "until"}),
    ("sa2013-01-14", {"next"}),
    ("sa2013-01-13", {"day", "noon", "east", "next", "since", "instant"}),
    ("eb2013-01-14", {"past", "timing"}),
    ("eb2013-01-15", {"day", "noon", "east", "past", "until", "instant", "timing"}),
    ("2013-01-15,2012-12-31", {"next", "past"}),
]


@pytest.mark.parametrize(("value", "expected"), CASES)
async def test_dates_are_found(value: str, expected: set[str], tmp_path: Path) -> None:
    async with ward(tmp_path, RESOURCES) as searched:
        assert await searched.ids(f"Observation?date={value}") == expected


async def test_repeats_narrow_to_an_interval(tmp_path: Path) -> None:
    async with ward(tmp_path, RESOURCES) as searched:
        found = await searched.ids("Observation?date=ge2013-01-15&date=lt2013-01-16")
        assert found == {"next", "year", "period", "since"}


async def test_approximate_widens_by_a_tenth_of_the_distance_to_now(tmp_path: Path) -> None:
    # Now is 24 November 2026: ten years and ten months after 14 January 2016.
    near = [
        observation("in", effectiveDateTime="2015-01-14"),
        observation("out", effectiveDateTime="2014-11-14"),
        observation("over", effectivePeriod={"start": "2000", "end": "2015-06"}),
    ]
    async with ward(tmp_path, near) as searched:
        assert await searched.ids("Observation?date=ap2016-01-14") == {"in", "over"}


async def test_both_bounds_must_come_from_one_value(tmp_path: Path) -> None:
    def encounter(id: str, *periods: tuple[str, str]) -> dict[str, object]:
        places = [
            {"location": {"display": "ward"}, "period": {"start": start, "end": end}}
            for start, end in periods
        ]
        return {
            "resourceType": "Encounter",
            "id": id,
            "status": "finished",
            "class": {"code": "IMP"},
            "location": places,
        }

    encounters = [
        encounter("inside", ("2013-02-01", "2013-02-03"), ("2015", "2015")),
        encounter("around", ("2012-01-01", "2013-02-02"), ("2013-03-01", "2014-01-01")),
    ]
    async with ward(tmp_path, encounters) as searched:
        # One period of "around" begins in 2013 and another one ends in it.
        assert await searched.ids("Encounter?location-period=2013") == {"inside"}
        assert await searched.ids("Encounter?location-period=ap2013-02-01") == {
            "inside",
            "around",
        }


@pytest.mark.parametrize(
    "value",
    ["2013-13", "2013-02-30", "yesterday", "xx2013", "eq", "2013-01-14T25:00", "13-01-2013", ""],
)
def test_malformed_dates_are_refused_by_name(value: str) -> None:
    with pytest.raises(FhirError, match="date") as refusal:
        plan(f"Observation?date={value}")
    assert refusal.value.status == 400


async def test_last_updated_is_a_date(tmp_path: Path) -> None:
    async with ward(tmp_path, RESOURCES[:1]) as searched:
        assert await searched.ids("Observation?_lastUpdated=ge2026-11-24") == {"day"}
        assert await searched.ids("Observation?_lastUpdated=2026-11-24T02:00:00Z") == {"day"}
        assert await searched.ids("Observation?_lastUpdated=gt2026-11-24T02:00:01Z") == set()
        assert await searched.ids("Observation?_lastUpdated:missing=false") == {"day"}
        assert await searched.ids("Observation?_lastUpdated:missing=true") == set()
