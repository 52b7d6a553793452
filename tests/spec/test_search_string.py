"""R4 Search, "string": starts-with, without case and accents; `:exact`, `:contains`."""

from pathlib import Path

import pytest

from fhir_server.fhir.outcome import FhirError
from tests.search_ward import plan, ward

LONG = "Ward notes " + "a" * 1500 + " needle " + "b" * 1500 + " Tail"


def patient(id: str, family: str, *given: str, **other: object) -> dict[str, object]:
    name = {"family": family, "given": list(given)}
    return {"resourceType": "Patient", "id": id, "name": [name], **other}


PATIENTS = [
    patient("chalmers", "Chalmers", "Peter", "James"),
    patient("chal", "Chal"),
    patient("muller", "Müller", "Änne"),
    patient("comma", "Smith, Jr.", "O'Neil"),
    patient("spaces", "van  der   Berg"),
    patient("long", LONG),
    patient("longer", LONG + "x"),
]

CASES = [
    ("family=chal", {"chalmers", "chal"}),
    ("family=Chalmers", {"chalmers"}),
    ("family=chalmersx", set()),
    ("family=halmers", set()),
    ("family=MULLER", {"muller"}),
    ("family=müller", {"muller"}),
    ("given=anne", {"muller"}),
    ("name=james", {"chalmers"}),
    ("name=peter", {"chalmers"}),
    ("family=van der berg", {"spaces"}),
    ("family=chal,mull", {"chalmers", "chal", "muller"}),
    ("family=chal&given=peter", {"chalmers"}),
    ("family=chal&given=anne", set()),
    (r"family=smith\, jr", {"comma"}),
    ("family=smith, jr", {"comma"}),  # " jr" is another alternative, and no name starts so
    ("family:exact=Chalmers", {"chalmers"}),
    ("family:exact=chalmers", set()),
    ("family:exact=Chal", {"chal"}),
    ("family:exact=Muller", set()),
    ("family:contains=halm", {"chalmers"}),
    ("family:contains=ULLE", {"muller"}),
    ("family:contains=xyz", set()),
    ("family:contains=needle", {"long", "longer"}),
    ("family:contains=tail", {"long", "longer"}),
    ("family:contains=tailx", {"longer"}),
    ("family:missing=false", {"chalmers", "chal", "muller", "comma", "spaces", "long", "longer"}),
    ("given:missing=true", {"chal", "spaces", "long", "longer"}),
]


@pytest.mark.parametrize(("query", "expected"), CASES)
async def test_names_are_found(query: str, expected: set[str], tmp_path: Path) -> None:
    patients = [
        {**each, "name": [{k: v for k, v in each["name"][0].items() if v}]}  # type: ignore[index]
        for each in PATIENTS
    ]
    async with ward(tmp_path, patients) as searched:
        assert await searched.ids(f"Patient?{query}") == expected


async def test_a_long_value_is_found_by_all_of_it_and_by_nothing_else(tmp_path: Path) -> None:
    async with ward(tmp_path, PATIENTS) as searched:
        assert await searched.ids(f"Patient?family:exact={LONG}") == {"long"}
        assert await searched.ids(f"Patient?family:exact={LONG}x") == {"longer"}
        assert await searched.ids(f"Patient?family:exact={LONG[:1000]}") == set()
        assert await searched.ids(f"Patient?family={LONG[:900]}") == {"long", "longer"}


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("family=", "family has no value"),
        ("family=a,,b", "empty value"),
        (f"family={'a' * 1001}", "longer than 1000"),
        (f"family:contains={'a' * 201}", "at most 200"),
        ("family:starts=a", "no modifier"),
        ("family:exakt=a", "did you mean exact"),
        ("Family=a", "did you mean family"),
        ("family:missing=maybe", "true or false"),
    ],
)
def test_what_cannot_be_answered_is_refused_by_name(query: str, words: str) -> None:
    with pytest.raises(FhirError, match=words) as refusal:
        plan(f"Patient?{query}")
    assert refusal.value.status == 400


async def test_address_parts_are_found_by_their_own_parameters(tmp_path: Path) -> None:
    home = {"line": ["534 Erewhon St"], "city": "Bo", "postalCode": "3999"}
    people = [{"resourceType": "Patient", "id": "x", "address": [home]}]
    async with ward(tmp_path, people) as searched:
        assert await searched.ids("Patient?address=534") == {"x"}
        assert await searched.ids("Patient?address-city=bo") == {"x"}
        assert await searched.ids("Patient?address-city=3999") == set()
        assert await searched.ids("Patient?address-postalcode=39") == {"x"}
