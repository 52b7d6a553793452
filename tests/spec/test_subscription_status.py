"""R4 Subscription.status: what the server makes of a request, and what it says when it can't."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fhir_server.audit.event import audit_event
from fhir_server.storage.port import Key
from fhir_server.subscriptions.state import activate, set_status
from tests.fhir_world import START
from tests.subscription_world import Subscribed, subscribed, subscription, task


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Subscribed]:
    async with subscribed(tmp_path) as opened:
        yield opened


async def test_a_requested_subscription_becomes_active(world: Subscribed) -> None:
    id_ = await world.world.create(subscription())
    await world.follow()
    found = await world.read(id_)
    assert (found["status"], found["meta"]["versionId"]) == ("active", "2")
    assert "error" not in found


async def test_the_servers_own_update_is_audited(world: Subscribed) -> None:
    id_ = await world.subscribe()
    journal = await world.world.store.journal(100)
    (own,) = [each for each in journal if b"medsage-server" in each.entry]
    event = audit_event(own.entry)
    (entity,) = event["entity"][:1]
    assert event["action"] == "U"
    assert entity["what"] == {"reference": f"Subscription/{id_}"}
    assert entity["detail"] == [{"type": "versionId", "valueString": "2"}]
    assert "MedSAGE server" in {agent.get("name") for agent in event["agent"]}


UNUSABLE: dict[str, tuple[dict[str, Any], str]] = {
    "another channel": ({"channel": {"type": "email"}}, "channel type email is not supported"),
    "a payload": ({"channel": {"payload": "application/fhir+json"}}, "payload is not supported"),
    "no endpoint": ({"channel": {"endpoint": "urn:uuid:0"}}, "must be an http or https URL"),
    "a file": ({"channel": {"endpoint": "file:///etc/passwd"}}, "must be an http or https URL"),
    "a broken URL": ({"channel": {"endpoint": "http://[::1"}}, "must be an http or https URL"),
    "a broken port": ({"channel": {"endpoint": "http://a.example:x/"}}, "must be an http or https"),
    "a header that is none": ({"channel": {"header": ["nothing"]}}, "lines like Name: value"),
    "two header lines": ({"channel": {"header": ["A: b\r\nC: d"]}}, "lines like Name: value"),
    "a header beyond ASCII": ({"channel": {"header": ["A: \u2713"]}}, "lines like Name: value"),
    "a header of the connection": ({"channel": {"header": ["Host: a"]}}, "can't set Host"),
    "an unknown type": ({"criteria": "Foo?status=x"}, "Foo"),
    "an unknown parameter": ({"criteria": "Task?colour=red"}, "'colour' is not a search parameter"),
    "an unknown modifier": ({"criteria": "Task?status:red=x"}, "'red' is no modifier"),
    "a result parameter": ({"criteria": "Task?status=x&_count=1"}, "_count has no place"),
    "no criterion": ({"criteria": "Task"}, "no search criterion"),
    "a chain": ({"criteria": "Task?patient.name=x"}, "a chain"),
    "a chain behind a test": (
        {"criteria": "Task?status=x&patient.name=x"},
        "a chain",
    ),
    "a chain in a filter": ({"criteria": "Task?_filter=not (patient.name eq x)"}, "a chain"),
    "a broken filter": ({"criteria": "Task?_filter=status is x"}, "_filter, column 8"),
    "a reverse chain": (
        {"criteria": "Patient?_has:Task:patient:status=x"},
        "a chain",
    ),
}


@pytest.mark.parametrize("case", UNUSABLE)
async def test_an_unusable_subscription_says_why(world: Subscribed, case: str) -> None:
    changes, reason = UNUSABLE[case]
    id_ = await world.world.create(subscription(**changes))
    await world.follow()
    found = await world.read(id_)
    assert found["status"] == "error"
    assert reason in found["error"]


async def test_one_that_is_put_right_becomes_active_without_its_error(world: Subscribed) -> None:
    id_ = await world.world.create(subscription(criteria="Task?colour=red"))
    await world.follow()
    await world.world.put(f"/Subscription/{id_}", subscription(id=id_))
    await world.follow()
    found = await world.read(id_)
    assert found["status"] == "active"
    assert "error" not in found


async def test_an_unusable_one_does_not_hold_up_the_others(world: Subscribed) -> None:
    await world.world.create(subscription(criteria="Task?status=x&patient.name=x"))
    await world.world.create(subscription(channel={"endpoint": "http://[::1"}))
    await world.subscribe()
    await world.world.create(task())
    await world.follow()
    assert len(await world.waiting()) == 1


async def test_what_is_off_stays_off(world: Subscribed) -> None:
    id_ = await world.world.create(subscription(status="off"))
    await world.world.create(task())
    await world.follow()
    assert (await world.read(id_))["status"] == "off"
    assert await world.waiting() == []


@pytest.mark.parametrize("zone", ["Z", "+02:00"])
async def test_the_end_turns_it_off(world: Subscribed, zone: str) -> None:
    hour = START + timedelta(hours=1 if zone == "Z" else 3)
    id_ = await world.subscribe(end=f"{hour:%Y-%m-%dT%H:%M:%S}{zone}")
    await world.world.create(task())
    await world.follow()
    assert len(await world.waiting()) == 1
    world.world.clock.now += timedelta(hours=1)
    await world.world.create(task())
    await world.follow()
    assert len(await world.waiting()) == 1
    assert (await world.read(id_))["status"] == "off"


async def test_one_that_is_asked_for_after_its_end_is_off(world: Subscribed) -> None:
    id_ = await world.world.create(subscription(end="2026-11-24T07:59:59Z"))
    await world.follow()
    assert (await world.read(id_))["status"] == "off"


async def test_a_newer_version_is_not_overwritten(world: Subscribed) -> None:
    """The follower judged version 1, which somebody has switched off in the meantime."""
    id_ = await world.world.create(subscription())
    first = await world.world.store.get(Key("Subscription", id_))
    assert first is not None
    await world.world.put(f"/Subscription/{id_}", subscription(id=id_, status="off"))
    await activate(world.parts(), first)
    await set_status(world.parts(), first, "error", "too late")
    assert (await world.read(id_))["status"] == "off"
