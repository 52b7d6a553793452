"""R4 Search, "Managing Returned Resources": `_sort`, `_count`, `_total`, links, handling."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir_server.security.principal import Principal
from tests.fhir_world import BASE, World, fhir_world, text_of

FAMILIES = ["Ärger", "adams", "Brown", "brown", "Clark", None, "Dietz"]


async def fill(world: World) -> None:
    """Patients 0 to 6; number 5 has no name; births descend in pairs."""
    for number, family in enumerate(FAMILIES):
        patient: dict[str, Any] = {
            "resourceType": "Patient",
            "id": f"p{number}",
            "birthDate": f"{1990 - number // 2}-01-01",
        }
        if family is not None:
            patient["name"] = [{"family": family}]
        response = await world.put(f"/Patient/p{number}", patient)
        assert response.status_code == 201, response.text


@pytest.fixture
async def filled(world: World) -> World:
    await fill(world)
    return world


def ids(response: httpx.Response, mode: str = "match") -> list[str]:
    assert response.status_code == 200, response.text
    return [
        entry["resource"]["id"]
        for entry in response.json().get("entry", [])
        if entry["search"]["mode"] == mode
    ]


def link(response: httpx.Response, relation: str) -> str | None:
    links = {each["relation"]: each["url"] for each in response.json()["link"]}
    return links.get(relation)


async def pages(world: World, query: str) -> list[list[str]]:
    """The ids of every page, by following the next links."""
    found: list[list[str]] = []
    url: str | None = f"{BASE}/Patient?{query}"
    while url is not None:
        response = await world.get(url)
        found.append(ids(response))
        url = link(response, "next")
    return found


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("_sort=family", ["p1", "p0", "p2", "p3", "p4", "p6", "p5"]),
        ("_sort=-family", ["p6", "p4", "p2", "p3", "p0", "p1", "p5"]),
        ("_sort=birthdate,-_id", ["p6", "p5", "p4", "p3", "p2", "p1", "p0"]),
        ("_sort=-birthdate,_id", ["p0", "p1", "p2", "p3", "p4", "p5", "p6"]),
        ("_sort=birthdate,-family", ["p6", "p4", "p5", "p2", "p3", "p0", "p1"]),
        ("_sort=_lastUpdated", ["p0", "p1", "p2", "p3", "p4", "p5", "p6"]),
        ("_sort=-_lastUpdated", ["p6", "p5", "p4", "p3", "p2", "p1", "p0"]),
        ("", ["p0", "p1", "p2", "p3", "p4", "p5", "p6"]),
    ],
)
async def test_pages_join_to_the_whole_in_order(
    filled: World, query: str, expected: list[str]
) -> None:
    for count in (1, 2, 3, 7, 100):
        found = await pages(filled, f"{query}&_count={count}".lstrip("&"))
        assert [each for page in found for each in page] == expected
        assert all(len(page) == count for page in found[:-1])
        assert 0 < len(found[-1]) <= count, "no page is empty"


async def test_self_link_repeats_what_was_applied(filled: World) -> None:
    query = "family:exact=Brown&birthdate=ge1980&_sort=-family&_count=2"
    response = await filled.get(f"/Patient?{query}")
    assert link(response, "self") == f"{BASE}/Patient?{query}"
    large = await filled.get("/Patient?_count=100000")
    assert link(large, "self") == f"{BASE}/Patient?_count=1000"


async def test_total_is_exact_when_asked_for_or_free_and_absent_otherwise(filled: World) -> None:
    async def total(query: str) -> int | None:
        found: int | None = (await filled.get(f"/Patient?{query}")).json().get("total")
        return found

    assert await total("_count=2") is None
    assert await total("_count=2&_total=none") is None
    assert await total("_total=none") is None
    assert await total("_count=2&_total=accurate") == 7
    assert await total("_count=2&_total=estimate") == 7
    assert await total("_count=7") == 7
    assert await total("family=brown&_total=accurate") == 2
    assert await total("family=nobody") == 0


async def test_count_zero_and_summary_count_answer_with_the_total_alone(filled: World) -> None:
    for query in ("_count=0", "_summary=count"):
        body = (await filled.get(f"/Patient?family=brown&{query}")).json()
        assert body["total"] == 2
        assert "entry" not in body
        assert [each["relation"] for each in body["link"]] == ["self"]


async def test_bundle_has_full_urls_modes_and_bodies_as_stored(filled: World) -> None:
    body = (await filled.get("/Patient?_id=p1")).json()
    assert body["resourceType"] == "Bundle"
    assert body["type"] == "searchset"
    (entry,) = body["entry"]
    assert entry["fullUrl"] == f"{BASE}/Patient/p1"
    assert entry["search"] == {"mode": "match"}
    assert entry["resource"] == (await filled.get("/Patient/p1")).json()


async def test_an_empty_answer_has_no_entry_element(filled: World) -> None:
    body = (await filled.get("/Patient?_id=nobody")).json()
    assert "entry" not in body
    assert body["total"] == 0


async def test_deleted_resources_are_not_found(filled: World) -> None:
    await filled.delete("/Patient/p2")
    assert ids(await filled.get("/Patient?family=brown")) == ["p3"]


async def test_a_changed_resource_is_found_by_its_new_values_only(filled: World) -> None:
    await filled.put("/Patient/p2", {"resourceType": "Patient", "id": "p2", "gender": "male"})
    assert ids(await filled.get("/Patient?family=brown")) == ["p3"]
    assert ids(await filled.get("/Patient?gender=male")) == ["p2"]


async def test_pages_stay_in_place_while_others_write(filled: World) -> None:
    first = await filled.get("/Patient?_sort=family&_count=3")
    await filled.put(
        "/Patient/a", {"resourceType": "Patient", "id": "a", "name": [{"family": "Aaa"}]}
    )
    await filled.delete("/Patient/p2")
    second = await filled.get(link(first, "next") or "")
    assert ids(first) + ids(second) == ["p1", "p0", "p2", "p3", "p4", "p6"]


async def test_a_cursor_opens_for_its_own_query_only(filled: World) -> None:
    first = await filled.get("/Patient?_sort=family&_count=2")
    cursor = (link(first, "next") or "").partition("_cursor=")[2]
    assert ids(await filled.get(f"/Patient?_sort=family&_count=5&_cursor={cursor}")) != []
    for query in (
        f"_sort=-family&_cursor={cursor}",
        f"_sort=family&gender=male&_cursor={cursor}",
        f"_sort=family&_cursor={cursor[:-2]}",
        "_sort=family&_cursor=AAAA",
        "_sort=family&_cursor=ä",
    ):
        response = await filled.get(f"/Patient?{query}")
        assert response.status_code == 400, query
        assert "_cursor" in text_of(response)
    other = await filled.get(f"/Group?_sort=_id&_cursor={cursor}")
    assert other.status_code == 400


async def test_a_cursor_opens_for_its_own_caller_only(tmp_path: Path) -> None:
    async with fhir_world(tmp_path, is_open=False) as world:
        world.caller.principal = _doctor("one")
        await fill(world)
        first = await world.get("/Patient?_count=2")
        url = link(first, "next") or ""
        assert ids(await world.get(url)) == ["p2", "p3"]
        world.caller.principal = _doctor("two")
        assert (await world.get(url)).status_code == 400


def _doctor(subject: str) -> Principal:
    return Principal(
        subject=subject,
        client_id="client",
        name=subject,
        roles=frozenset({"doctor"}),
        fhir_user=None,
        scopes="user/*.cruds",
        patient=None,
        encounter=None,
        session=None,
    )


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("_sort=kolour", "kolour"),
        ("_sort=", "_sort has no value"),
        ("_sort=family&_sort=_id", "given twice"),
        ("_count=-1", "_count"),
        ("_count=many", "_count"),
        ("_total=maybe", "_total"),
        ("_summary=text&_include=Patient:organization", "cannot be combined"),
        ("_summary=what", "_summary"),
        ("_elements=nothing", "no element"),
        ("_contained=perhaps", "not true, false or both"),
        ("_type=Patient", "the type is in the URL already"),
        ("_list=$current-problems", "functional lists"),
        ("_list:not=1", "no modifiers"),
        ("_query=x", "the only named query is lastn, on Observation"),
        ("_score=1", "no score"),
        ("_foo=x", "_foo"),
        ("_Count=1", "_Count"),
        ("_count:exact=1", "_count has no modifier"),
    ],
)
async def test_what_is_not_understood_is_refused_by_name(
    world: World, query: str, words: str
) -> None:
    response = await world.get(f"/Patient?{query}")
    assert response.status_code == 400
    assert words in text_of(response)


async def test_lenient_handling_says_what_it_left_out(filled: World) -> None:
    query = "family=brown&kolour=red&birthdate=yesterday&name:odd=x&_query=q&_sort=-_id"
    response = await filled.get(f"/Patient?{query}", prefer="handling=lenient")
    assert ids(response) == ["p3", "p2"]
    assert link(response, "self") == f"{BASE}/Patient?family=brown&_sort=-_id"
    (outcome,) = [
        entry["resource"]
        for entry in response.json()["entry"]
        if entry["search"]["mode"] == "outcome"
    ]
    told = [issue["diagnostics"] for issue in outcome["issue"]]
    assert [each.split(":")[0] for each in told] == [
        "ignored kolour",
        "ignored birthdate",
        "ignored name",
        "ignored _query",
    ]
    assert {issue["severity"] for issue in outcome["issue"]} == {"warning"}
    strict = await filled.get(f"/Patient?{query}", prefer="handling=strict")
    assert strict.status_code == 400


async def test_many_searches_at_once_answer_each_for_itself(filled: World) -> None:
    answers = await asyncio.gather(
        *(filled.get(f"/Patient?_id=p{number % 7}") for number in range(40))
    )
    assert [ids(each) for each in answers] == [[f"p{number % 7}"] for number in range(40)]
