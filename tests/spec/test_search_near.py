"""R4 Location, "Positional Searching": `near=latitude|longitude|distance|units`; R4 Patient `age`
and `birthOrderBoolean`."""

from pathlib import Path
from typing import Any

import pytest

from fhir_server.fhir.outcome import FhirError
from tests.search_ward import plan, ward


def location(id_: str, latitude: float, longitude: float) -> dict[str, Any]:
    position = {"latitude": latitude, "longitude": longitude}
    return {"resourceType": "Location", "id": id_, "position": position}


def patient(id_: str, born: str | None, **other: Any) -> dict[str, Any]:
    birth = {} if born is None else {"birthDate": born}
    return {"resourceType": "Patient", "id": id_, **birth, **other}


RESOURCES = [
    location("clinic", 42.25475478, -83.6945691),
    location("hospital", 42.28, -83.73),  # 4.1 km from the clinic
    location("elsewhere", -83.6945691, 42.25475478),
    location("taveuni", -16.80, 179.98),
    location("rabi", -16.50, -179.98),  # 33.6 km from taveuni, over the antimeridian
    location("pole", 89.99, 180),
    location("beyond", 95, 0),
    {"resourceType": "Location", "id": "nowhere", "name": "x"},
    # It is 2026-11-24.
    patient("thirty", "1996-11-24"),
    patient("almost", "1996-11-25"),
    patient("thirty-one", "1995-11-24"),
    patient("year", "1996"),
    patient("newborn", "2026-11-24"),
    patient("dead", "1996-11-24", deceasedDateTime="2020"),
    patient("unborn", None, multipleBirthInteger=2),
    patient("twin", "1950-01", multipleBirthBoolean=True),
    patient("single", "1950-01", multipleBirthBoolean=False),
]

CASES = [
    ("Location?near=42.25475478|-83.6945691|0|km", "clinic"),
    ("Location?near=42.25475478|-83.6945691|4|km", "clinic"),
    ("Location?near=42.25475478|-83.6945691|4.2|km", "clinic hospital"),
    ("Location?near=42.25475478|-83.6945691|4.2", "clinic hospital"),
    ("Location?near=42.25475478|-83.6945691|4200|m", "clinic hospital"),
    ("Location?near=42.25475478|-83.6945691|2.5|[mi_i]", "clinic"),
    ("Location?near=42.25475478|-83.6945691|2.6|[mi_us]", "clinic hospital"),
    ("Location?near=42.25475478|-83.6945691", "clinic hospital"),
    ("Location?near=42.25475478|-83.6945691||", "clinic hospital"),
    ("Location?near=-83.6|42.2|20|km", "elsewhere"),
    ("Location?near=-16.80|179.98|34|km", "rabi taveuni"),
    ("Location?near=-16.80|179.98|33|km", "taveuni"),
    ("Location?near=-16.50|-180|10|km", "rabi"),
    ("Location?near=-16.50|180|10|km", "rabi"),
    ("Location?near=89.99|0|2.3|km", "pole"),  # 2.2 km, over the pole
    ("Location?near=89.99|0|2.1|km", ""),
    ("Location?near=90|-77|1.2|km", "pole"),
    ("Location?near=0|0|20100|km", "clinic elsewhere hospital pole rabi taveuni"),
    ("Location?near=42.25|-83.69|2,-16.8|179.98|2", "clinic taveuni"),
    ("Location?near:missing=true", "nowhere"),
    ("Patient?age=30", "thirty"),
    ("Patient?age=29", "almost"),
    ("Patient?age=ge30", "single thirty thirty-one twin year"),
    ("Patient?age=gt30", "single thirty-one twin"),
    ("Patient?age=lt30", "almost newborn year"),
    ("Patient?age=le30", "almost newborn thirty year"),
    ("Patient?age=ne30", "almost newborn single thirty-one twin year"),
    ("Patient?age=sa30", "single thirty-one twin"),
    ("Patient?age=eb30", "almost newborn year"),
    ("Patient?age=ap31", "almost thirty thirty-one year"),
    ("Patient?age=0", "newborn"),
    ("Patient?age=76", "single twin"),
    ("Patient?age:missing=true", "unborn"),
    ("Patient?birthOrderBoolean=true", "twin unborn"),
    (
        "Patient?birthOrderBoolean=false",
        "almost dead newborn single thirty thirty-one year",
    ),
]


@pytest.mark.parametrize(("query", "ids"), CASES)
async def test_places_and_ages_are_found(query: str, ids: str, tmp_path: Path) -> None:
    async with ward(tmp_path, RESOURCES) as searched:
        assert " ".join(sorted(await searched.ids(query))) == ids


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("Location?near=1", "is not latitude|longitude|distance|units"),
        ("Location?near=1|2|3|km|5", "is not latitude|longitude|distance|units"),
        ("Location?near=91|2", "beyond 90 degrees; the latitude comes first"),
        ("Location?near=1|181", "beyond 180 degrees"),
        ("Location?near=1|x", "'x' is not a number"),
        ("Location?near=1|2|-3", "below zero"),
        ("Location?near=1|2||kg", "not a UCUM unit of length"),
        ("Location?near=1|2|3|kg", "not a UCUM unit of length"),
        ("Location?near=1|2|3|miles", "not a UCUM unit of length"),
        ("Location?near:exact=1|2", "no modifier of a special"),
        ("Location?_sort=near", "near is a special and has no order"),
        ("Patient?age=3.5", "not a whole number of years"),
        ("Patient?age=-1", "not a whole number of years"),
        ("Patient?age=201", "not a whole number of years"),
        ("Patient?age=xx3", "not one of the prefixes"),
        ("Patient?_sort=age", "age is a number and has no order"),
    ],
)
def test_what_has_no_meaning_is_refused_by_name(query: str, words: str) -> None:
    with pytest.raises(FhirError) as refusal:
        plan(query)
    assert refusal.value.status == 400
    assert words in str(refusal.value)
