"""R4 RESTful API, "Conditional delete", single and multiple, on both stores."""

import pytest

from tests.fhir_world import PATIENT, World, issues, observation, text_of
from tests.worlds import deleting_three, world

__all__ = ["deleting_three", "world"]

URL = "/Patient?identifier=urn:mrn|17"
KNOWN = PATIENT | {"identifier": [{"system": "urn:mrn", "value": "17"}]}
OTHER = PATIENT | {"identifier": [{"system": "urn:other", "value": "17"}]}


async def test_nothing_that_matches_is_no_mistake(world: World) -> None:
    await world.create(OTHER)
    response = await world.delete(URL)
    assert (response.status_code, response.content) == (204, b"")
    assert "etag" not in response.headers
    assert await world.count("Patient") == 1
    last = (await world.journal())[-1]
    assert (last["interaction"], last["outcome"], last["query"]) == ("delete", "success", URL[1:])


async def test_one_that_matches_is_deleted(world: World) -> None:
    await world.create(OTHER)
    id = await world.create(KNOWN)
    response = await world.delete(URL)
    assert (response.status_code, response.headers["etag"]) == (204, 'W/"2"')
    assert (await world.get(f"/Patient/{id}")).status_code == 410
    assert (await world.get(f"/Patient/{id}/_history")).json()["total"] == 2
    assert await world.count("Patient") == 1


async def test_several_are_412_where_one_is_deleted_at_once(world: World) -> None:
    for _ in range(2):
        await world.create(KNOWN)
    response = await world.delete(URL)
    assert response.status_code == 412
    assert issues(response)[0]["code"] == "multiple-matches"
    assert "one resource" in text_of(response)
    assert await world.count("Patient") == 2


async def test_several_are_deleted_in_one_commit_with_their_records(deleting_three: World) -> None:
    ids = {await deleting_three.create(KNOWN) for _ in range(3)}
    await deleting_three.create(OTHER)
    response = await deleting_three.delete(URL)
    assert response.status_code == 200
    told = {each["diagnostics"] for each in response.json()["issue"]}
    assert told == {f"deleted: Patient/{id} version 2" for id in ids}
    for id in ids:
        assert (await deleting_three.get(f"/Patient/{id}")).status_code == 410
        assert (await deleting_three.get(f"/Patient/{id}/_history/1")).status_code == 200
    records = [each for each in await deleting_three.journal() if each["interaction"] == "delete"]
    assert {each["key"] for each in records} == {f"Patient/{id}" for id in ids}
    assert {each["patient"] for each in records} == ids
    assert await deleting_three.count("Patient") == 1


async def test_more_than_are_deleted_at_once_are_412_and_all_stay(deleting_three: World) -> None:
    for _ in range(4):
        await deleting_three.create(KNOWN)
    response = await deleting_three.delete(URL)
    assert response.status_code == 412
    assert "3 resources" in text_of(response)
    assert await deleting_three.count("Patient") == 4


@pytest.mark.parametrize(
    ("wanted", "said"), [("minimal", ""), ("OperationOutcome", "deleted: Patient/")]
)
async def test_prefer_decides_whether_several_are_told(
    deleting_three: World, wanted: str, said: str
) -> None:
    for _ in range(2):
        await deleting_three.create(KNOWN)
    response = await deleting_three.delete(URL, Prefer=f"return={wanted}")
    assert response.status_code == 200
    assert said in response.text
    assert "nothing was left" not in response.text


async def test_if_match_is_for_one(deleting_three: World) -> None:
    assert (await deleting_three.delete(URL, If_Match='W/"1"')).status_code == 412
    await deleting_three.create(KNOWN)
    assert (await deleting_three.delete(URL, If_Match='W/"2"')).status_code == 412
    await deleting_three.create(KNOWN)
    assert (await deleting_three.delete(URL, If_Match='W/"1"')).status_code == 412
    assert await deleting_three.count("Patient") == 2


async def test_criteria_may_be_chained(world: World) -> None:
    known, other = await world.create(KNOWN), await world.create(OTHER)
    for id in (known, other):
        await world.create(observation(subject={"reference": f"Patient/{id}"}))
    url = "/Observation?subject:Patient.identifier=urn:mrn|17"
    assert (await world.delete(url)).status_code == 204
    left = (await world.get("/Observation")).json()["entry"]
    assert [each["resource"]["subject"]["reference"] for each in left] == [f"Patient/{other}"]


async def test_what_is_recorded_is_not_deleted_by_criteria(world: World) -> None:
    assert (await world.delete("/AuditEvent?_id=a")).status_code == 405
