"""R4 RESTful API, "Conditional create"."""

import asyncio

import pytest

from tests.fhir_world import PATIENT, World, issues, text_of

KNOWN = PATIENT | {"identifier": [{"system": "urn:mrn", "value": "17"}]}
CRITERIA = "identifier=urn:mrn|17"


async def test_without_a_match_it_creates(world: World) -> None:
    other = PATIENT | {"identifier": [{"system": "urn:other", "value": "17"}]}
    await world.create(other)
    response = await world.post("/Patient", KNOWN, If_None_Exist=CRITERIA)
    assert response.status_code == 201
    assert await world.count("Patient") == 2


@pytest.mark.parametrize("criteria", [CRITERIA, f"?{CRITERIA}", f"Patient?{CRITERIA}"])
async def test_with_one_match_it_answers_with_that_one(world: World, criteria: str) -> None:
    id = await world.create(KNOWN)
    response = await world.post("/Patient", KNOWN, If_None_Exist=criteria)
    assert response.status_code == 200
    assert response.json()["id"] == id
    assert response.headers["etag"] == 'W/"1"'
    assert response.headers["location"].endswith(f"/Patient/{id}/_history/1")
    assert await world.count("Patient") == 1


async def test_with_several_matches_it_is_412(world: World) -> None:
    await world.create(KNOWN)
    await world.create(KNOWN)
    response = await world.post("/Patient", KNOWN, If_None_Exist=CRITERIA)
    assert response.status_code == 412
    assert issues(response)[0]["code"] == "multiple-matches"
    assert await world.count("Patient") == 2


async def test_a_deleted_match_can_be_created_again(world: World) -> None:
    id = await world.create(KNOWN)
    await world.delete(f"/Patient/{id}")
    response = await world.post("/Patient", KNOWN, If_None_Exist=CRITERIA)
    assert response.status_code == 201


async def test_of_many_at_once_exactly_one_creates(world: World) -> None:
    answers = await asyncio.gather(
        *(world.post("/Patient", KNOWN, If_None_Exist=CRITERIA) for _ in range(40))
    )
    assert sorted(answer.status_code for answer in answers) == [200] * 39 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert await world.count("Patient") == 1


@pytest.mark.parametrize(
    ("criteria", "status", "named"),
    [
        ("colour=red", 400, "colour"),
        ("", 412, "criterion"),
        ("_count=1", 400, "_count"),
        ("identifier", 400, "identifier"),
        ("identifier=a%1Fb", 400, "U+001F"),
    ],
)
async def test_criteria_that_say_nothing_known_are_refused(
    world: World, criteria: str, status: int, named: str
) -> None:
    response = await world.post("/Patient", KNOWN, If_None_Exist=criteria)
    assert response.status_code == status
    assert named in text_of(response)
    assert await world.count("Patient") == 0


async def test_if_none_exist_has_no_meaning_for_an_update(world: World) -> None:
    response = await world.put("/Patient/p1", KNOWN | {"id": "p1"}, If_None_Exist=CRITERIA)
    assert response.status_code == 400
    assert "If-None-Exist" in text_of(response)
