"""R4 RESTful API: read, vread, conditional read, history of one resource."""

import re

import pytest

from tests.fhir_world import BASE, PATIENT, World, issues, text_of


async def test_read_answers_with_etag_and_last_modified(world: World) -> None:
    id = await world.create(PATIENT)
    response = await world.get(f"/Patient/{id}")
    assert response.status_code == 200
    assert response.headers["etag"] == 'W/"1"'
    assert response.headers["last-modified"] == "Tue, 24 Nov 2026 08:00:00 GMT"
    assert response.headers["content-type"] == "application/fhir+json; charset=utf-8"
    meta = response.json()["meta"]
    assert meta.keys() == {"versionId", "lastUpdated"}
    assert meta["versionId"] == "1"
    assert re.fullmatch(r"2026-11-24T08:00:00\.00\dZ", meta["lastUpdated"])


async def test_decimals_are_read_back_as_written(world: World) -> None:
    body = b"""{"resourceType": "Observation", "status": "final", "code": {"text": "x"},
        "valueQuantity": {"value": 1.50}, "referenceRange": [{"low": {"value": 0.010}}]}"""
    made = await world.post("/Observation", body)
    assert made.status_code == 201
    read = await world.get(f"/Observation/{made.json()['id']}")
    assert b"1.50" in read.content
    assert b"0.010" in read.content


async def test_reading_what_never_was_is_404(world: World) -> None:
    response = await world.get("/Patient/nobody")
    assert response.status_code == 404
    assert issues(response)[0]["code"] == "not-found"


async def test_reading_what_was_deleted_is_410_with_the_etag_of_the_deletion(
    world: World,
) -> None:
    id = await world.create(PATIENT)
    await world.delete(f"/Patient/{id}")
    response = await world.get(f"/Patient/{id}")
    assert response.status_code == 410
    assert response.headers["etag"] == 'W/"2"'
    assert issues(response)[0]["code"] == "deleted"


async def test_vread_answers_each_version_as_it_was(world: World) -> None:
    id = await world.create(PATIENT)
    await world.put(f"/Patient/{id}", PATIENT | {"id": id, "gender": "female"})
    first = await world.get(f"/Patient/{id}/_history/1")
    second = await world.get(f"/Patient/{id}/_history/2")
    assert "gender" not in first.json()
    assert second.json()["gender"] == "female"
    assert first.headers["etag"] == 'W/"1"'
    missing = await world.get(f"/Patient/{id}/_history/3")
    assert missing.status_code == 404
    odd = await world.get(f"/Patient/{id}/_history/abc")
    assert odd.status_code == 404


async def test_vread_of_a_deletion_is_410(world: World) -> None:
    id = await world.create(PATIENT)
    await world.delete(f"/Patient/{id}")
    assert (await world.get(f"/Patient/{id}/_history/2")).status_code == 410
    assert (await world.get(f"/Patient/{id}/_history/1")).status_code == 200


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("If-None-Match", 'W/"1"', 304),
        ("If-None-Match", 'W/"7", W/"1"', 304),
        ("If-None-Match", "*", 304),
        ("If-None-Match", 'W/"2"', 200),
        # Compared weakly; a tag that another server made matches nothing (RFC 9110, 13.1.2).
        ("If-None-Match", '"1"', 304),
        ("If-None-Match", '"a,b", W/"1"', 304),
        ("If-None-Match", '"a,1"', 200),
        ("If-None-Match", 'W/"33a64df5"', 200),
        ("If-Modified-Since", "Tue, 24 Nov 2026 08:00:00 GMT", 304),
        ("If-Modified-Since", "Tue, 24 Nov 2026 07:59:59 GMT", 200),
        # "A recipient MUST ignore" it "if the received field value is not a valid HTTP-date".
        ("If-Modified-Since", "yesterday", 200),
    ],
)
async def test_conditional_read_sends_only_what_is_new(
    world: World, header: str, value: str, status: int
) -> None:
    id = await world.create(PATIENT)
    response = await world.get(f"/Patient/{id}", **{header: value})
    assert response.status_code == status
    assert bool(response.content) == (status == 200)
    assert response.headers["etag"] == 'W/"1"'


async def test_pretty_is_the_same_json_indented(world: World) -> None:
    id = await world.create(PATIENT)
    plain = await world.get(f"/Patient/{id}")
    pretty = await world.get(f"/Patient/{id}?_pretty=true")
    assert pretty.json() == plain.json()
    assert pretty.text.count("\n") > 5 > plain.text.count("\n")


async def test_history_has_every_version_newest_first(world: World) -> None:
    id = await world.create(PATIENT)
    await world.put(f"/Patient/{id}", PATIENT | {"id": id, "gender": "male"})
    await world.delete(f"/Patient/{id}")
    bundle = (await world.get(f"/Patient/{id}/_history")).json()
    assert (bundle["type"], bundle["total"]) == ("history", 3)
    assert [entry["request"]["method"] for entry in bundle["entry"]] == ["DELETE", "PUT", "POST"]
    assert [entry["response"]["status"] for entry in bundle["entry"]] == [
        "204 No Content",
        "200 OK",
        "201 Created",
    ]
    assert [entry["response"]["etag"] for entry in bundle["entry"]] == ['W/"3"', 'W/"2"', 'W/"1"']
    assert "resource" not in bundle["entry"][0]
    assert bundle["entry"][2]["request"]["url"] == "Patient"
    assert {entry["fullUrl"] for entry in bundle["entry"]} == {f"{BASE}/Patient/{id}"}


async def test_history_pages_to_the_end_and_the_last_page_has_no_next(world: World) -> None:
    id = await world.create(PATIENT)
    for gender in ("male", "female", "other", "unknown"):
        await world.put(f"/Patient/{id}", PATIENT | {"id": id, "gender": gender})
    url: str | None = f"/Patient/{id}/_history?_count=2"
    versions: list[str] = []
    sizes = []
    while url:
        bundle = (await world.get(url)).json()
        versions += [entry["resource"]["meta"]["versionId"] for entry in bundle["entry"]]
        sizes.append(len(bundle["entry"]))
        links = {link["relation"]: link["url"] for link in bundle["link"]}
        url = links.get("next")
    assert versions == ["5", "4", "3", "2", "1"]
    assert sizes == [2, 2, 1]


async def test_a_history_cursor_opens_for_its_own_resource_only(world: World) -> None:
    first, second = await world.create(PATIENT), await world.create(PATIENT)
    await world.put(f"/Patient/{first}", PATIENT | {"id": first, "gender": "female"})
    bundle = (await world.get(f"/Patient/{first}/_history?_count=1")).json()
    stolen = bundle["link"][1]["url"].replace(first, second)
    assert (await world.get(stolen)).status_code == 400


@pytest.mark.parametrize("query", ["_count=0", "_count=x", "_count=1&_count=2", "_sortx=1"])
async def test_history_refuses_parameters_that_it_has_not(world: World, query: str) -> None:
    id = await world.create(PATIENT)
    response = await world.get(f"/Patient/{id}/_history?{query}")
    assert response.status_code == 400
    assert query[:6] in text_of(response)


async def test_history_of_what_never_was_is_404(world: World) -> None:
    assert (await world.get("/Patient/nobody/_history")).status_code == 404
