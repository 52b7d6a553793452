"""What the server defines itself is on the server: written once, and again only when changed."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from fhir_server.audit.event import audit_event
from fhir_server.fhir.assessment import FINDINGS
from fhir_server.publication import Publisher, publish
from fhir_server.storage.port import Key
from terminology import own
from tests.fhir_world import BASE, World, extract, fhir_world, validator

FINDING = Key("CodeSystem", "medsage-finding")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with fhir_world(tmp_path) as opened:
        yield opened


def publisher(world: World) -> Publisher:
    numbers = iter(range(1, 1000))
    return Publisher(
        world.store,
        extract(),
        world.clock,
        lambda: f"00000000-0000-4000-8000-{next(numbers):012d}",
        BASE,
    )


async def test_a_code_that_one_meets_can_be_looked_up(world: World) -> None:
    await publish(publisher(world), own.resources())

    response = await world.get(f"/CodeSystem?url={FINDINGS}")

    (entry,) = response.json()["entry"]
    assert entry["resource"]["id"] == FINDING.id
    assert "parasites-suspected" in {c["code"] for c in entry["resource"]["concept"]}
    found = await world.get("/CodeSystem?code=ai-refusal")
    assert [e["resource"]["id"] for e in found.json()["entry"]] == ["medsage-audit-event"]


async def test_everything_is_published_with_an_audit_record(world: World) -> None:
    resources = own.resources()

    assert await publish(publisher(world), resources) == len(resources)

    events = [audit_event(each.entry) for each in await world.store.journal(1000)]
    published = {event["entity"][0]["what"]["reference"] for event in events}
    assert published == {f"{r['resourceType']}/{r['id']}" for r in resources}
    for event in events:
        assert validator().issues(event) == ()
        assert event["meta"]["profile"][0].endswith("IHE.BasicAudit.Update")
        assert [a["name"] for a in event["agent"] if a["requestor"]] == ["MedSAGE"]
        assert event["outcomeDesc"] == "201"


async def test_a_second_start_writes_nothing(world: World) -> None:
    await publish(publisher(world), own.resources())
    records = len(await world.journal())

    assert await publish(publisher(world), own.resources()) == 0

    assert len(await world.journal()) == records
    stored = await world.store.get(FINDING)
    assert stored is not None
    assert stored.version == 1


async def test_only_what_changed_gets_another_version(world: World) -> None:
    await publish(publisher(world), own.resources())
    changed = own.resources()
    changed[0]["description"] = "Said better."

    assert await publish(publisher(world), changed) == 1

    versions = {
        key.id: stored.version
        for key, stored in (
            await world.store.get_many([Key(r["resourceType"], r["id"]) for r in changed])
        ).items()
    }
    assert versions.pop(changed[0]["id"]) == 2
    assert set(versions.values()) == {1}
    stored = await world.store.get(Key(changed[0]["resourceType"], changed[0]["id"]))
    assert stored is not None
    assert orjson.loads(stored.body)["description"] == "Said better."


async def test_of_two_that_start_at_once_one_publishes(world: World) -> None:
    resources = own.resources()

    written = await asyncio.gather(*(publish(publisher(world), resources) for _ in range(2)))

    assert sorted(written) == [0, len(resources)]
    assert len(await world.journal()) == len(resources)


async def test_what_somebody_changed_or_deleted_comes_back(world: World) -> None:
    await publish(publisher(world), own.resources())
    await world.delete("/Questionnaire/medsage-malaria-intake")

    assert await publish(publisher(world), own.resources()) == 1

    assert (await world.get("/Questionnaire/medsage-malaria-intake")).status_code == 200
