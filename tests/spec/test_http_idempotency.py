"""Idempotency-Key: a write that is sent again is done once, and answered as the first time (IETF
draft-ietf-httpapi-idempotency-key-header)."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests import bundles
from tests.fhir_world import PATIENT, Json, World, fhir_world, issues, observation, text_of
from tests.operation_world import caller, named, parameters, post, put, transaction, world
from tests.stores import Place, place

__all__ = ["place", "world"]

KEY = "8e03978e-40d5-43dd-bc93-6894a57f9324"
SAME = ("location", "etag", "last-modified")


async def send(world: World, body: Json, url: str = "/Patient", key: str = KEY, **more: str) -> Any:
    return await world.post(url, body, Idempotency_Key=key, **more)


async def test_a_repeat_answers_as_the_first_time_and_creates_nothing(world: World) -> None:
    first, second = await send(world, PATIENT), await send(world, PATIENT)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content == second.content
    assert [first.headers[name] for name in SAME] == [second.headers[name] for name in SAME]
    assert second.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert await world.count("Patient") == 1


async def test_another_key_is_another_request(world: World) -> None:
    await send(world, PATIENT)
    assert (await send(world, PATIENT, key="another")).status_code == 201
    assert await world.count("Patient") == 2


async def test_the_quoted_form_of_the_draft_is_the_same_key(world: World) -> None:
    await send(world, PATIENT)
    again = await send(world, PATIENT, key=f'"{KEY}"')
    assert again.headers["idempotency-replayed"] == "true"


async def test_a_repeat_answers_with_the_version_of_then(world: World) -> None:
    first = (await send(world, PATIENT)).json()
    await world.put(f"/Patient/{first['id']}", PATIENT | {"id": first["id"], "active": True})
    again = await send(world, PATIENT)
    assert again.json() == first
    assert again.headers["etag"] == 'W/"1"'


@pytest.mark.parametrize(
    ("url", "body", "headers"),
    [
        ("/Patient", PATIENT | {"active": True}, {}),
        ("/Patient?_format=json", PATIENT, {}),
        ("/Patient", PATIENT, {"If_None_Exist": "active=true"}),
        ("", bundles.batch(bundles.entry("GET", "Patient")), {}),
        ("", transaction(post(PATIENT)), {}),
    ],
)
async def test_the_key_with_another_request_is_422(
    world: World, url: str, body: Json, headers: dict[str, str]
) -> None:
    await send(world, PATIENT)
    response = await send(world, body, url, **headers)
    assert response.status_code == 422
    assert "Idempotency-Key" in text_of(response)
    assert await world.count("Patient") == 1


@pytest.mark.parametrize("key", ["", "k" * 256, "a\tb", "a, b", '"open', '""'])
async def test_a_malformed_key_is_400(world: World, key: str) -> None:
    response = await send(world, PATIENT, key=key)
    assert response.status_code == 400
    assert "Idempotency-Key" in text_of(response)
    assert await world.count("Patient") == 0


async def test_the_longest_key_is_taken(world: World) -> None:
    assert (await send(world, PATIENT, key="k" * 255)).status_code == 201


async def test_twenty_at_once_make_one_resource_and_get_one_answer(world: World) -> None:
    answers = await asyncio.gather(*(send(world, PATIENT) for _ in range(20)))
    assert {each.status_code for each in answers} == {201}
    assert len({each.content for each in answers}) == 1
    assert len({each.headers["location"] for each in answers}) == 1
    assert sum("idempotency-replayed" in each.headers for each in answers) == 19
    assert await world.count("Patient") == 1


async def test_a_repeat_after_the_answer_was_lost_and_the_server_died(
    place: Place, tmp_path: Path
) -> None:
    store = await place.store()
    async with fhir_world(tmp_path, store=store) as world:
        commit = store.transaction

        async def lost(unit: Any) -> Any:
            await commit(unit)
            raise RuntimeError("the process ends")

        store.transaction = lost  # type: ignore[method-assign]
        assert (await send(world, PATIENT)).status_code == 500
        store.transaction = commit  # type: ignore[method-assign]
    async with fhir_world(tmp_path, store=await place.store()) as world:
        again = await send(world, PATIENT)
        assert again.status_code == 201
        assert again.headers["idempotency-replayed"] == "true"
        assert await world.count("Patient") == 1


async def test_a_key_is_forgotten_after_its_hours(place: Place, tmp_path: Path) -> None:
    async with fhir_world(tmp_path, store=await place.store(), idempotency_hours=2) as world:
        await send(world, PATIENT)
        place.clock.advance(2 * 3600 - 60)
        assert "idempotency-replayed" in (await send(world, PATIENT)).headers
        place.clock.advance(120)
        assert "idempotency-replayed" not in (await send(world, PATIENT)).headers
        assert await world.count("Patient") == 2


async def test_a_server_that_remembers_nothing_refuses_the_header(tmp_path: Path) -> None:
    async with fhir_world(tmp_path, idempotency_hours=0) as world:
        response = await send(world, PATIENT)
        assert response.status_code == 400
        assert issues(response)[0]["code"] == "not-supported"
        assert await world.count("Patient") == 0


async def test_a_key_is_its_callers_own(world: World) -> None:
    someone = caller("user/*.cruds")
    for who in (someone, replace(someone, subject="other"), replace(someone, client_id="other")):
        world.caller.principal = who
        assert "idempotency-replayed" not in (await send(world, PATIENT)).headers
    assert await world.count("Patient") == 3


async def test_what_may_no_longer_be_done_or_seen_is_not_shown_again(world: World) -> None:
    await world.put("/Patient/a", named("Patient", "a"))
    await world.put("/Patient/b", named("Patient", "b"))
    body = observation(subject={"reference": "Patient/a"}, valueString="secret")
    world.caller.principal = caller("patient/*.cruds", patient="a")
    assert (await send(world, body, "/Observation")).status_code == 201
    assert (await send(world, body, "/Observation")).status_code == 201
    world.caller.principal = caller("patient/*.cruds", patient="b")
    hidden = await send(world, body, "/Observation")
    assert hidden.status_code == 403
    assert "secret" not in hidden.text
    world.caller.principal = caller("user/*.rs")
    assert (await send(world, body, "/Observation")).status_code == 403


async def test_a_failure_is_not_remembered(world: World) -> None:
    refused = await send(world, PATIENT | {"active": "maybe"})
    assert refused.status_code == 400
    assert (await send(world, PATIENT)).status_code == 201
    conditional = {"url": "/Patient", "key": "2", "If_None_Exist": "name=chalmers"}
    await world.create(PATIENT)
    assert (await send(world, PATIENT, **conditional)).status_code == 412


async def test_a_repeat_is_audited(world: World) -> None:
    await send(world, PATIENT)
    await send(world, PATIENT)
    first, second = await world.journal()
    assert (second["interaction"], second["key"]) == (first["interaction"], first["key"])
    assert "again" in second["detail"]


async def test_a_transaction_is_done_once_and_its_reads_are_read_anew(world: World) -> None:
    await world.put("/Patient/a", named("Patient", "a"))
    body = transaction(
        post(PATIENT),
        put(named("Patient", "a", active=True)),
        {"request": {"method": "GET", "url": "Patient/a"}},
    )
    first, second = await send(world, body, ""), await send(world, body, "")
    assert first.status_code == 200, first.text
    assert first.json() == second.json()
    assert second.headers["idempotency-replayed"] == "true"
    whole = await send(world, body, "", Prefer="return=representation")
    assert whole.json()["entry"][0]["resource"]["name"] == PATIENT["name"]
    assert await world.count("Patient") == 2


async def test_an_undone_transaction_is_still_answered_as_the_first_time(world: World) -> None:
    body = transaction(post(PATIENT))
    first = (await send(world, body, "")).json()
    undo = parameters(transaction_id=first["id"])
    undone = await send(world, undo, "/$undo", key="undo")
    assert undone.status_code == 200
    assert (await send(world, body, "")).json() == first
    again = await send(world, undo, "/$undo", key="undo")
    assert (again.status_code, again.json()) == (200, undone.json())
    assert await world.count("Patient") == 0


async def test_an_operation_that_changes_something_is_done_once(world: World) -> None:
    await world.put("/Patient/a", named("Patient", "a"))
    tag = parameters(meta_meta={"tag": [{"system": "urn:x", "code": "y"}]})
    first = await send(world, tag, "/Patient/a/$meta-add")
    await world.post("/Patient/a/$meta-delete", tag)
    again = await send(world, tag, "/Patient/a/$meta-add")
    assert again.json() == first.json()
    assert "tag" not in (await world.get("/Patient/a")).json()["meta"]


async def test_an_update_and_a_deletion_are_done_once(world: World) -> None:
    await world.put("/Patient/a", named("Patient", "a"))
    changed = named("Patient", "a", active=True)
    headers = {"Idempotency_Key": KEY, "If_Match": 'W/"1"'}
    first = await world.put("/Patient/a", changed, **headers)
    again = await world.put("/Patient/a", changed, **headers)
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.headers["etag"] == 'W/"2"'
    deletion = {"Idempotency_Key": "2", "If_Match": 'W/"2"'}
    assert (await world.delete("/Patient/a", **deletion)).status_code == 204
    assert (await world.delete("/Patient/a", **deletion)).status_code == 204
    assert (await world.delete("/Patient/a", If_Match='W/"2"')).status_code == 412


async def test_a_batch_that_died_half_way_goes_on_where_it_stopped(world: World) -> None:
    entries = [
        bundles.entry("POST", "Patient", PATIENT | {"active": each}) for each in (True, False)
    ]
    body = bundles.batch(*entries, bundles.entry("POST", "Observation", observation()))
    store = world.store
    commit, left = store.transaction, [2]

    async def dying(unit: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("out of order")
        return await commit(unit)

    store.transaction = dying  # type: ignore[method-assign]
    await send(world, body, "")
    store.transaction = commit  # type: ignore[method-assign]
    done = await world.count("Patient") + await world.count("Observation")
    assert done == 1, "the batch's own record, and one entry"
    again = await send(world, body, "")
    assert [each["response"]["status"] for each in again.json()["entry"]] == ["201 Created"] * 3
    assert again.headers["idempotency-replayed"] == "true"
    assert (await world.count("Patient"), await world.count("Observation")) == (2, 1)
    assert (await send(world, body, "")).json() == again.json()
    assert (await send(world, bundles.batch(entries[0]), "")).status_code == 422


async def test_what_only_reads_may_have_a_key_and_needs_no_memory(world: World) -> None:
    await world.create(PATIENT)
    for _ in range(2):
        found = await world.http.post(
            "/Patient/_search",
            data={"name": "chalmers"},
            headers={"idempotency-key": KEY},
        )
        assert found.json()["total"] == 1
        assert "idempotency-replayed" not in found.headers
    body = transaction(post(PATIENT))
    for _ in range(2):
        assert (await send(world, body, "/$dry-run")).status_code == 200
    assert await world.count("Patient") == 1
