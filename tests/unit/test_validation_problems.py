"""Wrong resources: each is refused, with the FHIRPath of the problem and what was expected."""

from typing import Any

import pytest

from fhir_server.validation.report import MAX_ISSUES
from fhir_server.validation.validate import Validator

DIV = '<div xmlns="http://www.w3.org/1999/xhtml">{}</div>'
LOINC = {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]}


def patient(**elements: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", **elements}


def observation(**elements: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "status": "final", "code": LOINC, **elements}


def narrative(content: str) -> dict[str, Any]:
    return patient(text={"status": "generated", "div": DIV.format(content)})


def contained(**elements: Any) -> dict[str, Any]:
    return patient(
        contained=[{"resourceType": "Organization", "id": "o", "name": "O", **elements}],
        managingOrganization={"reference": "#o"},
    )


def condition(**elements: Any) -> dict[str, Any]:
    return {"resourceType": "Condition", "subject": {"reference": "Patient/1"}, **elements}


CONDITION_STATUS = "http://terminology.hl7.org/CodeSystem/condition-clinical"

# (what is wrong, the resource, the expression of the first error, words of its diagnostics)
WRONG: list[tuple[str, Any, str, str]] = [
    # structure
    ("no resourceType", {"id": "1"}, "", "resourceType is missing"),
    ("unknown type", {"resourceType": "Patiant"}, "", "did you mean Patient?"),
    ("abstract type", {"resourceType": "DomainResource"}, "", "not a resource type"),
    ("R4B type", {"resourceType": "Ingredient"}, "", "not a resource type"),
    ("type is a number", {"resourceType": 5}, "", "5 is not a resource type"),
    ("not an object", [1], "", "not an array"),
    ("unknown element", patient(nmae="x"), "Patient.nmae", "did you mean name"),
    ("nested unknown", patient(name=[{"nick": "x"}]), "Patient.name[0].nick", "HumanName has no"),
    ("odd key", patient(**{"a-b": 1}), "Patient.`a-b`", "no element"),
    ("choice untyped", observation(value="x"), "Observation.value", "as in valueQuantity"),
    (
        "choice of wrong type",
        observation(valueAddress={}),
        "Observation.valueAddress",
        "no element",
    ),
    ("_x of complex", patient(_name=[{"id": "a"}]), "Patient._name", "no element"),
    ("string for object", patient(maritalStatus="M"), "Patient.maritalStatus", "not a string"),
    ("array for object", patient(maritalStatus=[{"text": "M"}]), "Patient.maritalStatus", "array"),
    ("object for array", patient(name={"text": "x"}), "Patient.name", "array in JSON"),
    ("array for value", patient(birthDate=["2000"]), "Patient.birthDate", "not an array"),
    ("value for array", patient(name=[{"given": "A"}]), "Patient.name[0].given", "array in JSON"),
    ("null", patient(birthDate=None), "Patient.birthDate", "null"),
    ("null beside", patient(birthDate="2000", _birthDate=None), "Patient.birthDate", "null"),
    ("null in array", patient(name=[None]), "Patient.name[0]", "not null"),
    ("empty array", patient(name=[]), "Patient.name", "must not be empty"),
    ("empty object", patient(name=[{}]), "Patient.name[0]", "ele-1"),
    ("only an id", patient(name=[{"id": "a"}]), "Patient.name[0]", "ele-1"),
    ("empty sibling", patient(_birthDate={}), "Patient.birthDate", "ele-1"),
    ("two values", observation(valueString="a", valueInteger=1), "Observation.value", "only one"),
    (
        "two values, one beside",
        observation(
            valueString="a", _valueInteger={"extension": [{"url": "u:x", "valueCode": "y"}]}
        ),
        "Observation.value",
        "only one",
    ),
    # repeating primitives and their siblings
    ("null alone", patient(name=[{"given": ["A", None]}]), "Patient.name[0].given[1]", "null"),
    (
        "null on both sides",
        patient(name=[{"given": ["A", None], "_given": [{"id": "a"}, None]}]),
        "Patient.name[0].given[0]",
        "ele-1",
    ),
    (
        "arrays of different length",
        patient(name=[{"given": ["A"], "_given": [None, {"extension": [{"url": "u:x"}]}]}]),
        "Patient.name[0].given",
        "equally long: 1 and 2",
    ),
    ("empty given", patient(name=[{"given": []}]), "Patient.name[0].given", "not be empty"),
    # cardinality
    ("no status", {"resourceType": "Observation", "code": LOINC}, "Observation.status", "required"),
    ("no code", {"resourceType": "Observation", "status": "final"}, "Observation.code", "required"),
    (
        "nested required",
        observation(component=[{"valueString": "x"}]),
        "Observation.component[0].code",
        "required in Observation.component",
    ),
    (
        "required choice",
        {
            "resourceType": "MedicationRequest",
            "status": "active",
            "intent": "order",
            "subject": {"reference": "Patient/1"},
        },
        "MedicationRequest.medication",
        "required",
    ),
    # primitive types
    ("month 13", patient(birthDate="2024-13-01"), "Patient.birthDate", "is not a date"),
    ("30 February", patient(birthDate="2023-02-30"), "Patient.birthDate", "that exists"),
    ("29 February", patient(birthDate="2023-02-29"), "Patient.birthDate", "that exists"),
    ("29 February 1900", patient(birthDate="1900-02-29"), "Patient.birthDate", "that exists"),
    ("day first", patient(birthDate="01/02/2000"), "Patient.birthDate", "YYYY-MM-DD"),
    ("time in a date", patient(birthDate="2000-01-01T10:00:00Z"), "Patient.birthDate", "date"),
    ("number for date", patient(birthDate=2000), "Patient.birthDate", "2000 is not a date"),
    (
        "dateTime without zone",
        observation(effectiveDateTime="2020-01-01T10:00:00"),
        "Observation.effective",
        "with zone",
    ),
    ("hour 24", observation(issued="2020-01-01T24:00:00Z"), "Observation.issued", "instant"),
    ("instant without time", observation(issued="2020-01-01"), "Observation.issued", "instant"),
    ("time 25", observation(valueTime="25:00:00"), "Observation.value", "time of day"),
    ("text boolean", patient(active="true"), "Patient.active", "JSON boolean"),
    ("number boolean", patient(active=1), "Patient.active", "JSON boolean"),
    ("text integer", observation(valueInteger="5"), "Observation.value", "integer"),
    ("boolean integer", observation(valueInteger=True), "Observation.value", "integer"),
    ("fraction integer", observation(valueInteger=1.5), "Observation.value", "integer"),
    ("1.0 as integer", observation(valueInteger=1.0), "Observation.value", "integer"),
    ("big integer", observation(valueInteger=2**31), "Observation.value", "32-bit"),
    ("positiveInt 0", patient(telecom=[{"rank": 0}]), "Patient.telecom[0].rank", "from 1 up"),
    (
        "text decimal",
        observation(valueQuantity={"value": "6.3"}),
        "Observation.value.value",
        "number",
    ),
    ("empty string", patient(name=[{"family": ""}]), "Patient.name[0].family", "not blank"),
    ("blank string", patient(name=[{"family": " \n"}]), "Patient.name[0].family", "not blank"),
    ("control", patient(name=[{"family": "a\x00b"}]), "Patient.name[0].family", "control"),
    ("long string", patient(name=[{"family": "x" * 1048577}]), "Patient.name[0].family", "1 MB"),
    ("id with space", patient(id="a b"), "Patient.id", "1 to 64"),
    ("id too long", patient(id="a" * 65), "Patient.id", "1 to 64"),
    ("id with umlaut", patient(id="ä"), "Patient.id", "1 to 64"),
    ("id is a number", patient(id=1), "Patient.id", "1 to 64"),
    (
        "element id with space",
        patient(name=[{"id": "a b", "text": "x"}]),
        "Patient.name[0].id",
        "id",
    ),
    (
        "what stands beside an attribute",
        patient(extension=[{"url": "u:x", "_url": {"id": "a"}, "valueCode": "x"}]),
        "Patient.extension[0]._url",
        "no element",
    ),
    (
        "what stands beside a narrative",
        patient(text={"status": "empty", "_div": {"id": "a"}}),
        "Patient.text._div",
        "no element",
    ),
    ("uri with space", patient(implicitRules="a b"), "Patient.implicitRules", "URI"),
    ("code with two spaces", patient(language="a  b"), "Patient.language", "code"),
    ("code with end space", patient(language="a "), "Patient.language", "code"),
    (
        "bad base64",
        {"resourceType": "Binary", "contentType": "a/b", "data": "AAA"},
        "Binary.data",
        "base64",
    ),
    (
        "bad oid",
        patient(extension=[{"url": "u:x", "valueOid": "urn:oid:3.1"}]),
        "Patient.extension[0].value",
        "OID",
    ),
    (
        "bad uuid",
        patient(extension=[{"url": "u:x", "valueUuid": "urn:uuid:1"}]),
        "Patient.extension[0].value",
        "UUID",
    ),
    # required bindings
    ("gender", patient(gender="man"), "Patient.gender", "allowed are female, male"),
    ("near code", observation(status="finall"), "Observation.status", "did you mean final"),
    ("nested code", patient(name=[{"use": "nick"}]), "Patient.name[0].use", "name-use"),
    (
        "bound concept",
        condition(clinicalStatus={"coding": [{"system": "http://x.org", "code": "active"}]}),
        "Condition.clinicalStatus",
        "one coding must be from",
    ),
    (
        "bound concept without coding",
        condition(clinicalStatus={"text": "x"}),
        "Condition.clinicalStatus",
        "coding",
    ),
    # extensions
    ("no url", patient(extension=[{"valueCode": "x"}]), "Patient.extension[0].url", "required"),
    ("no value", patient(extension=[{"url": "u:x"}]), "Patient.extension[0]", "ext-1"),
    (
        "value and nested",
        patient(
            extension=[
                {"url": "u:x", "valueCode": "x", "extension": [{"url": "y", "valueCode": "x"}]}
            ]
        ),
        "Patient.extension[0]",
        "ext-1",
    ),
    (
        "two extension values",
        patient(extension=[{"url": "u:x", "valueCode": "x", "valueString": "x"}]),
        "Patient.extension[0].value",
        "only one",
    ),
    (
        "extension of a primitive",
        patient(_birthDate={"extension": [{"url": "u:x", "valueCode": ""}]}),
        "Patient.birthDate.extension[0].value",
        "code",
    ),
    # references
    (
        "words",
        observation(subject={"reference": "Patient 1"}),
        "Observation.subject.reference",
        "Type/id",
    ),
    (
        "unknown target",
        observation(subject={"reference": "Thing/1"}),
        "Observation.subject.reference",
        "'Thing'",
    ),
    (
        "dangling",
        observation(subject={"reference": "#p"}),
        "Observation.subject.reference",
        "ref-1",
    ),
    # contained resources
    (
        "contained type",
        contained(resourceType="Org"),
        "Patient.contained[0]",
        "not a resource type",
    ),
    (
        "contained without id",
        patient(contained=[{"resourceType": "Patient"}]),
        "Patient.contained[0].id",
        "id",
    ),
    ("bad contained", contained(name=5), "Patient.contained[0].name", "5 is not"),
    (
        "nested contained",
        contained(contained=[{"resourceType": "Patient", "id": "p"}]),
        "Patient.contained[0].contained",
        "dom-2",
    ),
    (
        "unreferenced",
        patient(contained=[{"resourceType": "Patient", "id": "p"}]),
        "Patient.contained[0]",
        "dom-3",
    ),
    (
        "contained version",
        contained(meta={"versionId": "1"}),
        "Patient.contained[0].meta.versionId",
        "dom-4",
    ),
    (
        "contained label",
        contained(meta={"security": [{"code": "R"}]}),
        "Patient.contained[0].meta.security",
        "dom-5",
    ),
    # narrative
    ("script", narrative("<script>x</script>"), "Patient.text.div", "<script> is not allowed"),
    ("handler", narrative('<p onclick="x()">x</p>'), "Patient.text.div", "'onclick'"),
    ("javascript", narrative('<a href="javascript:x()">x</a>'), "Patient.text.div", "javascript"),
    (
        "loading style",
        narrative('<p style="background:url(https://x.org/y)">x</p>'),
        "Patient.text.div",
        "style",
    ),
    ("HTML entity", narrative("a&nbsp;b"), "Patient.text.div", "no XML entity"),
    ("not closed", narrative("<br>"), "Patient.text.div", "well-formed"),
    (
        "no namespace",
        patient(text={"status": "generated", "div": "<div>x</div>"}),
        "Patient.text.div",
        "one <div>",
    ),
    (
        "doctype",
        patient(text={"status": "generated", "div": "<!DOCTYPE div>" + DIV.format("x")}),
        "Patient.text.div",
        "document type",
    ),
    # resources inside others
    (
        "entry",
        {
            "resourceType": "Bundle",
            "type": "collection",
            "entry": [{"resource": patient(active="no")}],
        },
        "Bundle.entry[0].resource.active",
        "boolean",
    ),
    (
        "parameter",
        {
            "resourceType": "Parameters",
            "parameter": [{"name": "r", "resource": patient(active="no")}],
        },
        "Parameters.parameter[0].resource.active",
        "boolean",
    ),
]


@pytest.mark.parametrize(
    ("resource", "place", "words"), [each[1:] for each in WRONG], ids=[each[0] for each in WRONG]
)
def test_a_wrong_resource_is_refused_with_place_and_reason(resource: Any, place: str, words: str):
    issues = Validator().issues(resource)
    errors = [each for each in issues if each.severity == "error"]
    assert errors, "accepted"
    assert errors[0].expression == ((place,) if place else ())
    assert words in errors[0].diagnostics
    assert not Validator().is_valid(resource)


def test_every_problem_is_told_in_the_order_of_the_text():
    issues = Validator().issues(
        patient(
            active="yes",
            name=[{"use": "nick"}, {"given": [""]}],
            birthDate="2023-02-30",
            contact=[{"gender": "x"}],
            colour="blue",
        )
    )
    assert [each.expression[0] for each in issues] == [
        "Patient.active",
        "Patient.name[0].use",
        "Patient.name[1].given[0]",
        "Patient.birthDate",
        "Patient.contact[0].gender",
        "Patient.colour",
    ]


def test_a_hostile_number_of_problems_is_cut_short_and_said_so():
    issues = Validator().issues(patient(name=[{"x" * 30: 1}] * 5000))
    assert len(issues) == MAX_ISSUES + 1
    assert issues[-1].severity == "information"
    assert f"More than {MAX_ISSUES}" in issues[-1].diagnostics


def test_long_values_are_cut_in_the_diagnostics():
    [issue] = Validator().issues(patient(birthDate="9" * 100_000))
    assert len(issue.diagnostics) < 300
