"""FHIRPath over JSON: what R4's own expressions and FHIRPath Patch rely on."""

import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from fhir_server.fhir import codec
from fhir_server.fhir.fhirpath import Node, compiled

NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
PATIENT = codec.parse(
    b"""{"resourceType": "Patient", "id": "1", "active": true,
    "name": [{"family": "Ng", "given": ["Ann", "Bo"], "_given": [null, {"extension":
    [{"url": "http://e/x", "valueString": "1"}, {"url": "http://e/x", "valueString": "2"}]}]},
    {"family": "Chalmers"}],
    "deceasedDateTime": "2020", "meta": {"tag": [{"code": "t"}]},
    "contained": [{"resourceType": "Organization", "id": "o", "name": "Hill"}],
    "generalPractitioner": [{"reference": "#o"}, {"reference": "Practitioner/2"},
    {"reference": "urn:uuid:1", "type": "Practitioner"}, {"display": "somebody"}]}"""
)
OBSERVATION = codec.parse(
    b"""{"resourceType": "Observation", "valueQuantity": {"value": 1.50, "code": "mg"},
    "component": [{"valueQuantity": {"value": 2}}, {"valueString": "x"},
    {"valueQuantity": {"value": 3}}]}"""
)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("Patient.name.given", ["Ann", "Bo"]),
        ("name.where(family = 'Ng').given.first()", ["Ann"]),
        ("Patient.name[1].family", ["Chalmers"]),
        ("Observation.status", []),
        ("Resource.meta.tag.code", ["t"]),
        ("Patient.deceased.as(dateTime)", ["2020"]),
        ("Patient.deceased as boolean", []),
        ("Patient.deceased.exists() and Patient.deceased != false", [True]),
        ("Patient.name.given.count()", [2]),
        ("Patient.name.given.extension('http://e/x').value", ["1", "2"]),
        ("Patient.name.given.where(hasExtension('http://e/x'))", ["Bo"]),
        ("Patient.name.given.hasValue()", [False]),
        ("Patient.name.family | Patient.name.family", ["Ng", "Chalmers"]),
        ("true.toString()", ["true"]),
        ("today()", ["2026-11-24"]),
        ("now()", ["2026-11-24T02:00:00.000+00:00"]),
        ("%resource.id", ["1"]),
        ("name.select(family & %own)", ["Ng!", "Chalmers!"]),
    ],
)
def test_an_expression_on_a_patient(expression: str, expected: list[object]) -> None:
    assert compiled(expression).values(PATIENT, {"own": "!"}, now=NOW) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("Patient.generalPractitioner.where(resolve() is Practitioner).reference",
         ["Practitioner/2", "urn:uuid:1"]),
        ("Patient.generalPractitioner.where(resolve() is Organization).reference", ["#o"]),
        ("Patient.generalPractitioner.resolve().name", ["Hill"]),
    ],
)  # fmt: skip
def test_a_reference_resolves_to_what_its_text_says(expression: str, expected: list[str]) -> None:
    assert compiled(expression).values(PATIENT) == expected


@pytest.mark.parametrize(
    "expression",
    ["Observation.component.value as Quantity", "Observation.component.value.ofType(Quantity)"],
)
def test_as_filters_lists(expression: str) -> None:
    found = compiled(expression).values(OBSERVATION)
    assert [each["value"] for each in found] == [2, 3]


def test_a_union_keeps_types_and_places() -> None:
    path = "(Observation.value as Quantity) | (Observation.component.value as string)"
    assert compiled(path).nodes(OBSERVATION) == [
        Node({"value": Decimal("1.50"), "code": "mg"}, "Quantity", "Observation.value"),
        Node("x", "string", "Observation.component[1].value"),
    ]


def test_decimals_keep_their_digits() -> None:
    assert str(compiled("Observation.value.value").values(OBSERVATION)[0]) == "1.50"


def test_an_element_is_the_very_object_of_the_resource() -> None:
    assert compiled("Patient.name[1]").values(PATIENT)[0] is PATIENT["name"][1]


@pytest.mark.parametrize("text", ["", "Patient.", "name.where(", "2 + 2 /* open", "a b", "'x"])
def test_what_is_no_fhirpath_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not FHIRPath"):
        compiled(text)


@pytest.mark.parametrize("text", ["name.nothing()", "name.first(1)", "'a' + 1", "now()", "%x"])
def test_what_cannot_be_evaluated_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        compiled(text).values(PATIENT)


def test_trace_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert compiled("Patient.name.family.trace('n')").values(PATIENT) == ["Ng", "Chalmers"]
    assert capsys.readouterr().out == ""


def test_the_engine_is_loaded_with_the_first_expression_alone() -> None:
    code = "import sys, fhir_server.fhir.fhirpath; print('fhirpathpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"False\n"
