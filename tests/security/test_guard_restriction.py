"""A restriction of processing in the guard (GDPR article 18): the record is there for nobody but
those whom it names, on every way to it, until it is lifted."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fhir_server.rights.erasure import HeldForLaw, require_no_hold
from fhir_server.security.restrictions import (
    BadRestriction,
    Restriction,
    actor_named,
    lift,
    restrict,
    restrictions,
)
from fhir_server.storage.port import Key, Transaction
from fhir_server.storage.sqlite.store import SqliteStore
from tests.consent_world import consent, image, observation
from tests.fhir_world import BASE, World, fhir_world
from tests.security.test_guard_consent import ALL_OF_X, DOCTOR, SERVICE, fill, hidden, say
from tests.security.test_guard_emergency import begin
from tests.security.test_guard_http import principal
from tests.security.test_guard_later import happens, subscribe
from tests.stores import Clock
from tests.subscription_world import Subscribed, subscribed


async def put_on(world: World, *allowed: str, patient: str = "x") -> None:
    made = Restriction(
        patient, "legal-claims", "2026-11-24T08:00:00Z", tuple(map(actor_named, allowed))
    )
    await world.store.transaction(lambda unit: restrict(unit, made))


async def take_off(world: World) -> bool:
    async def unit(transaction: Transaction) -> bool:
        return await lift(transaction, "x")

    return await world.store.transaction(unit)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store = SqliteStore.open(tmp_path / "ward.sqlite", Clock())
    async with fhir_world(tmp_path, store=store) as opened:
        yield opened
    await store.close()


@pytest.fixture
async def told(tmp_path: Path) -> AsyncIterator[Subscribed]:
    async with subscribed(tmp_path) as opened:
        yield opened


async def test_it_hides_the_whole_record_from_the_next_request_on_until_lifted(
    world: World,
) -> None:
    await fill(world)
    assert await hidden(world) == set()
    await put_on(world)
    assert await hidden(world) == await hidden(world, SERVICE) == ALL_OF_X
    own = principal("user/*.rs", fhir_user="Patient/x", subject="kofi")
    assert await hidden(world, own) == set()
    assert await take_off(world)
    assert not await take_off(world)
    assert await hidden(world) == set()


async def test_those_whom_it_names_go_on_and_a_consent_opens_nothing(world: World) -> None:
    await fill(world)
    await say(world, consent(base="OPTIN"))
    for name, of_service in (
        ("user:dr.amina", ALL_OF_X),
        ("Practitioner/amina", ALL_OF_X),
        ("client:app", set()),
    ):
        await put_on(world, name)
        assert await hidden(world) == set(), name
        assert await hidden(world, SERVICE) == of_service, name
        assert (
            await hidden(
                world,
                principal(
                    "user/*.rs",
                    fhir_user="Practitioner/p",
                    subject="p",
                    client_id="other",
                    patient=None,
                ),
            )
            == ALL_OF_X
        )
    await put_on(world)
    assert await hidden(world) == ALL_OF_X
    await begin(world, "x", DOCTOR.subject)
    assert await hidden(world) == set()


async def test_every_route_is_as_if_the_record_did_not_exist(world: World) -> None:
    await fill(world)
    await world.put(
        "/Observation/oz", observation("oz", "y", hasMember=[{"reference": "Observation/ox"}])
    )
    await world.put("/Binary/bo", image("bo", "Observation/ox"))
    world.caller.principal = DOCTOR
    asked = await world.get("/Observation", Prefer="respond-async")
    waiting = asked.headers["content-location"].removeprefix("http://fhir.example/fhir")
    assert await world.runner.run_once() == 1
    await put_on(world)
    for url in ("/Patient/x/$everything", "/Observation/ox/_history/1", "/Binary/bo"):
        assert (await world.get(url)).status_code == 404, url
    told = [
        await world.get("/Observation?_id=oz&_include=Observation:has-member"),
        await world.get("/Observation?has-member:Observation._id=ox"),
        await world.get("/Observation?subject:Patient.family=Mensah"),
        await world.get("/Patient?_has:Observation:patient:_id=ox"),
        await world.get("/Patient?_revinclude=Observation:patient"),
        await world.get("/Observation/_history"),
        await world.get("/Patient/$everything"),
    ]
    names = [each["resource"]["id"] for answer in told for each in answer.json().get("entry", ())]
    assert not {"x", "ox", "cx", "dx", "bx"} & set(names)
    assert {"y", "oy"} <= set(names)
    later = await world.get(waiting)
    assert (later.status_code, "ox" in later.text) == (403, False)
    new = observation("", "x")
    del new["id"]
    assert (await world.post("/Observation", new)).status_code == 403
    assert (await world.put("/Observation/ox", observation("ox", "x"))).status_code == 404
    unknown = (await world.delete("/Observation/unknown")).status_code
    assert (await world.delete("/Observation/ox")).status_code == unknown
    found = await world.store.get(Key("Observation", "ox"))
    assert found is not None
    assert not found.is_deleted


def content_of_x(url: str) -> dict[str, dict[str, Any]]:
    """Records of patient x that have a Binary as their content, each in its own way."""
    subject, attachment = {"reference": "Patient/x"}, {"url": url}
    return {
        "Media": {"status": "completed", "subject": subject, "content": attachment},
        "DocumentReference": {
            "status": "current",
            "subject": subject,
            "content": [{"attachment": attachment}],
        },
        "DiagnosticReport": {
            "status": "final",
            "code": {"text": "Film"},
            "subject": subject,
            "presentedForm": [attachment],
        },
    }


@pytest.mark.parametrize("url", ["Binary/b", f"{BASE}/Binary/b", "Binary/b/_history/1"])
@pytest.mark.parametrize("type", sorted(content_of_x("")))
async def test_a_binary_that_says_no_record_is_kept_back_with_what_has_it_as_its_content(
    world: World, type: str, url: str
) -> None:
    await fill(world)
    binary = {"resourceType": "Binary", "id": "b", "contentType": "text/plain", "data": "eA=="}
    await world.put("/Binary/b", binary)
    await world.put("/Binary/nobodys", binary | {"id": "nobodys"})
    holder = {"resourceType": type, "id": "h", **content_of_x(url)[type]}
    assert (await world.put(f"/{type}/h", holder)).status_code == 201
    await put_on(world)
    world.caller.principal = DOCTOR
    for place in ("/Binary/b", "/Binary/b/_history/1", "/Binary/b/_history"):
        assert (await world.get(place, Accept="text/plain, */*")).status_code == 404, place
    found = (await world.get("/Binary")).json()["entry"]
    assert {each["resource"]["id"] for each in found} == {"by", "nobodys"}
    assert (await world.get("/Binary/nobodys")).status_code == 200
    await take_off(world)
    assert (await world.get("/Binary/b")).status_code == 200


async def test_a_subscription_tells_nobody_of_it(told: Subscribed) -> None:
    await subscribe(told, SERVICE)
    await happens(told, "ox", "x")
    await put_on(told.world)
    await happens(told, "later", "x")
    await happens(told, "oy", "y")
    await told.deliver()
    # What waited is not delivered, what came later was never queued.
    assert told.hook.numbers == [2]


async def test_it_keeps_the_record_from_erasure(world: World) -> None:
    await put_on(world)
    with pytest.raises(HeldForLaw, match="processing is restricted of Patient/x: legal-claims"):
        await require_no_hold(world.store, Key("Patient", "x"))
    assert [each.patient for each in await restrictions(world.store)] == ["x"]
    assert await take_off(world)
    await require_no_hold(world.store, Key("Patient", "x"))


@pytest.mark.parametrize(
    "name", ["dr.amina", "user:", "CareTeam/c", "https://else.example/Patient/x"]
)
def test_who_can_not_be_named_is_refused(name: str) -> None:
    with pytest.raises(BadRestriction, match="not user:NAME, client:ID, or a reference"):
        actor_named(name)
