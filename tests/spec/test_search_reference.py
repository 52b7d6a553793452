"""R4 Search, "reference" and "uri": ids, types, URLs, versions, identifiers, canonicals."""

from pathlib import Path
from typing import Any

import pytest

from fhir_server.fhir.outcome import FhirError
from tests.search_ward import BASE, plan, ward


def observation(id: str, **subject: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "code": {"text": "x"},
        "subject": subject,
    }


def answers(id: str, questionnaire: str) -> dict[str, Any]:
    return {
        "resourceType": "QuestionnaireResponse",
        "id": id,
        "status": "completed",
        "questionnaire": questionnaire,
    }


RESOURCES = [
    observation("relative", reference="Patient/p1"),
    observation("own", reference=f"{BASE}/Patient/p1"),
    observation("versioned", reference="Patient/p1/_history/2"),
    observation("foreign", reference="http://other.example/fhir/Patient/p1"),
    observation("group", reference="Group/p1"),
    observation("longer", reference="Patient/p11"),
    observation("logical", identifier={"system": "urn:mrn", "value": "42"}),
    observation("typed", type="Patient", identifier={"value": "42"}),
    observation("urn", reference="urn:uuid:c757873d-ec9a-4326-a141-556f43239520"),
    {
        **observation("inside", reference="#p"),
        "contained": [{"resourceType": "Patient", "id": "p"}],
    },
    answers("q-any", "http://example.org/q"),
    answers("q-one", "http://example.org/q|1.0"),
    answers("q-other", "http://example.org/q2|1.0"),
    answers("q-relative", "Questionnaire/gcs|1"),
    {
        "resourceType": "DocumentReference",
        "id": "later",
        "relatesTo": [
            {"code": "appends", "target": {"reference": "DocumentReference/early"}},
            {"code": "replaces", "target": {"reference": "DocumentReference/other"}},
        ],
    },
]
TO_P1 = {"relative", "own", "versioned"}

CASES = [
    ("Observation?subject=Patient/p1", TO_P1),
    (f"Observation?subject={BASE}/Patient/p1", TO_P1),
    ("Observation?subject=http://other.example/fhir/Patient/p1", {"foreign"}),
    ("Observation?subject=p1", TO_P1 | {"group"}),
    ("Observation?subject:Patient=p1", TO_P1),
    ("Observation?subject:Group=p1", {"group"}),
    ("Observation?subject:Group=Group/p1", {"group"}),
    ("Observation?subject:Device=Patient/p1", set()),
    ("Observation?subject=Patient/p1/_history/2", {"versioned"}),
    ("Observation?subject=Patient/p1/_history/3", set()),
    ("Observation?subject=Patient/p", set()),
    ("Observation?subject=patient/p1", None),
    ("Observation?patient=p1", TO_P1),
    ("Observation?patient=Group/p1", set()),
    ("Observation?patient:missing=true", {"group", "logical", "urn"}),
    ("Observation?subject:identifier=urn:mrn|42", {"logical"}),
    ("Observation?subject:identifier=42", {"logical", "typed"}),
    ("Observation?subject:identifier=|42", {"typed"}),
    ("Observation?subject:identifier=urn:mrn|", {"logical"}),
    ("Observation?subject:identifier=urn:mrn|4", set()),
    (
        "Observation?subject=urn:uuid:c757873d-ec9a-4326-a141-556f43239520",
        {"urn"},
    ),
    ("Observation?subject=Patient/p11,Group/p1", {"longer", "group"}),
    ("QuestionnaireResponse?questionnaire=http://example.org/q", {"q-any", "q-one"}),
    ("QuestionnaireResponse?questionnaire=http://example.org/q|1.0", {"q-one"}),
    ("QuestionnaireResponse?questionnaire=http://example.org/q|2.0", set()),
    ("QuestionnaireResponse?questionnaire=Questionnaire/gcs", {"q-relative"}),
    ("QuestionnaireResponse?questionnaire=Questionnaire/gcs|1", {"q-relative"}),
    ("QuestionnaireResponse?questionnaire=Questionnaire/gcs|2", set()),
    ("QuestionnaireResponse?questionnaire=gcs", {"q-relative"}),
    ("QuestionnaireResponse?questionnaire=Questionnaire/gc", set()),
    ("DocumentReference?relationship=DocumentReference/early$appends", {"later"}),
    ("DocumentReference?relationship=DocumentReference/early$replaces", set()),
    ("DocumentReference?relationship:missing=true", set()),
]


@pytest.mark.parametrize(("query", "expected"), CASES)
async def test_references_are_found(query: str, expected: set[str] | None, tmp_path: Path) -> None:
    if expected is None:
        with pytest.raises(FhirError, match="subject"):
            plan(query)
        return
    async with ward(tmp_path, RESOURCES) as searched:
        assert await searched.ids(query) == expected


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("Observation?subject:Practitioner=x", "does not refer to Practitioner"),
        ("Observation?subject:Patiant=x", "did you mean Patient"),
        ("Observation?subject=a b", "not an id"),
        ("Observation?subject:Patient=not/a/reference", "reference to a Patient"),
        ("Observation?subject:above=x", "other resources cannot be looked up here"),
        ("QuestionnaireResponse?questionnaire=http://x|1|2", "canonical"),
    ],
)
def test_what_cannot_be_answered_is_refused_by_name(query: str, words: str) -> None:
    with pytest.raises(FhirError, match=words) as refusal:
        plan(query)
    assert refusal.value.status == 400


async def test_resolve_is_judged_by_the_reference_alone(tmp_path: Path) -> None:
    subjects = [
        observation("text", reference="Patient/nobody"),
        observation("type", type="Patient", display="x"),
        observation("other", type="Group", display="x"),
    ]
    async with ward(tmp_path, [*subjects, RESOURCES[9]]) as searched:
        found = await searched.ids("Observation?patient:missing=false")
        assert found == {"text", "type", "inside"}
