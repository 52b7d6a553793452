"""R4 Search, "token": `:in`, `:not-in`, `:above`, `:below` by value sets and code systems."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.fhir_world import BASE, World, fhir_world, text_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANIMALS = "http://example.org/animals"
SETS = "http://example.org/sets"
LOINC = "http://loinc.org"


def concept(code: str, *children: dict[str, Any], **properties: Any) -> dict[str, Any]:
    given = [{"code": name, **value} for name, value in properties.items()]
    return {
        "code": code,
        **({"concept": list(children)} if children else {}),
        **({"property": given} if given else {}),
    }


CODE_SYSTEM = {
    "resourceType": "CodeSystem",
    "id": "animals",
    "url": ANIMALS,
    "version": "2",
    "status": "active",
    "content": "complete",
    "property": [
        {"code": "legs", "type": "integer"},
        {"code": "parent", "type": "code"},
        {"code": "status", "type": "code"},
    ],
    "concept": [
        concept(
            "animal",
            concept("dog", concept("poodle"), legs={"valueInteger": 4}),
            concept("bird", concept("dodo", status={"valueCode": "retired"})),
            notSelectable={"valueBoolean": True},
        ),
        concept("pet"),
        concept("parrot", parent={"valueCode": "bird"}),
    ],
}


def value_set(id_: str, *include: dict[str, Any], **other: Any) -> dict[str, Any]:
    url = f"{SETS}/{id_}"
    compose = {"compose": {"include": list(include), **other}} if include else other
    return {"resourceType": "ValueSet", "id": id_, "url": url, "status": "active", **compose}


def filtered(property_: str, op: str, value: str) -> dict[str, Any]:
    return {"system": ANIMALS, "filter": [{"property": property_, "op": op, "value": value}]}


def listed(*codes: str, system: str = ANIMALS) -> dict[str, Any]:
    return {"system": system, "concept": [{"code": code} for code in codes]}


def named(*ids: str, **other: Any) -> dict[str, Any]:
    return {"valueSet": [f"{SETS}/{id_}" for id_ in ids], **other}


RESOURCES = [
    CODE_SYSTEM,
    value_set("listed", listed("dog", "bird"), listed("1-8", system=LOINC)),
    value_set("whole", {"system": ANIMALS}),
    value_set("dogs", filtered("concept", "is-a", "dog")),
    value_set("below-bird", filtered("concept", "descendent-of", "bird")),
    value_set("no-birds", filtered("concept", "is-not-a", "bird")),
    value_set("over-dodo", filtered("concept", "generalizes", "dodo")),
    value_set("four-legs", filtered("legs", "=", "4")),
    value_set("some", filtered("code", "in", "dog,dodo")),
    value_set("others", filtered("code", "not-in", "dog,dodo")),
    value_set("with-legs", filtered("legs", "exists", "true")),
    value_set("p", filtered("code", "regex", "p[a-z]*")),
    value_set("nested", named("dogs", "listed")),
    value_set("either", named("dogs"), named("below-bird")),
    value_set("both", {**named("listed"), "system": ANIMALS}),
    value_set("excluding", {"system": ANIMALS}, exclude=[named("dogs"), listed("pet")]),
    value_set("in-use", {"system": ANIMALS}, inactive=False),
    value_set("given", expansion={
        "timestamp": "2026-01-01",
        "contains": [
            {"system": ANIMALS, "code": "animal", "abstract": True,
             "contains": [{"system": ANIMALS, "code": "dog"}]},
        ],
    }),
    value_set("page", expansion={
        "timestamp": "2026", "total": 9, "contains": [{"system": ANIMALS, "code": "dog"}],
    }),
    value_set("circle", named("circle-back")),
    value_set("circle-back", named("circle")),
    value_set("astray", named("nowhere")),
    value_set("unknown-system", {"system": "http://example.org/none"}),
    value_set("odd", filtered("color", "=", "red")),
    value_set("bad-pattern", filtered("code", "regex", "(")),
    value_set("empty-named", listed("nothing")),
    {**value_set("old", listed("dog")), "id": "old-1", "version": "1.9"},
    {**value_set("old", listed("pet")), "id": "old-2", "version": "1.10"},
    {**value_set("old", listed("bird")), "id": "old-3", "version": "2", "status": "retired"},
]  # fmt: skip

CODES = {
    "a-dog": (ANIMALS, "dog"),
    "a-poodle": (ANIMALS, "poodle"),
    "a-bird": (ANIMALS, "bird"),
    "a-dodo": (ANIMALS, "dodo"),
    "a-parrot": (ANIMALS, "parrot"),
    "a-pet": (ANIMALS, "pet"),
    "an-animal": (ANIMALS, "animal"),
    "other-dog": ("http://example.org/other", "dog"),
    "no-system": (None, "dog"),
    "a-test": (LOINC, "1-8"),
}


def condition(id_: str, system: str | None, code: str) -> dict[str, Any]:
    coding = {"code": code} if system is None else {"system": system, "code": code}
    return {
        "resourceType": "Condition",
        "id": id_,
        "subject": {"reference": "Patient/p"},
        "code": {"coding": [coding]},
        "clinicalStatus": {
            "coding": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/condition-clinical",
                    "code": "recurrence" if id_ == "a-dog" else "resolved",
                }
            ]
        },
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def filled(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    path: Path = tmp_path_factory.mktemp("value_sets")
    async with fhir_world(path) as world:
        conditions = [condition(id_, *code) for id_, code in CODES.items()]
        uncoded = {**condition("uncoded", None, ""), "code": {"text": "a dog"}}
        patient = {"resourceType": "Patient", "id": "p", "gender": "female"}
        everything = [patient, *RESOURCES, *conditions, uncoded]
        entries = [
            {
                "resource": each,
                "request": {"method": "PUT", "url": f"{each['resourceType']}/{each['id']}"},
            }
            for each in everything
        ]
        bundle = {"resourceType": "Bundle", "type": "batch", "entry": entries}
        answer = await world.post("/", bundle)
        refused = [each for each in answer.json()["entry"] if "outcome" in each["response"]]
        assert not refused
        yield world


async def found(world: World, query: str) -> set[str]:
    answer = await world.get(f"/{query}&_count=100")
    assert answer.status_code == 200, answer.text
    ids = {entry["resource"]["id"] for entry in answer.json().get("entry", [])}
    assert answer.json()["total"] == len(ids)
    return ids


@pytest.mark.parametrize(
    ("value_set", "ids"),
    [
        ("listed", "a-bird a-dog a-test"),
        ("whole", "a-bird a-dodo a-dog a-parrot a-pet a-poodle"),
        ("dogs", "a-dog a-poodle"),
        ("below-bird", "a-dodo a-parrot"),
        ("no-birds", "a-dog a-pet a-poodle"),
        ("over-dodo", "a-bird a-dodo"),
        ("four-legs", "a-dog"),
        ("some", "a-dodo a-dog"),
        ("others", "a-bird a-parrot a-pet a-poodle"),
        ("with-legs", "a-dog"),
        ("p", "a-parrot a-pet a-poodle"),
        ("nested", "a-dog"),
        ("either", "a-dodo a-dog a-parrot a-poodle"),
        ("both", "a-bird a-dog"),
        ("excluding", "a-bird a-dodo a-parrot"),
        ("in-use", "a-bird a-dog a-parrot a-pet a-poodle"),
        ("given", "a-dog"),
        ("old", "a-pet"),
        ("old|1.9", "a-dog"),
        ("old|2", "a-bird"),
        ("empty-named", ""),
    ],
)
async def test_codes_in_a_value_set(filled: World, value_set: str, ids: str) -> None:
    inside = await found(filled, f"Condition?code:in={SETS}/{value_set}")
    assert " ".join(sorted(inside)) == ids
    outside = await found(filled, f"Condition?code:not-in={SETS}/{value_set}")
    assert outside == {*CODES, "uncoded"} - inside


@pytest.mark.parametrize("name", ["ValueSet/dogs", f"{BASE}/ValueSet/dogs"])
async def test_a_value_set_by_its_place(filled: World, name: str) -> None:
    assert await found(filled, f"Condition?code:in={name}") == {"a-dog", "a-poodle"}


async def test_several_value_sets(filled: World) -> None:
    either = f"{SETS}/four-legs,{SETS}/over-dodo"
    assert await found(filled, f"Condition?code:in={either}") == {"a-dog", "a-bird", "a-dodo"}
    neither = await found(filled, f"Condition?code:not-in={either}")
    assert neither == {*CODES, "uncoded"} - {"a-dog", "a-bird", "a-dodo"}


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("code:below={}|dog", "a-dog a-poodle"),
        ("code:below={}|bird", "a-bird a-dodo a-parrot"),
        ("code:below={}|poodle", "a-poodle"),
        ("code:above={}|poodle", "a-dog a-poodle an-animal"),
        ("code:above={}|parrot", "a-bird a-parrot an-animal"),
        ("code:above={}|pet", "a-pet"),
        ("code:below={0}|poodle,{0}|pet", "a-pet a-poodle"),
    ],
)
async def test_codes_by_their_hierarchy(filled: World, query: str, ids: str) -> None:
    matches = await found(filled, "Condition?" + query.format(ANIMALS))
    assert " ".join(sorted(matches)) == ids


async def test_the_standards_own_value_sets_and_systems(filled: World) -> None:
    clinical = "http://terminology.hl7.org/CodeSystem/condition-clinical"
    below = await found(filled, f"Condition?clinical-status:below={clinical}|active")
    assert below == {"a-dog"}
    own = "http://hl7.org/fhir/ValueSet/condition-clinical"
    assert len(await found(filled, f"Condition?clinical-status:in={own}")) == len(CODES) + 1
    gender = "http://hl7.org/fhir/ValueSet/administrative-gender"
    assert await found(filled, f"Patient?gender:in={gender}") == {"p"}
    assert await found(filled, f"Patient?gender:not-in={gender}|4.0.1") == set()
    refused = await filled.get(f"/Patient?gender:in={gender}|3.0.0")
    assert refused.status_code == 400


async def test_in_a_chain(filled: World) -> None:
    gender = "http://hl7.org/fhir/ValueSet/administrative-gender"
    chained = await found(filled, f"Condition?subject:Patient.gender:in={gender}")
    assert len(chained) == len(CODES) + 1
    reverse = await found(filled, f"Patient?_has:Condition:patient:code:in={SETS}/dogs")
    assert reverse == {"p"}


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (f"code:in={SETS}/nowhere", "there is no ValueSet"),
        (f"code:not-in={SETS}/nowhere", "there is no ValueSet"),
        ("code:in=ValueSet/none", "there is no ValueSet/none"),
        (f"code:in={SETS}/old|3", "there is no ValueSet"),
        (f"code:in={SETS}/circle", "refers to itself"),
        (f"code:in={SETS}/astray", "there is no ValueSet"),
        (f"code:in={SETS}/unknown-system", "there is no CodeSystem http://example.org/none"),
        (f"code:in={SETS}/odd", "has no property 'color'"),
        (f"code:in={SETS}/bad-pattern", "not a regular expression"),
        (f"code:in={SETS}/page", "only a part"),
        (f"code:below={ANIMALS}|cat", "has no code 'cat'"),
        ("code:below=http://example.org/none|cat", "there is no CodeSystem"),
        ("code:below=dog", "is not system|code"),
        ("code:above=|dog", "is not system|code"),
        ("code:in=", "has no value"),
        ("code:in=http://snomed.info/sct?fhir_vs=isa/1", "without its codes"),
        ("code:in=http://snomed.info/sct?fhir_vs=refset/1", "is not supported"),
    ],
)
async def test_what_is_not_known_is_refused_by_name(filled: World, query: str, words: str) -> None:
    answer = await filled.get(f"/Condition?{query}")
    assert answer.status_code == 400
    assert words in text_of(answer)
    assert "code" in text_of(answer)
