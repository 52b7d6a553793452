"""R4 RESTful API: create, update, delete, version-aware updates, Prefer."""

import asyncio
from pathlib import Path

import pytest

from tests.fhir_world import BASE, PATIENT, World, fhir_world, issues, observation, text_of


async def test_create_gives_an_id_and_a_location(world: World) -> None:
    response = await world.post("/Patient", PATIENT | {"id": "mine", "meta": {"versionId": "9"}})
    assert response.status_code == 201
    made = response.json()
    assert made["id"] != "mine"
    assert made["meta"]["versionId"] == "1"
    assert response.headers["location"] == f"{BASE}/Patient/{made['id']}/_history/1"
    assert response.headers["etag"] == 'W/"1"'
    assert "last-modified" in response.headers


async def test_meta_is_kept_except_for_what_the_server_decides(world: World) -> None:
    meta = {"tag": [{"system": "urn:s", "code": "c"}], "lastUpdated": "2001-01-01T00:00:00Z"}
    made = (await world.post("/Patient", PATIENT | {"meta": meta})).json()
    assert made["meta"]["tag"] == meta["tag"]
    assert made["meta"]["lastUpdated"].startswith("2026-11-24")


async def test_all_problems_are_reported_at_once_with_their_places(world: World) -> None:
    body = {"resourceType": "Observation", "code": {"text": 3}, "colour": "red"}
    response = await world.post("/Observation", body)
    assert response.status_code == 400
    found = {each for issue in issues(response) for each in issue.get("expression", ())}
    assert len(issues(response)) >= 3
    assert {"Observation.code.text"} <= found
    assert await world.count("Observation") == 0


async def test_update_makes_the_next_version(world: World) -> None:
    id = await world.create(PATIENT)
    response = await world.put(f"/Patient/{id}", PATIENT | {"id": id, "gender": "female"})
    assert response.status_code == 200
    assert response.headers["etag"] == 'W/"2"'
    assert "location" not in response.headers
    assert response.json()["gender"] == "female"


async def test_update_to_a_new_id_creates(world: World) -> None:
    response = await world.put("/Patient/p1", PATIENT | {"id": "p1"})
    assert response.status_code == 201
    assert response.headers["location"] == f"{BASE}/Patient/p1/_history/1"
    assert (await world.get("/Patient/p1")).status_code == 200


async def test_update_after_delete_goes_on_with_the_versions(world: World) -> None:
    await world.put("/Patient/p1", PATIENT | {"id": "p1"})
    await world.delete("/Patient/p1")
    response = await world.put("/Patient/p1", PATIENT | {"id": "p1"})
    assert response.status_code == 201
    assert response.headers["etag"] == 'W/"3"'


async def test_last_updated_only_grows_even_when_the_clock_does_not(world: World) -> None:
    id = await world.create(PATIENT)
    first = (await world.get(f"/Patient/{id}")).json()["meta"]["lastUpdated"]
    world.clock.now = world.clock.now.replace(year=2020)
    changed = PATIENT | {"id": id, "gender": "female"}
    second = (await world.put(f"/Patient/{id}", changed)).json()["meta"]["lastUpdated"]
    assert second > first


@pytest.mark.parametrize("body", [PATIENT, PATIENT | {"id": "other"}])
async def test_update_needs_the_id_of_the_url(world: World, body: dict[str, object]) -> None:
    response = await world.put("/Patient/p1", body)
    assert response.status_code == 400
    assert issues(response)[0]["expression"] == ["Patient.id"]


async def test_update_with_stale_if_match_is_412(world: World) -> None:
    id = await world.create(PATIENT)
    body = PATIENT | {"id": id, "gender": "female"}
    assert (await world.put(f"/Patient/{id}", body, If_Match='W/"1"')).status_code == 200
    stale = await world.put(f"/Patient/{id}", body, If_Match='W/"1"')
    assert stale.status_code == 412
    assert "version 1" in text_of(stale)
    assert (await world.get(f"/Patient/{id}")).headers["etag"] == 'W/"2"'


async def test_if_match_on_what_does_not_exist_is_412(world: World) -> None:
    response = await world.put("/Patient/p1", PATIENT | {"id": "p1"}, If_Match='W/"1"')
    assert response.status_code == 412
    assert await world.count("Patient") == 0


async def test_put_if_none_match_star_never_overwrites(world: World) -> None:
    body = PATIENT | {"id": "p1"}
    assert (await world.put("/Patient/p1", body, If_None_Match="*")).status_code == 201
    assert (await world.put("/Patient/p1", body, If_None_Match="*")).status_code == 412


async def test_of_many_updates_with_the_same_if_match_exactly_one_wins(world: World) -> None:
    id = await world.create(PATIENT)
    genders = ["male", "female", "other", "unknown"] * 5
    answers = await asyncio.gather(
        *(
            world.put(f"/Patient/{id}", PATIENT | {"id": id, "gender": gender}, If_Match='W/"1"')
            for gender in genders
        )
    )
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] + [412] * 19
    assert (await world.get(f"/Patient/{id}")).headers["etag"] == 'W/"2"'


async def test_updates_without_if_match_all_succeed_one_after_the_other(world: World) -> None:
    id = await world.create(PATIENT)
    answers = await asyncio.gather(
        *(
            world.put(f"/Patient/{id}", PATIENT | {"id": id, "language": f"x-{number}"})
            for number in range(20)
        )
    )
    assert sorted(answer.headers["etag"] for answer in answers) == sorted(
        f'W/"{version}"' for version in range(2, 22)
    )


async def test_an_update_that_says_the_same_keeps_the_version_and_is_audited(world: World) -> None:
    body = PATIENT | {"id": "p1", "meta": {"tag": [{"system": "urn:s", "code": "c"}]}}
    first = await world.put("/Patient/p1", body)
    again = await world.put("/Patient/p1", dict(reversed(body.items())))
    assert (first.status_code, again.status_code) == (201, 200)
    for name in ("etag", "last-modified"):
        assert again.headers[name] == first.headers[name]
    assert again.content == first.content
    assert "location" not in again.headers
    assert (await world.get("/Patient/p1/_history")).json()["total"] == 1
    writes = (await world.journal())[:2]
    assert [(each["interaction"], each["version"]) for each in writes] == [
        ("update", 1),
        ("update", 1),
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"multipleBirthInteger": 2},
        {"name": [{"family": "Chalmers"}, {"given": ["P"]}]},
        {"meta": {"tag": [{"system": "urn:s", "code": "c"}]}},
    ],
)
async def test_an_update_that_says_anything_else_makes_a_version(
    world: World, changes: dict[str, object]
) -> None:
    body = PATIENT | {"id": "p1", "multipleBirthInteger": 1}
    await world.put("/Patient/p1", body)
    assert (await world.put("/Patient/p1", body | changes)).headers["etag"] == 'W/"2"'


async def test_another_number_of_digits_is_another_value(world: World) -> None:
    body = b"""{"resourceType":"Observation","id":"o1","status":"final","code":{"text":"x"},
        "valueQuantity":{"value":%s}}"""
    await world.put("/Observation/o1", body % b"1.50")
    assert (await world.put("/Observation/o1", body % b"1.50")).headers["etag"] == 'W/"1"'
    assert (await world.put("/Observation/o1", body % b"1.5")).headers["etag"] == 'W/"2"'


async def test_an_update_that_says_the_same_meets_its_conditions_all_the_same(
    world: World,
) -> None:
    body = PATIENT | {"id": "p1"}
    await world.put("/Patient/p1", body)
    assert (await world.put("/Patient/p1", body, If_Match='W/"2"')).status_code == 412
    assert (await world.put("/Patient/p1", body, If_Match='W/"1"')).status_code == 200


async def test_deleting_twice_is_no_mistake(world: World) -> None:
    id = await world.create(PATIENT)
    first = await world.delete(f"/Patient/{id}")
    again = await world.delete(f"/Patient/{id}")
    never = await world.delete("/Patient/nobody")
    assert [each.status_code for each in (first, again, never)] == [204, 204, 204]
    assert first.headers["etag"] == again.headers["etag"] == 'W/"2"'


async def test_delete_with_stale_if_match_is_412(world: World) -> None:
    id = await world.create(PATIENT)
    assert (await world.delete(f"/Patient/{id}", If_Match='W/"2"')).status_code == 412
    assert (await world.delete(f"/Patient/{id}", If_Match='W/"1"')).status_code == 204


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("minimal", None),
        ("representation", "Patient"),
        ("OperationOutcome", "OperationOutcome"),
        (None, "Patient"),
    ],
)
async def test_prefer_return_decides_the_body(
    world: World, wanted: str | None, expected: str | None
) -> None:
    headers = {"Prefer": f"return={wanted}"} if wanted else {}
    for response in (
        await world.post("/Patient", PATIENT, **headers),
        await world.put("/Patient/p1", PATIENT | {"id": "p1"}, **headers),
    ):
        assert response.status_code == 201
        assert "location" in response.headers
        found = response.json()["resourceType"] if response.content else None
        assert found == expected


async def test_a_server_that_gives_ids_itself_refuses_update_as_create(tmp_path: Path) -> None:
    async with fhir_world(tmp_path, allows_update_create=False) as world:
        response = await world.put("/Patient/p1", PATIENT | {"id": "p1"})
        assert response.status_code == 405
        id = await world.create(PATIENT)
        assert (await world.put(f"/Patient/{id}", PATIENT | {"id": id})).status_code == 200


async def test_what_the_audit_trail_holds_is_never_changed(world: World) -> None:
    event = {
        "resourceType": "AuditEvent",
        "id": "a1",
        "type": {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "110100"},
        "recorded": "2026-11-24T08:00:00Z",
        "agent": [{"requestor": True}],
        "source": {"observer": {"display": "test"}},
    }
    assert (await world.put("/AuditEvent/a1", event)).status_code == 201
    changed = await world.put("/AuditEvent/a1", event | {"outcome": "8"})
    deleted = await world.delete("/AuditEvent/a1")
    assert changed.status_code == 403
    assert deleted.status_code == 405
    assert deleted.headers["allow"] == "GET, HEAD, PUT"
    assert "outcome" not in (await world.get("/AuditEvent/a1")).json()


async def test_a_reference_by_search_is_refused_outside_transactions(world: World) -> None:
    body = observation(subject={"reference": "Patient?identifier=1"})
    for response in (
        await world.post("/Observation", body),
        await world.put("/Observation/o1", body | {"id": "o1"}),
    ):
        assert response.status_code == 400
        assert issues(response)[0]["expression"] == ["Observation.subject.reference"]
