"""Invariants: each is broken once, and kept by its nearest neighbour."""

from typing import Any

import pytest

from fhir_server.validation.validate import Validator

CODE = {"text": "x"}
PULSE = {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]}
SUBJECT = {"subject": {"reference": "Patient/1"}}
CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
VERIFIED = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
ALLERGY = "http://terminology.hl7.org/CodeSystem/allergyintolerance-"


def concept(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def quantity(value: float, unit: str = "kg") -> dict[str, Any]:
    return {"value": value, "unit": unit}


FRAMES: dict[str, dict[str, Any]] = {
    "AllergyIntolerance": {"patient": {"reference": "Patient/1"}},
    "Appointment": {"status": "booked", "participant": [{"status": "accepted", "type": [CODE]}]},
    "Condition": SUBJECT,
    "Group": {"type": "person"},
    "List": {"status": "current", "mode": "working"},
    "Observation": {"status": "final", "code": PULSE},
    "Organization": {"name": "O"},
    "Patient": {},
    "Questionnaire": {"status": "draft"},
    "QuestionnaireResponse": {"status": "completed"},
    "ServiceRequest": {"status": "active", "intent": "order", **SUBJECT},
}

# (key, type, elements that break it, elements that keep it)
CASES: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    (
        "obs-6",
        "Observation",
        {"dataAbsentReason": CODE, "valueInteger": 1},
        {"dataAbsentReason": CODE},
    ),
    (
        "obs-7",
        "Observation",
        {"valueInteger": 1, "component": [{"code": PULSE, "valueInteger": 1}]},
        {"valueInteger": 1, "component": [{"code": CODE, "valueInteger": 1}]},
    ),
    (
        "obs-3",
        "Observation",
        {"referenceRange": [{"type": CODE}]},
        {"referenceRange": [{"text": "x"}]},
    ),
    ("pat-1", "Patient", {"contact": [{"gender": "male"}]}, {"contact": [{"name": {"text": "x"}}]}),
    (
        "per-1",
        "Observation",
        {"effectivePeriod": {"start": "2012-03-02", "end": "2012-03-01"}},
        {"effectivePeriod": {"start": "2012-03-02", "end": "2012-03"}},
    ),
    (
        "qty-3",
        "Observation",
        {"valueQuantity": {"code": "kg"}},
        {"valueQuantity": {"code": "kg", "system": "u:x"}},
    ),
    (
        "rng-2",
        "Observation",
        {"valueRange": {"low": quantity(2), "high": quantity(1)}},
        {"valueRange": {"low": quantity(2), "high": quantity(1, "t")}},
    ),
    (
        "rat-1",
        "Observation",
        {"valueRatio": {"numerator": quantity(1)}},
        {"valueRatio": {"numerator": quantity(1), "denominator": quantity(2)}},
    ),
    (
        "sqty-1",
        "Observation",
        {"valueRange": {"low": {"value": 1, "comparator": "<"}}},
        {"valueQuantity": {"value": 1, "comparator": "<"}},
    ),
    (
        "att-1",
        "Patient",
        {"photo": [{"data": "AAAA"}]},
        {"photo": [{"data": "AAAA", "contentType": "image/png"}]},
    ),
    (
        "cpt-2",
        "Patient",
        {"telecom": [{"value": "1"}]},
        {"telecom": [{"value": "1", "system": "phone"}]},
    ),
    ("org-1", "Organization", {"name": None, "active": True}, {}),
    (
        "org-2",
        "Organization",
        {"address": [{"use": "home", "text": "x"}]},
        {"address": [{"use": "work", "text": "x"}]},
    ),
    (
        "org-3",
        "Organization",
        {"telecom": [{"use": "home", "rank": 1}]},
        {"telecom": [{"use": "work", "rank": 1}]},
    ),
    (
        "con-4",
        "Condition",
        {"abatementString": "x", "clinicalStatus": concept(CLINICAL, "active")},
        {"abatementString": "x", "clinicalStatus": concept(CLINICAL, "resolved")},
    ),
    (
        "con-5",
        "Condition",
        {
            "verificationStatus": concept(VERIFIED, "entered-in-error"),
            "clinicalStatus": concept(CLINICAL, "active"),
        },
        {"verificationStatus": concept(VERIFIED, "entered-in-error")},
    ),
    ("con-1", "Condition", {"stage": [{"type": CODE}]}, {"stage": [{"summary": CODE}]}),
    (
        "ait-1",
        "AllergyIntolerance",
        {},
        {"clinicalStatus": concept(ALLERGY + "clinical", "active")},
    ),
    (
        "ait-2",
        "AllergyIntolerance",
        {
            "clinicalStatus": concept(ALLERGY + "clinical", "active"),
            "verificationStatus": concept(ALLERGY + "verification", "entered-in-error"),
        },
        {"verificationStatus": concept(ALLERGY + "verification", "entered-in-error")},
    ),
    (
        "app-2",
        "Appointment",
        {"status": "proposed", "start": "2020-01-01T10:00:00Z"},
        {"status": "proposed"},
    ),
    ("app-3", "Appointment", {}, {"start": "2020-01-01T10:00:00Z", "end": "2020-01-01T11:00:00Z"}),
    (
        "app-4",
        "Appointment",
        {"status": "proposed", "cancelationReason": CODE},
        {"status": "cancelled", "cancelationReason": CODE},
    ),
    (
        "grp-1",
        "Group",
        {"actual": False, "member": [{"entity": {"display": "x"}}]},
        {"actual": True, "member": [{"entity": {"display": "x"}}]},
    ),
    (
        "lst-1",
        "List",
        {"emptyReason": CODE, "entry": [{"item": {"display": "x"}}]},
        {"emptyReason": CODE},
    ),
    ("prr-1", "ServiceRequest", {"orderDetail": [CODE]}, {"orderDetail": [CODE], "code": CODE}),
    (
        "que-2",
        "Questionnaire",
        {"item": [{"linkId": "1", "type": "group", "item": [{"linkId": "1", "type": "string"}]}]},
        {"item": [{"linkId": "1", "type": "group", "item": [{"linkId": "2", "type": "string"}]}]},
    ),
    (
        "que-1",
        "Questionnaire",
        {"item": [{"linkId": "1", "type": "group"}]},
        {"item": [{"linkId": "1", "type": "display"}]},
    ),
    (
        "qrs-1",
        "QuestionnaireResponse",
        {"item": [{"linkId": "1", "answer": [{"valueInteger": 1}], "item": [{"linkId": "2"}]}]},
        {"item": [{"linkId": "1", "answer": [{"valueInteger": 1, "item": [{"linkId": "2"}]}]}]},
    ),
]


def resource(type_name: str, elements: dict[str, Any]) -> dict[str, Any]:
    whole = {"resourceType": type_name, **FRAMES[type_name], **elements}
    return {key: value for key, value in whole.items() if value is not None}


@pytest.mark.parametrize(
    ("key", "type_name", "broken", "kept"), CASES, ids=[each[0] for each in CASES]
)
def test_an_invariant_is_told_when_broken_and_silent_when_kept(key, type_name, broken, kept):
    issues = Validator().issues(resource(type_name, broken))
    assert any(f"({key})" in each.diagnostics for each in issues)
    assert all(each.code == "invariant" for each in issues)
    assert Validator().issues(resource(type_name, kept)) == ()
