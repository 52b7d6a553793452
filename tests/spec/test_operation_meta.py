"""R4 Resource $meta, $meta-add and $meta-delete."""

from typing import Any

import pytest

from tests.fhir_world import Json, World, text_of
from tests.operation_world import caller, measured, named, place, store_all, world

__all__ = ["place", "world"]

WARD = {"system": "http://ward.example/tag", "code": "ward", "display": "Ward"}
LAB = {"system": "http://ward.example/tag", "code": "lab"}
SECRET = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}
PROFILE = "http://ward.example/StructureDefinition/bed"


def given(**labels: Any) -> Json:
    return {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": labels}]}


def returned(response: Any) -> Json:
    assert response.status_code == 200, response.text
    only: Json = response.json()["parameter"][0]
    assert only["name"] == "return"
    found: Json = only["valueMeta"]
    return found


@pytest.fixture
async def patient(world: World) -> World:
    await store_all(world, named("Patient", "a", meta={"tag": [WARD]}))
    return world


async def test_meta_of_a_resource_and_of_an_older_version(patient: World) -> None:
    await patient.put("/Patient/a", named("Patient", "a", meta={"tag": [LAB]}))
    now = returned(await patient.get("/Patient/a/$meta"))
    assert (now["versionId"], now["tag"]) == ("2", [LAB])
    then = returned(await patient.get("/Patient/a/_history/1/$meta"))
    assert (then["versionId"], then["tag"]) == ("1", [WARD])
    assert (await patient.get("/Patient/b/$meta")).status_code == 404
    assert (await patient.get("/Patient/a/_history/9/$meta")).status_code == 404


async def test_meta_of_a_type_lists_each_label_once(patient: World) -> None:
    more = [measured(f"o{i}", "a", meta={"tag": [{"code": f"t{i % 7}"}]}) for i in range(20)]
    await store_all(patient, named("Patient", "b", meta={"tag": [LAB, WARD], "security": [SECRET]}),
                    *more)  # fmt: skip
    of_type = returned(await patient.get("/Patient/$meta"))
    assert of_type == {"tag": [LAB, WARD], "security": [SECRET]}
    everywhere = returned(await patient.get("/$meta"))
    assert [each["code"] for each in everywhere["tag"]] == [
        *(f"t{i}" for i in range(7)), "lab", "ward"
    ]  # fmt: skip
    assert returned(await patient.get("/Device/$meta")) == {}


async def test_meta_of_a_type_hides_what_the_caller_may_not_see(patient: World) -> None:
    await store_all(patient, named("Patient", "b", meta={"tag": [LAB]}))
    patient.caller.principal = caller("patient/Patient.rs", patient="b")
    assert returned(await patient.get("/Patient/$meta")) == {"tag": [LAB]}
    assert returned(await patient.get("/$meta")) == {"tag": [LAB]}


async def test_added_labels_are_found_and_audited(patient: World) -> None:
    body = given(tag=[LAB, {**WARD, "display": "other", "version": "2"}], profile=[PROFILE])
    meta = returned(await patient.post("/Patient/a/$meta-add", body))
    assert meta["tag"] == [WARD, LAB], "the one that was there is not doubled"
    assert (meta["profile"], meta["versionId"]) == ([PROFILE], "2")
    found = await patient.get(f"/Patient?_tag={LAB['system']}|lab&_profile={PROFILE}")
    assert found.json()["total"] == 1
    record = (await patient.journal())[-2]
    assert (record["interaction"], record["key"], record["version"]) == (
        "operation",
        "Patient/a",
        2,
    )
    assert record["query"] == "Patient/a/$meta-add"


async def test_adding_what_is_there_makes_no_version(patient: World) -> None:
    meta = returned(await patient.post("/Patient/a/$meta-add", given(tag=[WARD])))
    assert meta["versionId"] == "1"


async def test_deleted_labels_are_no_longer_found(patient: World) -> None:
    body = given(tag=[{"system": WARD["system"], "code": "ward"}], security=[SECRET])
    meta = returned(await patient.post("/Patient/a/$meta-delete", body))
    assert "tag" not in meta
    assert (await patient.get("/Patient?_tag=ward")).json()["total"] == 0
    assert (await patient.get("/Patient/a/_history/1")).json()["meta"]["tag"] == [WARD]


async def test_who_may_only_read_may_not_label(patient: World) -> None:
    patient.caller.principal = caller("patient/Patient.rs", patient="a")
    response = await patient.post("/Patient/a/$meta-add", given(tag=[LAB]))
    assert response.status_code == 403
    patient.caller.principal = None
    assert returned(await patient.get("/Patient/a/$meta"))["tag"] == [WARD]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"resourceType": "Parameters"}, "meta"),
        (given(versionId="7"), "versionId"),
        ({"resourceType": "Parameters", "parameter": [{"name": "tag", "valueString": "x"}]}, "tag"),
        ({"resourceType": "Parameters", "parameter": [{"name": "meta", "valueString": "x"}]},
         "valueString"),
        ({"resourceType": "Patient"}, "Parameters"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_named(patient: World, body: Json, said: str) -> None:
    response = await patient.post("/Patient/a/$meta-add", body)
    assert response.status_code == 400
    assert said in text_of(response)


async def test_labels_are_changed_by_post_alone(patient: World) -> None:
    response = await patient.get("/Patient/a/$meta-add")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert (await patient.get("/Patient/a/$nonsense")).status_code == 404
