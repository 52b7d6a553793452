"""The table of search parameters: complete, compiled, and honest about what can be searched."""

import pytest

from fhir_server.fhir.definitions import resource_types, table
from fhir_server.search.compiled import compiled
from fhir_server.search.paths import ExpressionError, arms
from fhir_server.search.registry import Parameter
from tests.search_ward import plan, registry

SAMPLES = {
    "id": "x",
    "number": "1",
    "date": "2020",
    "string": "x",
    "token": "x",
    "reference": "http://example.org/x",
    "quantity": "1",
    "uri": "http://example.org/x",
    "age": "3",
    "near": "1|2",
    "narrative": "x",
    "content": "x",
}
WITHOUT_VALUES = {"composite", "age", "narrative", "content"}
"""Kinds that have no datatype: made of other parameters, or about the whole resource."""


def every() -> list[Parameter]:
    return [each for type_ in sorted(resource_types()) for each in registry().searchable(type_)]


def test_the_table_holds_all_official_parameters() -> None:
    rows = table("search_parameters.json")
    assert len(rows) == 1400
    assert sum("expression" in row for row in rows) == 1384
    kinds = {row["type"] for row in rows}
    assert kinds == {
        "composite", "date", "number", "quantity", "reference", "special", "string", "token", "uri",
    }  # fmt: skip


def test_every_expression_leads_to_values() -> None:
    for parameter in every():
        shape = compiled(registry(), parameter.type).shapes[parameter.code]
        assert shape.datatypes or parameter.kind in WITHOUT_VALUES, parameter


def test_every_searchable_parameter_can_be_searched() -> None:
    for parameter in every():
        value = "$".join(SAMPLES[part.parameter.kind] for part in parameter.components)
        value = value or SAMPLES[parameter.kind]
        assert plan(f"{parameter.type}?{parameter.code}={value}").query.type == parameter.type


def test_only_what_has_no_meaning_of_its_own_is_left_out() -> None:
    left_out = {
        (each.type, each.code)
        for type_ in resource_types()
        for each in registry().parameters(type_).values()
        if not each.is_searchable
    }
    named = {pair for pair in left_out if pair[1] not in ("_filter", "_query")}
    words = {("AuditEvent", "_text"), ("AuditEvent", "_content")}
    assert named == {("Patient", "part-agree"), *words}


def test_types_that_are_no_domain_resources_have_the_parameters_of_resource_only() -> None:
    assert "_id" in registry().parameters("Binary")
    assert "_text" in registry().parameters("Patient")
    assert "_text" not in registry().parameters("Binary")
    assert registry().parameters("Nonsense") == {}


def test_reference_targets_are_those_of_the_elements_on_the_type() -> None:
    patient = registry().parameter("Observation", "patient")
    subject = registry().parameter("Observation", "subject")
    assert patient is not None
    assert patient.targets == ("Patient",)
    assert subject is not None
    assert set(subject.targets) == {"Patient", "Group", "Device", "Location"}


def test_includes_name_literal_references_only() -> None:
    assert "Observation:subject" in registry().includes("Observation")
    assert "QuestionnaireResponse:questionnaire" in registry().includes("QuestionnaireResponse")
    assert "Observation:patient" in registry().reverse_includes("Patient")
    assert "Observation:patient" not in registry().reverse_includes("Group")


@pytest.mark.parametrize(
    "expression",
    ["Patient.name.matches('x')", "Patient.name[1]", "Patient.name + 1", "Patient.", "(Patient.x"],
)
def test_expressions_beyond_the_known_constructs_are_refused(expression: str) -> None:
    with pytest.raises(ExpressionError):
        arms(expression)
