"""R4 Search, "chained parameters" and "reverse chaining" (`_has`)."""

from pathlib import Path
from typing import Any

import pytest

from fhir_server.fhir.outcome import FhirError
from tests.search_ward import plan, ward


def patient(id: str, family: str, **other: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": id, "name": [{"family": family}], **other}


def observation(id: str, subject: str, code: str, **other: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "code": {"coding": [{"code": code}]},
        "subject": {"reference": subject},
        **other,
    }


RESOURCES = [
    patient(
        "p1",
        "Peters",
        identifier=[{"system": "urn:mrn", "value": "1"}],
        managingOrganization={"reference": "Organization/o1"},
    ),
    patient("p2", "Klein", managingOrganization={"reference": "Organization/o2"}),
    {"resourceType": "Group", "id": "p1", "type": "person", "actual": True},
    {"resourceType": "Organization", "id": "o1", "name": "Peters Hospital"},
    {"resourceType": "Organization", "id": "o2", "name": "Other"},
    observation("a", "Patient/p1", "8867-4", encounter={"reference": "Encounter/e1"}),
    observation("b", "Patient/p2", "8867-4"),
    observation("c", "Patient/p1/_history/1", "9279-1"),
    observation("d", "Group/p1", "8867-4"),
    observation("gone", "Patient/nobody", "8867-4"),
    {
        "resourceType": "Encounter",
        "id": "e1",
        "status": "finished",
        "class": {"code": "IMP"},
        "subject": {"reference": "Patient/p1"},
    },
]

CASES = [
    ("Observation?subject:Patient.name=peters", {"a", "c"}),
    ("Observation?subject.name=peters", {"a", "c"}),
    ("Observation?subject:Patient.name=pet,klein", {"a", "b", "c"}),
    ("Observation?subject:Patient.name=eters", set()),
    ("Observation?subject:Group.type=person", {"d"}),
    ("Observation?patient.identifier=urn:mrn|1", {"a", "c"}),
    ("Observation?patient.identifier=urn:mrn|2", set()),
    ("Observation?subject._id=p1", {"a", "c", "d"}),
    ("Observation?subject:Patient._id=p1", {"a", "c"}),
    ("Observation?subject:Patient.name:exact=Peters", {"a", "c"}),
    ("Observation?subject:Patient.name:missing=false", {"a", "b", "c"}),
    ("Observation?subject:Patient.organization.name=peters", {"a", "c"}),
    ("Observation?subject:Patient.organization.name=other", {"b"}),
    ("Observation?encounter.patient.name=peters", {"a"}),
    ("Observation?subject:Patient.name=peters&code=9279-1", {"c"}),
    ("Patient?_has:Observation:patient:code=8867-4", {"p1", "p2"}),
    ("Patient?_has:Observation:patient:code=9279-1", {"p1"}),
    ("Patient?_has:Observation:patient:code=x", set()),
    ("Patient?_has:Observation:patient:code:not=8867-4", {"p1"}),
    ("Organization?_has:Patient:organization:_has:Observation:patient:code=9279-1", {"o1"}),
    ("Observation?subject:Patient._has:Encounter:patient:status=finished", {"a", "c"}),
    ("Patient?_has:Observation:patient:encounter.status=finished", {"p1"}),
]


@pytest.mark.parametrize(("query", "expected"), CASES)
async def test_chains_are_followed(query: str, expected: set[str], tmp_path: Path) -> None:
    async with ward(tmp_path, RESOURCES) as searched:
        found = await searched.ids(query)
        # The embedded store joins unversioned references; versioned ones have both terms.
        assert found == expected


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("Observation?code.name=x", "only references can be chained"),
        ("Observation?subject:Practitioner.name=x", "does not refer to"),
        ("Observation?subject.kolour=x", "not a search parameter"),
        ("Observation?subject:Patient.nam=x", "did you mean name"),
        ("Patient?_has:Observation:patient=x", "_has:Type:reference:parameter"),
        ("Patient?_has:Observatoin:patient:code=x", "did you mean Observation"),
        ("Patient?_has:Observation:code:status=x", "does not refer"),
        ("Patient?_has:Observation:patient:kode=x", "did you mean code"),
        ("QuestionnaireResponse?questionnaire.colour=x", "not a search parameter"),
        ("Patient?_has:Observation:encounter:status=x", "does not refer to Patient"),
        ("Organization?" + "partof." * 7 + "name=x", "more than 5 links"),
    ],
)
def test_what_cannot_be_answered_is_refused_by_name(query: str, words: str) -> None:
    with pytest.raises(FhirError, match=words) as refusal:
        plan(query)
    assert refusal.value.status == 400
