"""What the patient does not permit is refused where it is asked for, by whatever kind of write."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fhir_server.fhir.assessment import ASSESSMENT
from fhir_server.fhir.withdrawn import NOT_PERMITTED
from tests.fhir_world import BASE, World, fhir_world, text_of
from tests.spec.test_withdrawal import DOCTOR, withdraw, withdrawals

REFUSES, PERMITS = "Patient/refuses", "Patient/permits"
NAMED = [{"system": "urn:ids", "value": "refuses"}]
REQUESTED = [{"op": "replace", "path": "/status", "value": "requested"}]
Json = dict[str, Any]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Two patients, one of whom does not permit it; a doctor asks."""
    async with fhir_world(tmp_path) as opened:
        for each in (REFUSES, PERMITS):
            made = {"resourceType": "Patient", "id": each.partition("/")[2]}
            assert (await opened.put(f"/{each}", made | {"identifier": NAMED})).is_success
        await withdraw(opened, REFUSES)
        opened.caller.principal = DOCTOR
        yield opened


def task(of: str, status: str = "requested", **rest: Any) -> Json:
    return {
        "resourceType": "Task",
        "status": status,
        "intent": "order",
        "code": {"coding": [ASSESSMENT]},
        "for": {"reference": of},
        **rest,
    }


def posted(resource: Json) -> Json:
    return {
        "resource": resource,
        "request": {"method": "POST", "url": resource["resourceType"]},
    }


def bundle(type: str, *entries: Json) -> Json:
    return {"resourceType": "Bundle", "type": type, "entry": list(entries)}


def require_refused(status: int, outcome: Json) -> None:
    (issue,) = outcome["issue"]
    assert (status, issue["code"]) == (422, "suppressed")
    assert issue["diagnostics"] == NOT_PERMITTED


async def test_in_a_batch_the_others_go_on(world: World) -> None:
    entries = [posted(task(PERMITS)), posted(task(REFUSES)), posted({"resourceType": "Patient"})]
    answer = await world.post("", bundle("batch", *entries))
    assert answer.status_code == 200, answer.text
    answered = [each["response"] for each in answer.json()["entry"]]
    assert [each["status"][:3] for each in answered] == ["201", "422", "201"]
    require_refused(422, answered[1]["outcome"])
    assert await world.count("Task") == 1


async def test_a_transaction_is_refused_whole(world: World) -> None:
    entries = [posted(task(PERMITS)), posted(task(REFUSES))]
    answer = await world.post("", bundle("transaction", *entries))
    require_refused(answer.status_code, answer.json())
    assert await world.count("Task") == 0


async def test_a_transaction_that_names_the_patient_by_its_own_entry_is_refused(
    world: World,
) -> None:
    patient = {
        "fullUrl": "urn:uuid:00000000-0000-4000-8000-000000000001",
        "resource": {"resourceType": "Patient", "id": "refuses", "identifier": NAMED},
        "request": {"method": "PUT", "url": REFUSES},
    }
    asked = posted(task(patient["fullUrl"]))  # type: ignore[arg-type]
    answer = await world.post("", bundle("transaction", patient, asked))
    require_refused(answer.status_code, answer.json())
    assert await world.count("Task") == 0


async def test_a_patch_that_asks_for_it_is_refused(world: World) -> None:
    assert (await world.put("/Task/a", task(REFUSES, "draft", id="a"))).status_code == 201
    answer = await world.patch("/Task/a", REQUESTED)
    require_refused(answer.status_code, answer.json())
    assert (await world.get("/Task/a")).json()["status"] == "draft"
    assert (await world.put("/Task/b", task(PERMITS, "draft", id="b"))).status_code == 201
    assert (await world.patch("/Task/b", REQUESTED)).status_code == 200
    moved = [{"op": "replace", "path": "/for/reference", "value": REFUSES}]
    answer = await world.patch("/Task/b", moved)
    require_refused(answer.status_code, answer.json())


@pytest.mark.parametrize("of", [f"{BASE}/{REFUSES}", f"{REFUSES}/_history/1"])
async def test_however_the_patient_is_named(world: World, of: str) -> None:
    answer = await world.post("/Task", task(of))
    require_refused(answer.status_code, answer.json())


async def test_a_task_that_is_said_to_be_under_way_is_refused_too(world: World) -> None:
    answer = await world.post("/Task", task(REFUSES, "in-progress"))
    require_refused(answer.status_code, answer.json())


@pytest.mark.parametrize("of", [f"{BASE}/{REFUSES}", f"{REFUSES}/_history/1"])
async def test_what_waits_is_cancelled_however_it_names_the_patient(world: World, of: str) -> None:
    world.caller.principal = None
    assert (await world.put("/Task/a", task(of, id="a"))).status_code == 201
    assert await withdrawals(world).look() == 1
    assert (await world.get("/Task/a")).json()["status"] == "cancelled"


async def test_other_tasks_and_those_that_ask_for_nothing_are_taken(world: World) -> None:
    other = {"coding": [{"system": "http://hl7.org/fhir/CodeSystem/task-code", "code": "fulfill"}]}
    for made in (task(REFUSES, "draft"), task(REFUSES, code=other)):
        answer = await world.post("/Task", made)
        assert answer.status_code == 201, text_of(answer)
