"""$undo: a committed transaction taken back."""

from pathlib import Path

import pytest

from fhir_server.rights.erasure import Ordered, erase
from fhir_server.storage.port import Key
from tests.fhir_world import START, Json, World, extract, fhir_world, observation, text_of
from tests.operation_world import (
    caller,
    measured,
    named,
    parameters,
    place,
    post,
    put,
    store_all,
    transaction,
    world,
)

__all__ = ["place", "world"]

DELETE_O = {"request": {"method": "DELETE", "url": "Observation/o"}}
URN = "urn:uuid:6d3e8c5a-0f0b-4a7e-9f57-8b1c1a6d2f10"


async def committed(world: World, *entries: Json) -> Json:
    response = await world.post("", transaction(*entries))
    assert response.status_code == 200, response.text
    body: Json = response.json()
    return body


@pytest.fixture
async def ward(world: World) -> World:
    await store_all(
        world, named("Patient", "a", name=[{"family": "Old"}]), measured("o", "a", valueInteger=7)
    )
    return world


async def test_everything_is_as_it_was_in_new_versions(ward: World) -> None:
    done = await committed(
        ward,
        post(named("Patient", "x"), URN),
        post(observation(subject={"reference": URN})),
        put(named("Patient", "a", name=[{"family": "New"}])),
        DELETE_O,
    )
    made = done["entry"][0]["response"]["location"].partition("/_history")[0]
    response = await ward.post("/$undo", parameters(transaction_id=done["id"]))
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["type"] == "transaction-response"
    statuses = [each["response"]["status"] for each in answer["entry"]]
    assert sorted(statuses) == ["200 OK", "200 OK", "204 No Content", "204 No Content"]
    assert (await ward.get(f"/{made}")).status_code == 410
    patient = (await ward.get("/Patient/a")).json()
    assert (patient["name"], patient["meta"]["versionId"]) == ([{"family": "Old"}], "3")
    assert (await ward.get("/Observation/o")).json()["valueInteger"] == 7
    assert await ward.count("Observation") == 1
    assert (await ward.get("/Patient?family=old")).json()["total"] == 1


async def test_an_undo_can_be_undone(ward: World) -> None:
    done = await committed(ward, put(named("Patient", "a", name=[{"family": "New"}])))
    undone = (await ward.post(f"/$undo?transaction={done['id']}", b"")).json()
    redone = await ward.post("/$undo", parameters(transaction_id=undone["id"]))
    assert redone.status_code == 200
    assert (await ward.get("/Patient/a")).json()["name"] == [{"family": "New"}]


async def erase_ann(world: World) -> None:
    ordered = Ordered(Key("Patient", "ann"), "patient-request", lambda *_: b"{}", lambda: START)
    await erase(world.store, extract(), ordered)


@pytest.mark.parametrize(
    ("entry", "status"),
    [(put(measured("o", "a", valueInteger=8)), 200), (DELETE_O, 410)],
    ids=["another's now", "deleted"],
)
async def test_what_was_erased_comes_not_back_and_what_took_its_place_stays(
    world: World, entry: Json, status: int
) -> None:
    await store_all(world, named("Patient", "ann"), named("Patient", "a"))
    await store_all(world, measured("o", "ann", valueInteger=7))
    done = await committed(world, entry, put(named("Patient", "b")))
    await erase_ann(world)
    refused = await world.post("/$undo", parameters(transaction_id=done["id"]))
    assert refused.status_code == 409
    assert "what Observation/o said before is there no more" in refused.text
    assert (await world.get("/Observation/o")).status_code == status
    assert (await world.get("/Patient/b")).status_code == 200


async def test_what_changed_since_is_listed_and_nothing_undone(ward: World) -> None:
    done = await committed(
        ward,
        put(named("Patient", "a", name=[{"family": "New"}])),
        put(measured("o", "a")),
        put(named("Patient", "b")),
    )
    await ward.put("/Patient/a", named("Patient", "a"))
    await ward.delete("/Patient/b")
    response = await ward.post("/$undo", parameters(transaction_id=done["id"]))
    assert response.status_code == 409
    assert "Patient/a is at version 3" in text_of(response)
    assert "Patient/b" in text_of(response)
    assert "Observation/o" not in text_of(response)
    assert (await ward.get("/Observation/o")).json()["meta"]["versionId"] == "2"


async def test_what_refers_to_the_created_since_is_in_the_way(ward: World) -> None:
    done = await committed(ward, put(named("Patient", "b")))
    await store_all(ward, measured("late", "b"))
    response = await ward.post("/$undo", parameters(transaction_id=done["id"]))
    assert response.status_code == 409
    assert "Observation/late" in text_of(response)
    await ward.delete("/Observation/late")
    again = await ward.post("/$undo", parameters(transaction_id=done["id"]))
    assert again.status_code == 200
    assert (await ward.get("/Patient/b")).status_code == 410


async def test_a_second_undo_is_refused(ward: World) -> None:
    done = await committed(ward, put(named("Patient", "b")))
    assert (await ward.post("/$undo", parameters(transaction_id=done["id"]))).status_code == 200
    assert (await ward.post("/$undo", parameters(transaction_id=done["id"]))).status_code == 409


async def test_it_is_for_those_who_may_write_what_was_written(ward: World) -> None:
    done = await committed(ward, put(named("Patient", "b")), put(measured("o2", "b")))
    body = parameters(transaction_id=done["id"])
    ward.caller.principal = caller("user/*.rs")
    assert (await ward.post("/$undo", body)).status_code == 403
    ward.caller.principal = caller("patient/*.cruds", patient="a")
    assert (await ward.post("/$undo", body)).status_code == 404, "hidden, as if never committed"
    ward.caller.principal = None
    assert (await ward.get("/Patient/b")).status_code == 200
    assert (await ward.get("/Observation/o2")).status_code == 200


async def test_each_write_and_the_undo_are_audited(ward: World) -> None:
    done = await committed(ward, put(named("Patient", "a", active=True)), DELETE_O)
    before = len(await ward.journal())
    await ward.post("/$undo", parameters(transaction_id=done["id"]))
    records = (await ward.journal())[before:]
    assert [(each["interaction"], each.get("key"), each.get("patient")) for each in records] == [
        ("update", "Patient/a", "a"),
        ("update", "Observation/o", "a"),
        ("operation", None, None),
    ]
    assert records[-1]["query"] == "$undo"


async def test_an_unknown_transaction_is_404_and_a_missing_name_400(ward: World) -> None:
    assert (await ward.post("/$undo", parameters(transaction_id="none"))).status_code == 404
    response = await ward.post("/$undo", {"resourceType": "Parameters"})
    assert response.status_code == 400
    assert "transaction" in text_of(response)


async def test_nothing_is_remembered_where_the_setting_says_never(tmp_path: Path) -> None:
    async with fhir_world(tmp_path, undo_days=0) as world:
        done = await committed(world, put(named("Patient", "b")))
        response = await world.post("/$undo", parameters(transaction_id=done["id"]))
        assert response.status_code == 404
