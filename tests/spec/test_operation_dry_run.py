"""$dry-run: what a transaction would change."""

from typing import Any

import pytest

from tests.fhir_world import Json, World, observation, text_of
from tests.operation_world import (
    caller,
    measured,
    named,
    place,
    post,
    put,
    store_all,
    transaction,
    world,
)

__all__ = ["place", "world"]

MRN = {"system": "http://ward.example/mrn", "value": "1"}
URN = "urn:uuid:6d3e8c5a-0f0b-4a7e-9f57-8b1c1a6d2f10"


def of(parts: list[Json], name: str) -> list[Any]:
    """The values of the parts of this name; a list of parts for one that has parts."""
    return [
        next(value for key, value in each.items() if key != "name")
        for each in parts
        if each["name"] == name
    ]


async def foreseen(world: World, bundle: Json) -> tuple[str, list[list[Json]]]:
    """The outcome, and the parts of each entry."""
    response = await world.post("/$dry-run", bundle)
    assert response.status_code == 200, response.text
    parts = response.json()["parameter"]
    return of(parts, "outcome")[0], of(parts, "entry")


@pytest.fixture
async def ward(world: World) -> World:
    await store_all(
        world,
        named("Patient", "a", identifier=[MRN], name=[{"family": "Old", "given": ["Ann"]}]),
        measured("o", "a"),
    )
    return world


async def test_each_entry_tells_its_action_and_nothing_is_written(ward: World) -> None:
    before = len(await ward.journal())
    bundle = transaction(
        post(named("Patient", "x", name=[{"family": "New"}]), URN),
        post(observation(subject={"reference": URN})),
        put(named("Patient", "a", identifier=[MRN], name=[{"family": "New", "given": ["Ann"]}])),
        {"request": {"method": "DELETE", "url": "Observation/o"}},
        {"request": {"method": "GET", "url": "Patient/a"}},
        {"request": {"method": "DELETE", "url": "Observation/never"}},
    )
    outcome, entries = await foreseen(ward, bundle)
    assert outcome == "would-commit"
    actions = [of(parts, "action")[0] for parts in entries]
    assert actions == ["create", "create", "update", "delete", "read", "no-op"]
    new = of(entries[0], "target")[0]["reference"]
    assert of(entries[0], "id-is-promised") == [False]
    link = of(entries[1], "link")[0]
    assert of(link, "path") == ["Observation.subject.reference"]
    assert (of(link, "before"), of(link, "after")) == ([URN], [new])
    change = of(entries[2], "change")
    assert [(of(each, "path"), of(each, "before"), of(each, "after")) for each in change] == [
        (["Patient.name[0].family"], ["Old"], ["New"])
    ]
    assert of(entries[2], "id-is-promised") == [True]
    assert of(entries[3], "target") == [{"reference": "Observation/o"}]
    records = (await ward.journal())[before:]
    assert [(each["interaction"], each["query"]) for each in records] == [("operation", "$dry-run")]
    assert await ward.count("Patient") == 1
    assert await ward.count("Observation") == 1
    current = (await ward.get("/Patient/a")).json()
    assert (current["meta"]["versionId"], current["name"][0]["family"]) == ("1", "Old")


async def test_the_transaction_then_does_what_was_foreseen(ward: World) -> None:
    bundle = transaction(
        put(named("Patient", "a", name=[{"family": "New"}])),
        {"request": {"method": "DELETE", "url": "Observation/o"}},
    )
    _, entries = await foreseen(ward, bundle)
    done = (await ward.post("", bundle)).json()["entry"]
    assert [of(parts, "status")[0] for parts in entries] == [
        each["response"]["status"] for each in done
    ]


async def test_matches_and_duplicates_are_told(ward: World) -> None:
    same = named("Patient", "x", identifier=[MRN])
    condition = f"identifier={MRN['system']}|{MRN['value']}"
    bundle = transaction(post(same, ifNoneExist=condition), post(same))
    _, entries = await foreseen(ward, bundle)
    assert of(entries[0], "action") == ["match"]
    assert of(entries[0], "target") == [{"reference": "Patient/a"}]
    assert of(entries[1], "action") == ["create"]
    assert of(entries[1], "duplicate") == [{"reference": "Patient/a"}]


async def test_every_problem_is_told_at_its_entry(ward: World) -> None:
    bundle = transaction(
        post(named("Patient", "x", gender="unheard-of"), URN),
        post(observation(subject={"reference": URN})),
        post(observation(status="maybe")),
        put(named("Patient", "a")) | {"request": {"method": "PUT", "url": "Patient/a",
                                                  "ifMatch": 'W/"7"'}},
        post(observation(subject={"reference": "Patient?identifier=nobody"})),
    )  # fmt: skip
    outcome, entries = await foreseen(ward, bundle)
    assert outcome == "would-fail"
    actions = [of(parts, "action")[0] for parts in entries]
    assert actions == ["refused", "create", "refused", "refused", "refused"]
    said = [of(parts, "problems")[0]["issue"][0] for parts in entries if of(parts, "problems")]
    assert "gender" in said[0]["expression"][0]
    assert "status" in said[1]["expression"][0]
    assert "version 7" in said[2]["diagnostics"]
    assert said[3]["code"] == "not-found"


async def test_what_the_caller_may_not_do_is_a_problem_too(ward: World) -> None:
    ward.caller.principal = caller("user/Patient.rs")
    outcome, entries = await foreseen(ward, transaction(put(named("Patient", "a"))))
    assert outcome == "would-fail"
    assert of(entries[0], "problems")[0]["issue"][0]["code"] == "forbidden"


async def test_only_a_transaction_can_be_tried(ward: World) -> None:
    batch = {"resourceType": "Bundle", "type": "batch"}
    response = await ward.post("/$dry-run", batch)
    assert response.status_code == 400
    assert "batch" in text_of(response)
    assert (await ward.post("/$dry-run", named("Patient", "a"))).status_code == 400
    broken = {"resourceType": "Bundle", "type": "transaction", "entry": "none"}
    assert (await foreseen(ward, broken))[0] == "would-fail"


async def test_the_bundle_may_come_in_parameters(ward: World) -> None:
    body = {
        "resourceType": "Parameters",
        "parameter": [{"name": "bundle", "resource": transaction(put(named("Patient", "n")))}],
    }
    _, entries = await foreseen(ward, body)
    assert of(entries[0], "action") == ["create"]
    assert of(entries[0], "id-is-promised") == [True]
