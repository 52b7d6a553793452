"""R4 Search, "_filter Parameter": the grammar, the operators, paths and filters in brackets."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fhir_server.fhir.outcome import FhirError
from fhir_server.interactions.codes import with_codes
from fhir_server.search.plan import plan_search
from tests.fhir_world import World, fhir_world, text_of
from tests.search_ward import Ward, fill, plan, scope, ward
from tests.stores import mongodb_place

ANIMALS = "http://example.org/animals"
LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"


def patient(id_: str, **other: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": id_, **other}


def observation(id_: str, **other: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": id_, "status": "final", **other}


def animal(code: str) -> dict[str, Any]:
    return {"coding": [{"system": ANIMALS, "code": code}]}


def measured(value: float, unit: str) -> dict[str, Any]:
    return {"value": value, "system": UCUM, "code": unit, "unit": unit}


RESOURCES = [
    patient("peter", name=[{"family": "Carpet", "given": ["Peter"]}], birthDate="2014-10-10",
            active=True, gender="male", identifier=[{"system": "urn:a", "value": "1"}],
            telecom=[{"system": "phone", "use": "home", "value": "12"}]),
    patient("petra", name=[{"family": "Petersen, Jr", "given": ["Petra"]}], birthDate="2014-10-09",
            active=False, gender="female", identifier=[{"system": "urn:b", "value": "2"}]),
    patient("ann", name=[{"family": 'O"Neil]', "given": ["Änn"]}], birthDate="2000",
            active=True, managingOrganization={"reference": "Organization/top"}),
    patient("bare", identifier=[{"value": "1"}]),
    {"resourceType": "Organization", "id": "top", "name": "Top Clinic", "active": True},
    {"resourceType": "ValueSet", "id": "dogs", "url": "http://example.org/dogs", "status": "active",
     "compose": {"include": [{"system": ANIMALS, "filter": [
         {"property": "concept", "op": "is-a", "value": "dog"}]}]}},
    {"resourceType": "CodeSystem", "id": "animals", "url": ANIMALS, "status": "active",
     "content": "complete", "concept": [
         {"code": "animal", "concept": [{"code": "dog", "concept": [{"code": "poodle"}]},
                                        {"code": "bird"}]}]},
    observation("poodle", code=animal("poodle"), subject={"reference": "Patient/peter"},
                valueQuantity=measured(5.4, "mg"),
                effectivePeriod={"start": "2020-02-01", "end": "2020-03-31"}),
    observation("dog", code=animal("dog"), subject={"reference": "Patient/petra"},
                valueQuantity=measured(6, "mg"), effectiveDateTime="2020-03-01T10:00:00Z"),
    observation("bird", code=animal("bird"), subject={"reference": "Patient/ann"},
                effectiveDateTime="2021"),
    observation("animal", code=animal("animal")),
    observation("loinc", code={"coding": [{"system": LOINC, "code": "1234-5"}]},
                effectivePeriod={"start": "2020-03-15"}),
    {"resourceType": "RiskAssessment", "id": "half", "status": "final",
     "prediction": [{"probabilityDecimal": 0.5}]},
    {"resourceType": "RiskAssessment", "id": "most", "status": "final",
     "prediction": [{"probabilityDecimal": 0.9}]},
]  # fmt: skip

CASES = [
    # strings
    ("Patient", 'name eq "peter"', "peter"),
    ("Patient", "family eq peter", ""),
    ("Patient", 'family ne "carpet"', "ann petra"),
    ("Patient", 'name co "PET"', "peter petra"),
    ("Patient", 'name co "arpe"', "peter"),
    ("Patient", "name sw pet", "peter petra"),
    ("Patient", "name sw eter", ""),
    ("Patient", "given gt peter", "petra"),
    ("Patient", "given ge peter", "peter petra"),
    ("Patient", "given lt peter", "ann"),
    ("Patient", "given le peter", "ann peter"),
    ("Patient", "given eq ann", "ann"),
    ("Patient", 'family eq "petersen, jr"', "petra"),
    ("Patient", "family eq petersen,", ""),
    ("Patient", r'family eq "o\"neil]"', "ann"),
    ("Patient", r'family eq "o\u0022neil]"', "ann"),
    ("Patient", "name pr true", "ann peter petra"),
    ("Patient", "name pr false", "bare"),
    # dates
    ("Patient", "birthdate eq 2014-10-10", "peter"),
    ("Patient", "birthdate ne 2014-10-10", "ann petra"),
    ("Patient", "birthdate ge 2014-10-10", "peter"),
    ("Patient", "birthdate gt 2014-10-10", ""),
    ("Patient", "birthdate lt 2014-10-10", "ann petra"),
    ("Patient", "birthdate le 2014-10-10", "ann peter petra"),
    ("Patient", "birthdate sa 2014-10-09", "peter"),
    ("Patient", "birthdate eb 2014-10-09", "ann"),
    ("Patient", "birthdate ap 2014-10-20", "peter petra"),
    ("Observation", "date po 2020-03", "dog loinc poodle"),
    ("Observation", "date po 2020-04", "loinc"),
    ("Observation", "date po 2020-02-01", "poodle"),
    ("Observation", "date po 2020-01", ""),
    ("Observation", "date co 2020-03-10", "poodle"),
    ("Observation", "date co 2020-02-01", "poodle"),
    ("Observation", "date co 2020-03-31", "loinc poodle"),
    ("Observation", "date co 2020-04-01", "loinc"),
    ("Observation", "date co 2021-05", "bird loinc"),
    ("Observation", "date co 2020", ""),
    # numbers and quantities
    ("RiskAssessment", "probability eq 0.5", "half"),
    ("RiskAssessment", "probability ne 0.5", "most"),
    ("RiskAssessment", "probability gt 0.5", "most"),
    ("RiskAssessment", "probability ge 0.5", "half most"),
    ("RiskAssessment", "probability lt 0.9", "half"),
    ("RiskAssessment", "probability le 0.9", "half most"),
    ("RiskAssessment", "probability ap 0.48", "half"),
    ("Observation", "value-quantity eq 5.4|ucum|mg", "poodle"),
    ("Observation", f"value-quantity eq 0.0054|{UCUM}|g", "poodle"),
    ("Observation", "value-quantity gt 5.4||mg", "dog"),
    ("Observation", "value-quantity ne 5.4", "dog"),
    ("Observation", "value-quantity eq 5.4|loinc|mg", ""),
    # tokens
    ("Observation", "code eq loinc|1234-5", "loinc"),
    ("Observation", f"code eq {LOINC}|1234-5", "loinc"),
    ("Observation", "code eq 1234-5", "loinc"),
    ("Observation", "code eq snomed|1234-5", ""),
    ("Observation", "code eq 1234", ""),
    ("Observation", "code ne loinc|1234-5", "animal bird dog poodle"),
    ("Observation", "code ne bird", "animal dog loinc poodle"),
    ("Patient", "identifier ne 1", "petra"),
    ("Patient", "identifier ne urn:a|1", "bare petra"),
    ("Patient", "telecom ne 12", ""),
    ("Patient", "telecom ne 13", "peter"),
    ("Patient", "active eq true", "ann peter"),
    ("Observation", f"code ss {ANIMALS}|dog", "dog poodle"),
    ("Observation", f"code sb {ANIMALS}|dog", "animal dog"),
    ("Observation", "code in http://example.org/dogs", "dog poodle"),
    ("Observation", "code in ValueSet/dogs", "dog poodle"),
    ("Observation", "code ni http://example.org/dogs", "animal bird loinc"),
    ("Patient", "_id eq ann", "ann"),
    ("Patient", "_id ne ann", "bare peter petra"),
    # references and uris
    ("Observation", "subject re Patient/peter", "poodle"),
    ("Observation", "subject re http://fhir.example/fhir/Patient/peter", "poodle"),
    ("Observation", "subject re Patient/pet", ""),
    ("Observation", "subject pr false", "animal loinc"),
    ("ValueSet", "url eq http://example.org/dogs", "dogs"),
    ("ValueSet", "url ne http://example.org/dogs", ""),
    ("ValueSet", "url ne http://example.org/dog", "dogs"),
    ("ValueSet", "url sw http://example.org/", "dogs"),
    ("ValueSet", "url sw example.org", ""),
    # logic, from left to right
    ("Patient", "given eq peter and birthdate ge 2014-10-10", "peter"),
    ("Patient", "given eq petra and birthdate ge 2014-10-10", ""),
    ("Patient", "given eq peter or given eq petra and active eq false", "petra"),
    ("Patient", "given eq peter or (given eq petra and active eq false)", "peter petra"),
    ("Patient", "active eq false and given eq peter or given eq ann", "ann"),
    ("Patient", "active eq false and (given eq peter or given eq ann)", ""),
    ("Patient", "not (active eq true)", "bare petra"),
    ("Patient", "not(not(active eq true))", "ann peter"),
    ("Patient", "not (active eq true) and name pr true", "petra"),
    ("Patient", "(((given eq ann)))or(given eq peter)", "ann peter"),
    # paths
    ("Observation", "subject.name co pet", "dog poodle"),
    ("Observation", "not (subject.name co pet)", "animal bird loinc"),
    ("Observation", "subject.name pr false", ""),
    ("Observation", "subject.organization.name sw top", "bird"),
    ("Observation", "subject.organization pr false", "dog poodle"),
    ("Observation", 'subject[name co "pet" and active eq true].birthdate gt 2000', "poodle"),
    ("Observation", 'subject[name co "pet" and active eq false].birthdate gt 2000', "dog"),
    ("Observation", "subject[not (active eq true)].gender eq female", "dog"),
    ("Observation", "subject[organization[active eq true].name sw t].name sw ann", "bird"),
    ("Observation", "subject[organization[active eq false].name sw t].name sw ann", ""),
]  # fmt: skip


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def filled(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ward]:
    async with ward(tmp_path_factory.mktemp("filter"), RESOURCES) as opened:
        yield opened


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("type_", "text", "ids"), CASES)
async def test_a_filter_finds_what_it_says(filled: Ward, type_: str, text: str, ids: str) -> None:
    ask = partial(plan_search, type_=type_, pairs=[("_filter", text)])
    query = (await with_codes(filled.store, scope(), ask)).query
    found = {stored.key.id for stored in (await filled.store.find(query)).matches}
    assert found == filled.shelf.matching(query)
    assert " ".join(sorted(found)) == ids


@pytest.mark.mongodb
async def test_mongodb_finds_the_same(mongodb_server: str) -> None:
    async with mongodb_place(mongodb_server) as place:
        store = await place.store()
        await fill(store, RESOURCES)
        found = []
        for type_, text, _ in CASES:
            ask = partial(plan_search, type_=type_, pairs=[("_filter", text)])
            query = (await with_codes(store, scope(), ask)).query
            matches = (await store.find(query)).matches
            found.append((type_, text, " ".join(sorted(each.key.id for each in matches))))
        assert found == CASES


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name", "column 5: expected white space after 'name', the filter ends"),
        ("name eq", "column 8: expected a value after 'eq'"),
        ("name is x", "column 6: expected an operator"),
        ("name EQ x", "column 6: expected an operator"),
        ("name eq x y", "column 11: expected 'and', 'or' or the end, found 'y'"),
        ("name eq x and", "column 14: expected the name of a search parameter, the filter ends"),
        ("and name eq x", "column 5: expected an operator"),
        ("(name eq x", "column 11: expected 'and', 'or' or ')', the filter ends"),
        ("name eq x)", "column 10: expected 'and', 'or' or the end, found ')'"),
        ("not name eq x", "column 5: expected an operator"),
        ('name eq "x', "column 9: the string is left open"),
        (r'name eq "x\q"', "column 11: a backslash that escapes nothing"),
        (r'name eq "x\u001f"', "column 9: the string has a character that no FHIR string has"),
        (r'name eq "x\ud800"', "column 9: the string has a character that no FHIR string has"),
        ('name eq "x"y', "column 12: expected white space after a string"),
        ('name eq ""', "column 9: the value is empty"),
        ("organization. name eq x", "column 15: expected the name of a search parameter"),
        ("organization:Organization.name eq x", "column 13: expected white space"),
        ("organization[name eq x] eq 1", "column 25: expected '.' and a name after a filter"),
        ("organization[name eq x.name eq 1", "column 29: expected 'and', 'or' or ']'"),
        ("name eq x and nam eq y", "column 15: 'nam' is not a search parameter of Patient"),
        ("organization.nam eq y", "column 1: 'nam' is not a search parameter of Organization"),
        ("organization[nam eq y].name eq x", "column 14: 'nam' is not a search parameter"),
        ("birthdate eq yesterday", "column 1: birthdate eq: "),
        ("birthdate eq gt2000", "column 1: birthdate eq: "),
        ("name ew x", "column 1: name ew: a string has no ew here; it has eq, ne, co, sw"),
        ("active gt true", "column 1: active gt: a token has no gt here"),
        ("organization eq Organization/1", "a reference has no eq here; it has re, pr"),
        ("name pr yes", "column 1: name pr takes true or false, not 'yes'"),
        ("name.family eq x", "only references can be chained"),
        ("telecom ne phone|12", "telecom ne: ne cannot tell here"),
        ("identifier ne urn:a|", "identifier ne: ne cannot tell here"),
        ("_filter eq x", "column 1: a filter has no _filter in it"),
        ("_text co bone", "column 1: _text co: a string has no co here; it has pr"),
        ("(" * 12 + "name eq x" + ")" * 12, "more than 10 filters inside each other"),
        (" or ".join(["name eq x"] * 101), "more than 100 tests"),
        ("link." * 6 + "name eq x", "more than 5 links in one path"),
        ("name eq " + "x" * 8000, "longer than 8000 characters"),
    ],
)
def test_what_has_no_meaning_is_refused_with_its_column(text: str, words: str) -> None:
    with pytest.raises(FhirError) as refusal:
        plan_search(scope(), "Patient", [("_filter", text)])
    assert refusal.value.status == 400
    assert str(refusal.value).startswith("400 _filter")
    assert words in str(refusal.value)


def test_paths_to_many_types_are_too_costly_together() -> None:
    text = " or ".join(["focus.subject.general-practitioner.name eq x"] * 90)
    with pytest.raises(FhirError, match="lead to more than 2000 tests") as refusal:
        plan_search(scope(), "Observation", [("_filter", text)])
    assert refusal.value.issues[0].code == "too-costly"


def test_a_value_set_that_is_not_known_is_named() -> None:
    with pytest.raises(FhirError, match="_filter, column 1: gender in: "):
        plan("Patient?_filter=gender in http://example.org/none")


async def _patients(world: World, query: str, **headers: str) -> list[str]:
    response = await world.get(f"/Patient?{query}", **headers)
    assert response.status_code == 200, response.text
    found = [each["resource"] for each in response.json().get("entry", ())]
    return sorted(each["id"] for each in found if each["resourceType"] == "Patient")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with fhir_world(tmp_path) as running:
        for each in RESOURCES[:5]:
            assert (await running.put(f"/{each['resourceType']}/{each['id']}", each)).is_success
        yield running


async def test_filters_and_other_criteria_must_all_pass(world: World) -> None:
    assert await _patients(world, "_filter=name co pet&_filter=active eq true") == ["peter"]
    assert await _patients(world, "_filter=name co pet&gender=female") == ["petra"]
    assert await _patients(world, "_filter=name co pet&_sort=-birthdate&_count=1") == ["peter"]


async def test_a_filter_over_several_types(world: World) -> None:
    named = await world.get("?_type=Patient,Organization&_filter=active eq true and name pr true")
    ids = sorted(each["resource"]["id"] for each in named.json()["entry"])
    assert ids == ["ann", "peter", "top"]
    of_all = await world.get("?_filter=_id eq top or _id eq ann")
    assert [each["resource"]["id"] for each in of_all.json()["entry"]] == ["top", "ann"]


async def test_lenient_handling_leaves_a_bad_filter_out_and_says_so(world: World) -> None:
    response = await world.get("/Patient?gender=male&_filter=nam eq x", prefer="handling=lenient")
    assert "ignored _filter: _filter, column 1" in response.text
    assert await _patients(world, "gender=male&_filter=nam eq x", prefer="handling=lenient") == [
        "peter"
    ]
    strict = await world.get("/Patient?gender=male&_filter=nam eq x")
    assert strict.status_code == 400
    assert "column 1" in text_of(strict)


async def test_a_filter_has_no_modifier(world: World) -> None:
    response = await world.get("/Patient?_filter:not=name eq x")
    assert response.status_code == 400
    assert "_filter has no modifiers" in text_of(response)


async def test_a_filter_is_a_condition(world: World) -> None:
    headers = {"if_none_exist": '_filter=family eq "carpet" and given eq peter'}
    again = await world.post("/Patient", RESOURCES[0], **headers)
    assert again.status_code == 200
    assert again.json()["id"] == "peter"
