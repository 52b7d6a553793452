"""history of a resource, a type and all (R4 RESTful API, "history")."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.fhir_world import BASE, PATIENT, World, issues, observation, text_of


async def versions(world: World, url: str) -> list[str]:
    """What every page together shows, newest first."""
    seen: list[str] = []
    while True:
        bundle = await page(world, url)
        seen += [shown(entry) for entry in bundle.get("entry", [])]
        url = link(bundle, "next")
        if not url:
            return seen


async def page(world: World, url: str) -> dict[str, Any]:
    response = await world.get(url)
    assert response.status_code == 200, response.text
    bundle: dict[str, Any] = response.json()
    assert bundle["type"] == "history"
    return bundle


def shown(entry: dict[str, Any]) -> str:
    name = entry["fullUrl"].removeprefix(f"{BASE}/").partition("/")[0]
    return f"{name} {entry['request']['method']} {entry['response']['status'][:3]}"


def link(bundle: dict[str, Any], relation: str) -> str:
    return next((each["url"] for each in bundle["link"] if each["relation"] == relation), "")


@pytest.fixture
async def past(world: World) -> World:
    """A patient of three versions, the last a deletion; an Observation of one."""
    await world.put("/Patient/a", PATIENT | {"id": "a"})
    await world.post("/Observation", observation())
    await world.put("/Patient/a", PATIENT | {"id": "a", "gender": "female"})
    await world.delete("/Patient/a")
    return world


PAST = ["Patient DELETE 204", "Patient PUT 200", "Observation POST 201", "Patient PUT 201"]


async def test_all_of_it_newest_first(past: World) -> None:
    bundle = await page(past, "/_history")
    assert [shown(entry) for entry in bundle["entry"]] == PAST
    assert bundle["total"] == 4
    assert bundle["entry"][2]["request"]["url"] == "Observation"
    assert "resource" not in bundle["entry"][0]
    assert link(bundle, "self") == f"{BASE}/_history"


async def test_of_a_type(past: World) -> None:
    bundle = await page(past, "/Patient/_history")
    assert [shown(entry) for entry in bundle["entry"]] == [
        each for each in PAST if each.startswith("Patient")
    ]
    assert link(bundle, "self") == f"{BASE}/Patient/_history"
    assert (await page(past, "/Encounter/_history"))["total"] == 0


@pytest.mark.parametrize("url", ["/_history", "/Patient/_history", "/Patient/a/_history"])
@pytest.mark.parametrize("count", [1, 2, 3, 50])
async def test_pages_are_full_and_the_last_has_no_next(past: World, url: str, count: int) -> None:
    whole = await versions(past, url)
    assert await versions(past, f"{url}?_count={count}") == whole
    first = await page(past, f"{url}?_count={count}")
    assert len(first["entry"]) == min(count, len(whole))
    assert bool(link(first, "next")) == ("total" not in first) == (count < len(whole))


async def test_a_cursor_is_of_its_history_alone(past: World) -> None:
    follow = link(await page(past, "/_history?_count=1"), "next")
    cursor = urlsplit(follow).query
    for url in ("/Patient/_history", "/Patient/a/_history"):
        response = await past.get(f"{url}?{cursor}")
        assert response.status_code == 400
        assert "_cursor" in text_of(response)
    assert (await past.get(f"/_history?{cursor}&_since=2020-01-01")).status_code == 400


async def test_since_begins_with_its_own_moment(past: World) -> None:
    entries = (await page(past, "/_history"))["entry"]
    moment = entries[1]["response"]["lastModified"]
    for url, expected in (("/_history", PAST[:2]), ("/Patient/a/_history", PAST[:2])):
        assert await versions(past, f"{url}?_since={moment}") == expected
    later = moment.replace("Z", "1Z")
    assert await versions(past, f"/_history?_since={later}") == PAST[:1]
    assert await versions(past, "/Patient/a/_history?_since=2040-01-01T00:00:00Z") == []


async def test_at_shows_what_was_current_then(past: World) -> None:
    entries = (await page(past, "/_history"))["entry"]
    moment = entries[2]["response"]["lastModified"]  # the Observation's, before the update
    assert await versions(past, f"/_history?_at={moment}") == [PAST[2], PAST[3]]
    assert await versions(past, f"/Patient/a/_history?_at={moment}") == [PAST[3]]
    assert await versions(past, "/_history?_at=2026") == PAST
    assert await versions(past, "/_history?_at=2025") == []
    assert await versions(past, "/_history?_at=2027") == [PAST[0], PAST[2]]
    assert await versions(past, "/_history?_at=0001") == []
    assert await versions(past, "/_history?_since=0001&_at=9999") == [PAST[0], PAST[2]]


@pytest.mark.parametrize(
    "query",
    ["_since=yesterday", "_at=ge2020", "_at=2020&_at=2021", "_count=0", "_count=-1", "_sort=x"],
)
async def test_what_makes_no_sense_is_refused_by_name(past: World, query: str) -> None:
    response = await past.get(f"/_history?{query}")
    assert response.status_code == 400
    assert query.partition("=")[0] in text_of(response)


async def test_history_of_what_never_was_is_404(past: World) -> None:
    for query in ("", "?_since=2020-01-01"):
        response = await past.get(f"/Patient/none/_history{query}")
        assert response.status_code == 404
    assert (await past.get("/Rocket/_history")).status_code == 404


async def test_histories_are_recorded(past: World) -> None:
    before = len(await past.journal())
    await past.get("/_history")
    await past.get("/Patient/_history")
    records = (await past.journal())[before:]
    assert [each["interaction"] for each in records] == ["history-system", "history-type"]


async def test_head_is_get_without_the_body(past: World) -> None:
    for url in ("/_history", "/Patient/_history?_count=1", "/metadata", "/Observation", "/"):
        got, head = await past.get(url), await past.http.head(url)
        assert head.status_code == got.status_code
        assert head.content == b""
        assert head.headers.keys() == got.headers.keys()


async def test_head_of_a_read_has_its_headers_and_its_length(world: World) -> None:
    id_ = await world.create(PATIENT)
    got, head = await world.get(f"/Patient/{id_}"), await world.http.head(f"/Patient/{id_}")
    assert head.status_code == 200
    assert head.content == b""
    assert dict(head.headers) == dict(got.headers)
    assert head.headers["content-length"] == str(len(got.content))
    for url, status in ((f"/Patient/{id_}", 304), (f"/Patient/{id_}/_history/1", 304)):
        same = await world.http.head(url, headers={"if-none-match": got.headers["etag"]})
        assert same.status_code == status


@pytest.mark.parametrize(("url", "status"), [("/Patient/none", 404), ("/Rocket", 404)])
async def test_head_of_what_is_not_there_says_so_without_a_body(
    world: World, url: str, status: int
) -> None:
    head = await world.http.head(url)
    assert (head.status_code, head.content) == (status, b"")


async def test_head_of_a_deleted_resource_is_410(past: World) -> None:
    head = await past.http.head("/Patient/a")
    assert (head.status_code, head.content) == (410, b"")
    assert head.headers["etag"] == 'W/"3"'


async def test_head_is_not_post(world: World) -> None:
    head = await world.http.head("/_search")
    assert head.status_code == 405
    refused = await world.put("/metadata", PATIENT)
    assert refused.headers["allow"] == "GET, HEAD"
    assert issues(refused)[0]["code"] == "not-supported"


async def test_head_is_audited_as_the_read_that_it_is(world: World) -> None:
    id_ = await world.create(PATIENT)
    await world.http.head(f"/Patient/{id_}")
    last = (await world.journal())[-1]
    assert (last["interaction"], last["status"]) == ("read", 200)


async def test_history_on_a_server_that_is_empty(tmp_path: Path, world: World) -> None:
    bundle = await page(world, "/_history")
    assert (bundle["total"], "entry" in bundle) == (0, False)
