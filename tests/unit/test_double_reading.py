"""Who has read a case: one person is one reader, however references name them."""

from typing import Any

import pytest

from fhir_server.fhir.assessment import FINDINGS
from fhir_server.fhir.double_reading import Agreement, double_reading

BASE = "http://base/fhir"
OWN = ["Practitioner/1", f"{BASE}/Practitioner/1", "Practitioner/1/_history/3"]
SAME = [*OWN, f"{BASE}/Practitioner/1/_history/2"]
OTHERS = ["Practitioner/2", "http://other/fhir/Practitioner/1", "PractitionerRole/1"]


def reading(reader: str, answer: str = "parasites-seen", code: str = "first-reading") -> Any:
    return {
        "resourceType": "Observation",
        "id": "r",
        "code": {"coding": [{"system": FINDINGS, "code": code}]},
        "performer": [{"reference": reader}],
        "valueCodeableConcept": {"coding": [{"system": FINDINGS, "code": answer}]},
    }


@pytest.mark.parametrize("again", SAME)
@pytest.mark.parametrize("base", [BASE, f"{BASE}/"])
def test_two_readings_of_one_person_are_no_double_reading(again: str, base: str) -> None:
    case = double_reading([reading("Practitioner/1"), reading(again)], base)
    assert (case.agreement, case.label) == (Agreement.SINGLE, None)
    assert case.readers == {"Practitioner/1"}


@pytest.mark.parametrize("other", OTHERS)
def test_two_people_are_two_readers(other: str) -> None:
    case = double_reading([reading("Practitioner/1"), reading(other)], BASE)
    assert (case.agreement, case.label) == (Agreement.ALIKE, 1)


@pytest.mark.parametrize("again", SAME)
def test_who_has_read_a_case_is_no_third_reader_of_it(again: str) -> None:
    readings = [
        reading("Practitioner/1"),
        reading("Practitioner/2", "parasites-not-seen"),
        reading(again, code="adjudicated-reading"),
    ]
    assert double_reading(readings, BASE).agreement is Agreement.DIFFERENT


def test_one_person_of_another_server_is_one_reader_too() -> None:
    there = "http://other/fhir/Practitioner/1"
    case = double_reading([reading(there), reading(f"{there}/_history/1")], BASE)
    assert case.agreement is Agreement.SINGLE
