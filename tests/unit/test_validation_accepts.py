"""Odd but valid resources, warnings, and how the two roads share the work."""

from decimal import Decimal
from typing import Any

import pytest

from fhir_server.validation.validate import Validator, is_accepted_early

DIV = '<div xmlns="http://www.w3.org/1999/xhtml">{}</div>'
EXTENSION = {"extension": [{"url": "http://x.org/e", "valueString": "y"}]}


def patient(**elements: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", **elements}


VALID: dict[str, dict[str, Any]] = {
    "nothing but a type": patient(),
    "null beside _given": patient(name=[{"given": [None, "B"], "_given": [EXTENSION, None]}]),
    "_given alone": patient(name=[{"_given": [EXTENSION]}]),
    "value replaced by an extension": patient(_birthDate=EXTENSION),
    "id on a primitive": patient(birthDate="2000", _birthDate={"id": "a", **EXTENSION}),
    "required value replaced": {
        "resourceType": "Observation",
        "_status": EXTENSION,
        "code": {"text": "x"},
    },
    "leap day": patient(birthDate="2000-02-29"),
    "leap second": patient(meta={"lastUpdated": "2016-12-31T23:59:60Z"}),
    "meta in an extension": patient(extension=[{"url": "u:x", "valueMeta": {"versionId": "1"}}]),
    "nested extensions": patient(extension=[{"url": "u:x", **EXTENSION}]),
    "contained and referred to": patient(
        contained=[{"resourceType": "Organization", "id": "o", "name": "O"}],
        managingOrganization={"reference": "#o"},
    ),
    "contained refers to its container": patient(
        contained=[
            {
                "resourceType": "Observation",
                "id": "o",
                "status": "final",
                "code": {"text": "x"},
                "subject": {"reference": "#"},
            }
        ]
    ),
    "logical reference": patient(managingOrganization={"identifier": {"value": "1"}}),
    "absolute reference": patient(managingOrganization={"reference": "https://x.org/any/thing"}),
    "image in the narrative": patient(
        text={"status": "generated", "div": DIV.format('<img src="data:image/png;base64,AA"/>')}
    ),
    "rich narrative": patient(
        text={
            "status": "generated",
            "div": DIV.format(
                '<p style="color: red">a <b>b</b> &lt; <a href="Patient/1">c</a></p>'
            ),
        }
    ),
    "emoji": patient(name=[{"text": "😀"}]),
    "wrapped base64": {
        "resourceType": "Binary",
        "contentType": "a/b",
        "data": "AAAA\r\nAAA= ",
    },
    "long decimal": {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "valueQuantity": {"value": Decimal("0.1234567890123456789")},
    },
    "bundle": {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"resource": patient(active=True)}],
    },
}


@pytest.mark.parametrize("resource", VALID.values(), ids=VALID.keys())
def test_an_odd_but_valid_resource_is_accepted(resource: dict[str, Any]):
    assert Validator().issues(resource) == ()
    assert Validator().is_valid(resource)


def test_a_reference_outside_the_target_types_is_a_warning():
    odd = patient(managingOrganization={"reference": "Patient/2"})
    [issue] = Validator().issues(odd)
    assert issue.severity == "warning"
    assert issue.expression == ("Patient.managingOrganization.reference",)
    assert "allows Organization" in issue.diagnostics
    assert Validator().is_valid(odd)


def test_a_reference_that_contradicts_its_type_is_a_warning():
    odd = patient(managingOrganization={"reference": "Organization/2", "type": "Group"})
    [issue] = Validator().issues(odd)
    assert (issue.severity, issue.expression) == ("warning", ("Patient.managingOrganization.type",))


def test_a_narrative_that_shows_nothing_is_a_warning():
    [issue] = Validator().issues(patient(text={"status": "empty", "div": DIV.format(" ")}))
    assert (issue.severity, issue.expression) == ("warning", ("Patient.text.div",))


def test_ordinary_resources_take_the_fast_road():
    ordinary = patient(
        id="1",
        meta={"profile": ["http://x.org/p"]},
        text={"status": "generated", "div": DIV.format("x")},
        extension=[{"url": "http://x.org/e", "valueCoding": {"code": "y"}}],
        identifier=[{"system": "urn:oid:1.2.3", "value": "1"}],
        name=[{"family": "A", "given": ["B", "C"]}],
        generalPractitioner=[{"reference": "Practitioner/1", "display": "D"}],
        birthDate="2000-02-29",
    )
    assert is_accepted_early(ordinary)
    assert is_accepted_early(VALID["bundle"])
    assert is_accepted_early(VALID["contained and referred to"])
