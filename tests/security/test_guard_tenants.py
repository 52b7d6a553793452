"""Tenants that share a store: what one has does not exist for another (ADR 0018)."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from fhir_server.search.expression import EVERYTHING
from fhir_server.security.circumstances import Policy
from fhir_server.security.tenants import TENANTS, tenant_label
from tests.consent_world import Json, observation
from tests.fhir_world import World, text_of
from tests.guard_world import access
from tests.security.test_guard_http import AUDITOR, principal
from tests.stores import BOTH
from tests.worlds import world_on

SHARED = Policy(has_tenants=True)
SOUTH = principal("user/*.cruds", patient=None)
NORTH = replace(SOUTH, tenant="north", subject="dr.kofi")
EAST = replace(SOUTH, tenant="east", subject="dr.esi")


@pytest.fixture(params=BOTH)
async def world(request: pytest.FixtureRequest, tmp_path: Any) -> AsyncIterator[World]:
    async with world_on(request, request.param, tmp_path, policy=SHARED) as opened:
        yield opened


async def made(world: World, who: Any, **changes: Any) -> str:
    """The id of an Observation that the caller creates."""
    world.caller.principal = who
    body = observation("", "x", **changes)
    del body["id"]
    return await world.create(body)


async def ids(world: World, who: Any) -> set[str]:
    world.caller.principal = who
    answer = (await world.get("/Observation")).json()
    return {each["resource"]["id"] for each in answer.get("entry", ())}


async def test_callers_of_one_tenant_never_see_anothers(world: World) -> None:
    south, north = await made(world, SOUTH), await made(world, NORTH)
    assert await ids(world, SOUTH) == {south}
    assert await ids(world, NORTH) == {north}
    assert await ids(world, EAST) == set()
    for who, id in ((SOUTH, north), (NORTH, south), (EAST, north)):
        world.caller.principal = who
        for url in (
            f"/Observation/{id}",
            f"/Observation/{id}/_history",
            f"/Observation/{id}/_history/1",
        ):
            hidden, unknown = await world.get(url), await world.get(url.replace(id, "q" * len(id)))
            assert hidden.status_code == unknown.status_code == 404
        assert (await world.put(f"/Observation/{id}", observation(id, "x"))).status_code == 404
        assert (await world.get("/Observation?_summary=count")).json()["total"] <= 1
        batch = {"resourceType": "Bundle", "type": "batch"}
        batch |= {"entry": [{"request": {"method": "GET", "url": f"Observation/{id}"}}]}  # type: ignore[dict-item]
        answer = (await world.post("/", batch)).json()
        assert answer["entry"][0]["response"]["status"].startswith("404")


async def test_the_label_is_the_servers_own(world: World) -> None:
    id = await made(world, NORTH)
    stored = (await world.get(f"/Observation/{id}")).json()
    assert stored["meta"]["security"] == [tenant_label("north")]
    for labels in ([tenant_label("east")], [tenant_label("north"), tenant_label("east")]):
        changed = stored | {"meta": {"security": labels}}
        answer = await world.put(f"/Observation/{id}", changed)
        assert answer.status_code == 422
        assert TENANTS in text_of(answer)
        new = {name: value for name, value in changed.items() if name != "id"}
        assert (await world.post("/Observation", new)).status_code == 422
    meta: Json = {"name": "meta", "valueMeta": {"security": [tenant_label("north")]}}
    for operation in ("$meta-add", "$meta-delete"):
        parameters = {"resourceType": "Parameters", "parameter": [meta]}
        assert (await world.post(f"/Observation/{id}/{operation}", parameters)).status_code == 400
    removed = await world.patch(f"/Observation/{id}", [{"op": "remove", "path": "/meta/security"}])
    assert removed.status_code == 200
    assert removed.json()["meta"]["security"] == [tenant_label("north")]
    # The same again, without the label, is still the same.
    bare = {name: value for name, value in removed.json().items() if name != "meta"}
    assert (await world.put(f"/Observation/{id}", bare)).headers["etag"] == removed.headers["etag"]
    world.caller.principal = SOUTH
    labelled = observation("", "x", meta={"security": [tenant_label("north")]})
    del labelled["id"]
    assert (await world.post("/Observation", labelled)).status_code == 422


async def test_entries_of_a_transaction_belong_to_the_tenant_too(world: World) -> None:
    world.caller.principal = NORTH
    entry = {"request": {"method": "POST", "url": "Observation"}, "resource": observation("", "x")}
    del entry["resource"]["id"]
    answer = await world.post(
        "/", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    )
    assert answer.status_code == 200
    assert len(await ids(world, NORTH)) == 1
    assert await ids(world, SOUTH) == set()


async def test_shared_definitions_are_everybodys_to_read(world: World) -> None:
    admin = replace(SOUTH, roles=frozenset({"admin"}))
    world.caller.principal = admin
    value_set = await world.create({"resourceType": "ValueSet", "status": "active"})
    ward = await world.create({"resourceType": "Location", "name": "Ward 7"})
    world.caller.principal = replace(admin, tenant="north")
    assert (await world.get(f"/ValueSet/{value_set}")).status_code == 200
    assert (
        await world.post("/ValueSet", {"resourceType": "ValueSet", "status": "active"})
    ).status_code == 403
    assert (await world.get(f"/Location/{ward}")).status_code == 404


async def test_a_cursor_and_a_key_are_of_one_tenant(world: World) -> None:
    for _ in range(2):
        await made(world, NORTH)
    world.caller.principal = NORTH
    links = (await world.get("/Observation?_count=1")).json()["link"]
    (url,) = [each["url"] for each in links if each["relation"] == "next"]
    world.caller.principal = replace(NORTH, tenant="east")
    assert (await world.get(url)).status_code == 400
    body = observation("", "x")
    del body["id"]
    first = await world.post("/Observation", body, Idempotency_Key='"k"')
    world.caller.principal = NORTH
    second = await world.post("/Observation", body, Idempotency_Key='"k"')
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json()["id"] != second.json()["id"]


async def test_the_trail_says_whose_it_is(world: World) -> None:
    from fhir_server.audit.event import audit_event

    await made(world, NORTH)
    await made(world, SOUTH)
    events = [audit_event(each.entry) for each in await world.store.journal(10)]
    labels = [event.get("meta", {}).get("security") for event in events]
    assert labels == [[tenant_label("north")], None]
    view = access("user/AuditEvent.rs", "auditor")
    assert view.filter("AuditEvent") == EVERYTHING
    assert AUDITOR.tenant == "default"


def test_where_there_is_one_tenant_nothing_is_narrowed() -> None:
    assert access("user/*.cruds").filter("Observation") == EVERYTHING
