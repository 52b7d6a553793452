"""R4 RESTful API, "Conditional update", on both stores."""

import asyncio

import pytest

from tests.fhir_world import PATIENT, Json, World, issues, observation, text_of
from tests.worlds import world

__all__ = ["world"]

URL = "/Patient?identifier=urn:mrn|17"
KNOWN = PATIENT | {"identifier": [{"system": "urn:mrn", "value": "17"}]}
OTHER = PATIENT | {"identifier": [{"system": "urn:other", "value": "17"}]}


async def test_without_a_match_and_without_an_id_it_creates(world: World) -> None:
    await world.create(OTHER)
    response = await world.put(URL, KNOWN)
    assert response.status_code == 201
    made = response.json()
    assert response.headers["location"].endswith(f"/Patient/{made['id']}/_history/1")
    assert (await world.get(f"/Patient/{made['id']}")).json() == made
    assert await world.count("Patient") == 2


async def test_without_a_match_an_id_in_the_body_is_the_one_it_gets(world: World) -> None:
    response = await world.put(URL, KNOWN | {"id": "mine"})
    assert (response.status_code, response.json()["id"]) == (201, "mine")
    assert (await world.get("/Patient/mine")).status_code == 200


async def test_an_id_whose_resource_does_not_match_is_409(world: World) -> None:
    await world.put("/Patient/mine", OTHER | {"id": "mine"})
    response = await world.put(URL, KNOWN | {"id": "mine"})
    assert response.status_code == 409
    assert (await world.get("/Patient/mine")).headers["etag"] == 'W/"1"'


async def test_an_id_whose_resource_was_deleted_is_created_again(world: World) -> None:
    await world.put("/Patient/mine", OTHER | {"id": "mine"})
    await world.delete("/Patient/mine")
    response = await world.put(URL, KNOWN | {"id": "mine"})
    assert (response.status_code, response.headers["etag"]) == (201, 'W/"3"')


@pytest.mark.parametrize("says_the_id", [True, False])
async def test_one_match_is_updated(world: World, says_the_id: bool) -> None:
    id = await world.create(KNOWN)
    body = KNOWN | {"gender": "female"} | ({"id": id} if says_the_id else {})
    response = await world.put(URL, body)
    assert response.status_code == 200
    assert (response.json()["id"], response.headers["etag"]) == (id, 'W/"2"')
    assert await world.count("Patient") == 1


async def test_another_id_than_that_of_the_match_is_400(world: World) -> None:
    id = await world.create(KNOWN)
    response = await world.put(URL, KNOWN | {"id": "other", "gender": "female"})
    assert response.status_code == 400
    assert issues(response)[0]["expression"] == ["Patient.id"]
    assert (await world.get(f"/Patient/{id}")).headers["etag"] == 'W/"1"'
    assert await world.count("Patient") == 1


async def test_several_matches_are_412(world: World) -> None:
    await world.create(KNOWN)
    await world.create(KNOWN)
    response = await world.put(URL, KNOWN | {"gender": "female"})
    assert response.status_code == 412
    assert issues(response)[0]["code"] == "multiple-matches"
    assert (await world.get("/Patient?gender=female")).json()["total"] == 0


async def test_what_says_the_same_keeps_its_version(world: World) -> None:
    first = await world.put(URL, KNOWN)
    again = await world.put(URL, KNOWN)
    assert (again.status_code, again.content) == (200, first.content)
    assert [each["version"] for each in (await world.journal())] == [1, 1]


async def test_if_match_is_asked_of_the_match(world: World) -> None:
    body = KNOWN | {"gender": "female"}
    assert (await world.put(URL, body, If_Match='W/"1"')).status_code == 412
    assert await world.count("Patient") == 0
    await world.create(KNOWN)
    assert (await world.put(URL, body, If_Match='W/"2"')).status_code == 412
    assert (await world.put(URL, body, If_None_Match="*")).status_code == 412
    assert (await world.put(URL, body, If_Match='W/"1"')).status_code == 200


async def test_many_at_once_make_one_resource(world: World) -> None:
    answers = await asyncio.gather(*(world.put(URL, KNOWN) for _ in range(50)))
    assert sorted(each.status_code for each in answers) == [200] * 49 + [201]
    assert len({each.json()["id"] for each in answers}) == 1
    assert await world.count("Patient") == 1


async def test_a_deleted_match_counts_for_nothing(world: World) -> None:
    id = await world.create(KNOWN)
    await world.delete(f"/Patient/{id}")
    response = await world.put(URL, KNOWN)
    assert (response.status_code, response.json()["id"] == id) == (201, False)


async def test_criteria_may_be_chained(world: World) -> None:
    id = await world.create(KNOWN)
    body = observation(subject={"reference": f"Patient/{id}"})
    url = "/Observation?subject:Patient.identifier=urn:mrn|17"
    made = await world.put(url, body)
    again = await world.put(url, body | {"status": "amended"})
    assert (made.status_code, again.status_code) == (201, 200)
    assert await world.count("Observation") == 1


@pytest.mark.parametrize("handling", ["strict", "lenient"])
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "asked",
    [
        ("", 412, "criterion"),
        ("?", 412, "criterion"),
        ("?_format=json", 412, "criterion"),
        ("?colour=red", 400, "colour"),
        ("?identifier=urn:mrn|17&colour=red", 400, "colour"),
        ("?identifier=", 400, "identifier"),
        ("?identifier", 400, "identifier"),
        ("?identifier:loud=17", 400, "loud"),
        ("?identifier=urn:mrn|17&_sort=name", 400, "_sort"),
        ("?identifier=urn:mrn|17&_count=1", 400, "_count"),
        ("?identifier=urn:mrn|17&_include=Patient:link", 400, "_include"),
        ("?identifier=urn:mrn|17&_summary=true", 400, "_summary"),
        ("?_elements=name", 400, "_elements"),
        ("?_query=all", 400, "_query"),
        ("?identifier=a%1Fb", 400, "U+001F"),
    ],
)
async def test_criteria_are_taken_whole_or_refused(
    world: World, asked: tuple[str, int, str], method: str, handling: str
) -> None:
    query, status, named = asked
    await world.put("/Patient/p1", KNOWN | {"id": "p1"})
    kind = {"content-type": "application/fhir+json", "prefer": f"handling={handling}"}
    body: Json | list[Json] | None = KNOWN | {"gender": "female"}
    if method == "PATCH":
        kind["content-type"] = "application/json-patch+json"
        body = [{"op": "add", "path": "/gender", "value": "female"}]
    response = await world.http.request(
        method, f"/Patient{query}", headers=kind, json=None if method == "DELETE" else body
    )
    assert response.status_code == status, response.text
    assert named in text_of(response)
    assert (await world.get("/Patient/p1")).headers["etag"] == 'W/"1"'
    assert await world.count("Patient") == 1


async def test_a_conditional_update_is_refused_where_ids_and_history_are_fixed(
    world: World,
) -> None:
    response = await world.put("/AuditEvent?_id=a", {"resourceType": "AuditEvent"})
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, HEAD, POST"
    allowed = await world.http.request("PUT", "/Patient/_history", json={})
    assert allowed.status_code == 405
    base = await world.http.request("LOCK", "/Patient")
    assert base.headers["allow"] == "DELETE, GET, HEAD, PATCH, POST, PUT"


async def test_content_in_its_own_type_is_not_found_by_criteria(world: World) -> None:
    response = await world.put("/Binary?contenttype=x", b"x", Content_Type="image/png")
    assert response.status_code == 400
    assert "contenttype" in text_of(response)
    made = await world.put("/Binary?_tag=urn:s|c", b"x", Content_Type="image/png")
    assert made.status_code == 201


async def test_the_audit_record_names_what_was_updated(world: World) -> None:
    id = (await world.put(URL, KNOWN)).json()["id"]
    last = (await world.journal())[-1]
    assert (last["interaction"], last["key"], last["version"]) == ("update", f"Patient/{id}", 1)
