"""R4 Search, "Searching Contained Resources": `_contained`, `_containedType`, and chains."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fhir_server.storage.port import ResourceStore
from tests.fhir_world import BASE, Json, World, fhir_world, text_of
from tests.security.test_guard_http import principal
from tests.stores import place, store

__all__ = ["place", "store"]

CODES = "http://example.com/med-codes"


@pytest.fixture
async def world(tmp_path: Path, store: ResourceStore) -> AsyncIterator[World]:
    async with fhir_world(tmp_path, store=store) as running:
        for each in RESOURCES:
            response = await running.put(f"/{each['resourceType']}/{each['id']}", each)
            assert response.status_code == 201, response.text
        yield running


def medication(id: str | None, code: str, *, status: str | None = "active") -> Json:
    coded = {"coding": [{"system": CODES, "code": code}]}
    found: Json = {"resourceType": "Medication", "code": coded}
    found["ingredient"] = [{"itemCodeableConcept": coded}]
    return found | ({"id": id} if id else {}) | ({"status": status} if status else {})


def prescription(id: str, *contained: Json, patient: str = "p1") -> Json:
    return {
        "resourceType": "MedicationRequest",
        "id": id,
        "status": "active",
        "intent": "order",
        "contained": list(contained),
        "medicationReference": {"reference": f"#{contained[0]['id']}"},
        "subject": {"reference": f"Patient/{patient}"},
        **({"note": [{"text": "#"}]} if len(contained) == 1 else {}),
    }


RESOURCES: list[Json] = [
    {"resourceType": "Patient", "id": "p1", "active": True},
    {"resourceType": "Patient", "id": "p2", "active": True},
    medication(None, "abc") | {"id": "alone"},
    prescription("one", medication("m1", "abc")),
    prescription("other", medication("m1", "xyz", status="inactive"), patient="p2"),
    prescription("mixed", medication("m1", "abc", status="inactive"), {
        "resourceType": "Medication", "id": "m2", "status": "active",
        "amount": {"numerator": {"value": 1.5}, "denominator": {"value": 1}},
        "code": {"coding": [{"system": CODES, "code": "xyz"}]}}) | {
            "reasonReference": [{"reference": "#c1"}, {"reference": "Condition/none"}]},
]  # fmt: skip
RESOURCES[-1]["contained"].append(
    {"resourceType": "Condition", "id": "c1", "subject": {"reference": "Patient/p1"}}
)
RESOURCES[-1]["supportingInformation"] = [{"reference": "#m2"}]


async def urls(world: World, query: str) -> list[str]:
    """The full URLs of what a search finds, below the base."""
    response = await world.get(query)
    assert response.status_code == 200, response.text
    entries = response.json().get("entry", [])
    assert {each["search"]["mode"] for each in entries} <= {"match"}
    return [each["fullUrl"].removeprefix(BASE + "/") for each in entries]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("Medication?code=abc", "Medication/alone"),
        ("Medication?code=abc&_contained=false", "Medication/alone"),
        ("Medication?code=abc&_contained=true", "MedicationRequest/mixed MedicationRequest/one"),
        (
            "Medication?code=abc&_contained=both",
            "Medication/alone MedicationRequest/mixed MedicationRequest/one",
        ),
        # All criteria hold of one contained resource, not of several together.
        ("Medication?code=abc&status=active&_contained=true", "MedicationRequest/one"),
        ("Medication?code=xyz&status=active&_contained=true", "MedicationRequest/mixed"),
        ("Medication?code=xyz,abc&status:not=active&_contained=true",
         "MedicationRequest/mixed MedicationRequest/other"),
        ("Medication?status:missing=true&_contained=true", ""),
        ("Medication?ingredient-code:missing=true&_contained=true", "MedicationRequest/mixed"),
        ("Medication?_id=m2&_contained=true", "MedicationRequest/mixed"),
        ("Medication?code=none&_contained=both", ""),
        ("Condition?subject=Patient/p1&_contained=true", "MedicationRequest/mixed"),
        ("Condition?subject=Patient/p2&_contained=true", ""),
        ("Medication?_filter=code eq abc and status eq inactive&_contained=true",
         "MedicationRequest/mixed"),
    ],
)  # fmt: skip
async def test_containers_are_found_by_what_they_contain(
    world: World, query: str, expected: str
) -> None:
    assert sorted(await urls(world, f"/{query}")) == expected.split()


async def test_contained_resources_are_sent_alone_under_the_url_of_their_place(
    world: World,
) -> None:
    query = "/Medication?code=abc,xyz&_containedType=contained"
    assert sorted(await urls(world, f"{query}&_contained=true")) == [
        "MedicationRequest/mixed#m1",
        "MedicationRequest/mixed#m2",
        "MedicationRequest/one#m1",
        "MedicationRequest/other#m1",
    ]
    assert "Medication/alone" in await urls(world, f"{query}&_contained=both")
    answer = await world.get("/Medication?_id=m2&_contained=true&_containedType=contained")
    assert [each["resource"]["id"] for each in answer.json()["entry"]] == ["m2"]
    assert answer.json()["entry"][0]["resource"]["amount"]["numerator"]["value"] == 1.5


async def test_pages_of_containers_go_to_the_end_and_say_the_total(world: World) -> None:
    query = "/Medication?code=abc,xyz&_contained=both&_count=1&_total=accurate"
    found, url = [], query
    for _ in range(5):
        bundle = (await world.get(url)).json()
        assert bundle["total"] == 4
        found += [each["resource"]["id"] for each in bundle.get("entry", [])]
        more = [each["url"] for each in bundle["link"] if each["relation"] == "next"]
        if not more:
            break
        url = more[0]
    assert sorted(found) == ["alone", "mixed", "one", "other"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("medication.ingredient-code=abc", "mixed one"),
        ("medication:Medication.code=xyz", "other"),
        ("medication.code:not=abc", "other"),
        ("medication.code=abc&medication.status=inactive", "mixed"),
        ("patient.active=true", "mixed one other"),
    ],
)
async def test_a_chained_condition_is_evaluated_inside_contained_resources(
    world: World, query: str, expected: str
) -> None:
    found = await urls(world, f"/MedicationRequest?{query}")
    assert sorted(each.partition("/")[2] for each in found) == expected.split()


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("_contained=maybe", "_contained"),
        ("_containedType=box&_contained=true", "_containedType"),
        ("_contained=true&_sort=code", "_sort"),
        ("_contained=true&_include=Medication:manufacturer", "_include"),
        ("_contained=true&_containedType=contained&_total=accurate", "total"),
        ("_contained=true&manufacturer.name=x", "chains"),
    ],
)
async def test_what_cannot_be_asked_of_contained_resources_is_refused_by_name(
    world: World, query: str, names: str
) -> None:
    response = await world.get(f"/Medication?{query}")
    assert response.status_code == 400
    assert names in text_of(response)


async def test_searches_over_several_types_and_compartments_do_not_look_inside(
    world: World,
) -> None:
    for url in (
        "/?_type=Medication,Patient&_id=m1&_contained=true",
        "/Patient/p1/MedicationRequest?_contained=true",
    ):
        response = await world.get(url)
        assert response.status_code == 400
        assert "_contained" in text_of(response)


async def test_an_update_without_the_contained_resource_is_not_found_by_it(world: World) -> None:
    changed: dict[str, Any] = {**RESOURCES[3], "medicationCodeableConcept": {"text": "plain"}}
    del changed["contained"], changed["medicationReference"]
    assert (await world.put("/MedicationRequest/one", changed)).status_code == 200
    assert await urls(world, "/Medication?code=abc&_contained=true") == ["MedicationRequest/mixed"]


@pytest.mark.parametrize(("patient", "expected"), [("p1", "MedicationRequest/mixed"), ("p2", "")])
async def test_what_lies_in_a_hidden_container_does_not_exist(
    world: World, patient: str, expected: str
) -> None:
    scopes = "patient/MedicationRequest.rs patient/Condition.rs"
    world.caller.principal = principal(scopes, patient=patient)
    query = "/Condition?subject=Patient/p1&_contained=true"
    assert await urls(world, query) == expected.split()
    alone = await urls(world, f"{query}&_containedType=contained")
    assert alone == [f"{each}#c1" for each in expected.split()]
