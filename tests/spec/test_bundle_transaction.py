"""R4 RESTful API, "transaction": all or nothing, in R4's order, every problem at once."""

import asyncio

import pytest

from tests.bundles import entry, transaction
from tests.fhir_world import PATIENT, Json, World, issues, observation

KNOWN = PATIENT | {"identifier": [{"system": "urn:mrn", "value": "17"}]}


async def test_everything_is_written_with_version_and_location(world: World) -> None:
    response = await world.post(
        "",
        transaction(
            entry("POST", "Patient", PATIENT),
            entry("PUT", "Observation/o1", observation(id="o1")),
        ),
    )
    assert response.status_code == 200
    bundle = response.json()
    assert bundle["type"] == "transaction-response"
    first, second = (each["response"] for each in bundle["entry"])
    assert first["status"] == second["status"] == "201 Created"
    assert second["location"] == "Observation/o1/_history/1"
    assert second["etag"] == 'W/"1"'
    assert second["lastModified"].startswith("2026-11-24T08:00:00")
    assert (await world.get(f"/{first['location']}")).status_code == 200


async def test_a_resource_without_a_request_is_told_so(world: World) -> None:
    response = await world.post(
        "", transaction(entry("POST", "Patient", PATIENT), {"resource": PATIENT})
    )
    assert response.status_code == 400
    assert issues(response)[0]["expression"] == ["Bundle.entry[1].request"]
    assert "needs a request" in issues(response)[0]["diagnostics"]
    assert await world.count("Patient") == 0


async def test_one_bad_entry_leaves_nothing_behind(world: World) -> None:
    response = await world.post(
        "",
        transaction(
            entry("POST", "Patient", PATIENT),
            entry("DELETE", "Patient/p1", ifMatch='W/"4"'),
        ),
    )
    assert response.status_code == 412
    assert issues(response)[0]["expression"] == ["Bundle.entry[1]"]
    assert await world.count("Patient") == 0
    journal = await world.journal()
    assert [(each["interaction"], each["outcome"]) for each in journal] == [
        ("transaction", "refused")
    ]


async def test_the_problems_of_all_entries_are_reported_at_once(world: World) -> None:
    response = await world.post(
        "",
        transaction(
            entry("POST", "Patient", PATIENT | {"gender": "x", "colour": "red"}),
            entry("POST", "Observation", observation(subject={"reference": "urn:uuid:none"})),
            entry("PUT", "Patient/p1", PATIENT | {"id": "p2"}),
            entry("POST", "Nothing", PATIENT),
            entry("PATCH", "Patient/p3", PATIENT),
            entry("POST", "Patient", PATIENT, ifNoneExist="colour=red"),
        ),
    )
    assert response.status_code == 400
    found = {each for issue in issues(response) for each in issue["expression"]}
    assert {
        "Bundle.entry[0].resource.gender",
        "Bundle.entry[1].resource.subject.reference",
        "Bundle.entry[2].resource.id",
        "Bundle.entry[3]",
        "Bundle.entry[4].resource",
        "Bundle.entry[5]",
    } <= found
    assert any(each.startswith("Bundle.entry[0].resource.colour") for each in found) or any(
        "colour" in issue["diagnostics"] for issue in issues(response)
    )
    assert await world.count("Patient") == 0


async def test_deletes_come_first_then_creates_then_updates_then_reads(world: World) -> None:
    await world.put("/Patient/p1", KNOWN | {"id": "p1"})
    response = await world.post(
        "",
        transaction(
            entry("GET", "Patient/p2"),
            entry("PUT", "Patient/p2", PATIENT | {"id": "p2"}),
            entry("POST", "Patient", KNOWN, ifNoneExist="identifier=urn:mrn|17"),
            entry("DELETE", "Patient/p1"),
            entry("GET", "Patient?identifier=urn:mrn|17"),
        ),
    )
    assert response.status_code == 200, response.text
    read, updated, created, deleted, searched = response.json()["entry"]
    assert read["resource"]["id"] == "p2"
    assert updated["response"]["status"] == "201 Created"
    # The only match is deleted by the same transaction, so a new one is created.
    assert created["response"]["status"] == "201 Created"
    assert deleted["response"]["status"] == "204 No Content"
    new_id = created["response"]["location"].split("/")[1]
    assert [each["resource"]["id"] for each in searched["resource"]["entry"]] == [new_id]


async def test_a_read_that_fails_fails_the_transaction(world: World) -> None:
    response = await world.post(
        "", transaction(entry("POST", "Patient", PATIENT), entry("GET", "Patient/nobody"))
    )
    assert response.status_code == 404
    assert issues(response)[0]["expression"] == ["Bundle.entry[1]"]
    assert await world.count("Patient") == 0


@pytest.mark.parametrize(
    "entries",
    [
        [
            entry("PUT", "Patient/p1", PATIENT | {"id": "p1"}),
            entry("PUT", "Patient/p1", PATIENT | {"id": "p1"}),
        ],
        [entry("PUT", "Patient/p1", PATIENT | {"id": "p1"}), entry("DELETE", "Patient/p1")],
        [
            entry("POST", "Patient", PATIENT) | {"fullUrl": "urn:uuid:1"},
            entry("POST", "Patient", PATIENT) | {"fullUrl": "urn:uuid:1"},
        ],
    ],
)
async def test_overlapping_identities_fail_it(world: World, entries: list[Json]) -> None:
    response = await world.post("", transaction(*entries))
    assert response.status_code == 400
    assert any("Bundle.entry[1]" in each["expression"][0] for each in issues(response))
    assert await world.count("Patient") == 0


async def test_updates_honour_their_conditions(world: World) -> None:
    id = await world.create(PATIENT)
    body = PATIENT | {"id": id, "gender": "female"}
    stale = transaction(entry("PUT", f"Patient/{id}", body, ifMatch='W/"2"'))
    assert (await world.post("", stale)).status_code == 412
    current = transaction(entry("PUT", f"Patient/{id}", body, ifMatch='W/"1"'))
    answer = (await world.post("", current)).json()["entry"][0]["response"]
    assert (answer["status"], answer["etag"]) == ("200 OK", 'W/"2"')


async def test_a_conditional_create_answers_with_its_match(world: World) -> None:
    id = await world.create(KNOWN)
    asked = transaction(entry("POST", "Patient", KNOWN, ifNoneExist="identifier=urn:mrn|17"))
    answer = (await world.post("", asked)).json()["entry"][0]["response"]
    assert answer["status"] == "200 OK"
    assert answer["location"] == f"Patient/{id}/_history/1"
    assert await world.count("Patient") == 1


async def test_two_conditional_creates_of_one_transaction_give_one_resource(world: World) -> None:
    one = entry("POST", "Patient", KNOWN, ifNoneExist="identifier=urn:mrn|17")
    answers = (await world.post("", transaction(one, one))).json()["entry"]
    assert [each["response"]["status"] for each in answers] == ["201 Created", "200 OK"]
    assert answers[0]["response"]["location"] == answers[1]["response"]["location"]
    assert await world.count("Patient") == 1


async def test_conditional_creates_in_transactions_at_once_give_one_resource(
    world: World,
) -> None:
    asked = transaction(entry("POST", "Patient", KNOWN, ifNoneExist="identifier=urn:mrn|17"))
    answers = await asyncio.gather(*(world.post("", asked) for _ in range(20)))
    statuses = sorted(each.json()["entry"][0]["response"]["status"] for each in answers)
    assert statuses == ["200 OK"] * 19 + ["201 Created"]
    assert await world.count("Patient") == 1


async def test_every_entry_leaves_its_audit_record_in_the_same_commit(world: World) -> None:
    await world.post(
        "",
        transaction(
            entry("POST", "Patient", PATIENT) | {"fullUrl": "urn:uuid:1"},
            entry("POST", "Observation", observation(subject={"reference": "urn:uuid:1"})),
            entry("DELETE", "Patient/p9"),
            entry("GET", "Observation"),
        ),
    )
    journal = await world.journal()
    assert sorted(each["interaction"] for each in journal) == [
        "create",
        "create",
        "delete",
        "search-type",
        "transaction",
    ]
    patients = {each.get("patient") for each in journal if each["interaction"] == "create"}
    assert len(patients) == 1


async def test_a_history_inside_a_transaction_is_refused_by_name(world: World) -> None:
    id = await world.create(PATIENT)
    response = await world.post("", transaction(entry("GET", f"Patient/{id}/_history")))
    assert response.status_code == 400
    assert "history" in issues(response)[0]["diagnostics"]


async def test_a_large_transaction_is_one_unit(world: World) -> None:
    entries = [entry("POST", "Observation", observation()) for _ in range(300)]
    entries.append(entry("DELETE", "Patient/p1", ifMatch='W/"1"'))
    assert (await world.post("", transaction(*entries))).status_code == 412
    assert await world.count("Observation") == 0
    assert (await world.post("", transaction(*entries[:-1]))).status_code == 200
    assert await world.count("Observation") == 300
