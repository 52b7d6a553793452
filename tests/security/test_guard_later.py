"""What comes later is judged later: notifications, results of requests that were put off, answers
that are given again."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from fhir_server.rights.erasure import Ordered, erase
from fhir_server.storage.port import Key
from tests.consent_world import consent, observation
from tests.fhir_world import START, World, extract
from tests.operation_world import world
from tests.security.test_guard_http import principal
from tests.stores import place
from tests.subscription_world import Subscribed, subscribed, subscription

__all__ = ["place", "world"]

SERVICE = principal(
    "system/*.cruds", subject="app", roles=frozenset(), fhir_user=None, patient=None
)
DOCTOR = principal("user/*.cruds", patient=None)
OF_X = "Observation?status=final"


@pytest.fixture
async def told(tmp_path: Path) -> AsyncIterator[Subscribed]:
    async with subscribed(tmp_path) as opened:
        yield opened


async def denied(world: World, patient: str, is_denied: bool = True) -> None:
    caller, world.caller.principal = world.caller.principal, None
    status = "active" if is_denied else "inactive"
    made = consent(patient, base="OPTOUT", status=status) | {"id": patient}
    assert (await world.put(f"/Consent/{patient}", made)).is_success
    world.caller.principal = caller


async def happens(told: Subscribed, id: str, patient: str) -> None:
    """An Observation is written by somebody who may."""
    world = told.world
    caller, world.caller.principal = world.caller.principal, None
    assert (await world.put(f"/Observation/{id}", observation(id, patient))).is_success
    await told.follow()
    world.caller.principal = caller


async def subscribe(told: Subscribed, who: object) -> None:
    """A Subscription of the caller's."""
    told.world.caller.principal = who  # type: ignore[assignment]
    await told.world.create(subscription(criteria=OF_X))
    told.world.caller.principal = None
    await told.follow()


async def test_a_subscription_tells_its_owner_no_more_than_they_may_see(told: Subscribed) -> None:
    await denied(told.world, "x")
    await subscribe(told, SERVICE)
    await happens(told, "ox", "x")
    assert await told.waiting() == []
    await happens(told, "oy", "y")
    assert await told.deliver() == 1
    # What was kept back has no number either.
    assert told.hook.numbers == [1]


async def test_what_is_denied_before_it_is_delivered_is_not(told: Subscribed) -> None:
    await subscribe(told, SERVICE)
    await happens(told, "ox", "x")
    await happens(told, "oy", "y")
    await denied(told.world, "x")
    await told.deliver()
    assert told.hook.numbers == [2]


@pytest.mark.parametrize("has_consents", [False, True])
async def test_of_what_is_erased_before_it_is_delivered_nobody_is_told(
    told: Subscribed, has_consents: bool
) -> None:
    if has_consents:
        await denied(told.world, "nobody")
    await subscribe(told, SERVICE)
    for id, patient in (("ox", "x"), ("oy", "y")):
        await happens(told, id, patient)
    ordered = Ordered(Key("Patient", "x"), "patient-request", lambda *_: b"{}", lambda: START)
    await erase(told.world.store, extract(), ordered)
    await told.deliver()
    assert told.hook.numbers == [2]
    assert await told.waiting() == []


async def test_a_granular_scope_bounds_what_is_told(told: Subscribed) -> None:
    few = "system/Observation.rs?patient=y system/Subscription.c"
    await subscribe(told, replace(SERVICE, scopes=few))
    await happens(told, "ox", "x")
    await happens(told, "oy", "y")
    assert await told.deliver() == 1


async def test_a_subscription_that_nobody_is_known_to_own_is_refused(told: Subscribed) -> None:
    from tests.guard_world import draft, write

    made = subscription(criteria=OF_X) | {"id": "old"}
    await write(told.world.store, draft(made))
    await told.follow()
    found = await told.read("old")
    assert (found["status"], "write it again" in found["error"]) == ("error", True)
    assert (await told.world.put("/Subscription/old", made)).status_code == 200
    await told.follow()
    assert (await told.read("old"))["status"] == "active"


async def test_a_result_is_not_shown_once_its_caller_may_see_less(world: World) -> None:
    await world.put("/Observation/ox", observation("ox", "x"))
    world.caller.principal = DOCTOR
    asked = await world.get("/Observation", Prefer="respond-async")
    url = asked.headers["content-location"].removeprefix("http://fhir.example/fhir")
    assert await world.runner.run_once() == 1
    assert "ox" in (await world.get(url)).text
    await denied(world, "x")
    later = await world.get(url)
    assert later.status_code == 403
    assert "ox" not in later.text
    await denied(world, "x", is_denied=False)
    assert "ox" in (await world.get(url)).text


async def test_a_request_that_was_put_off_is_answered_by_the_rights_of_then(world: World) -> None:
    await world.put("/Observation/ox", observation("ox", "x"))
    world.caller.principal = DOCTOR
    asked = await world.get("/Observation", Prefer="respond-async")
    await denied(world, "x")
    assert await world.runner.run_once() == 1
    url = asked.headers["content-location"].removeprefix("http://fhir.example/fhir")
    result = await world.get(url)
    assert result.status_code == 200
    assert "ox" not in result.text


async def test_an_answer_given_again_shows_nothing_that_is_denied_by_now(told: Subscribed) -> None:
    world = told.world
    world.caller.principal = DOCTOR
    body = observation("", "x")
    del body["id"]
    first = await world.post("/Observation", body, Idempotency_Key='"k"')
    assert first.status_code == 201
    await denied(world, "x")
    again = await world.post("/Observation", body, Idempotency_Key='"k"')
    assert again.status_code == 403
    assert first.json()["id"] not in again.text


async def test_what_has_been_hidden_can_not_be_undone(told: Subscribed) -> None:
    world = told.world
    world.caller.principal = DOCTOR
    body = observation("", "x")
    del body["id"]
    entry = {"request": {"method": "POST", "url": "Observation"}, "resource": body}
    made = await world.post(
        "/", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    )
    await denied(world, "x")
    parameter = [{"name": "transaction", "valueId": made.json()["id"]}]
    undo = {"resourceType": "Parameters", "parameter": parameter}
    hidden = await world.post("/$undo", undo)
    parameter[0]["valueId"] = "unknown"
    unknown = await world.post("/$undo", undo)
    assert hidden.status_code == unknown.status_code == 404
    world.caller.principal = None
    assert await world.count("Observation") == 1
