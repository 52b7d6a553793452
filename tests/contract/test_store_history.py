"""The past of a resource, of types and of all, by time, on both stores."""

import sqlite3
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from pymongo import AsyncMongoClient

from fhir_server.storage.port import Draft, Key, Past, ResourceStore, Stored, Transaction
from tests.stores import START, mongodb_place, put, sqlite_place, version


def minute(number: float) -> datetime:
    return START + timedelta(minutes=number)


def written(text: str, number: int, at: float, method: str = "PUT") -> Stored:
    return replace(version(text, number, method=method), updated=minute(at))


VERSIONS = (
    written("Patient/a", 1, 1),
    written("Observation/o", 1, 2),
    written("Patient/a", 2, 3),
    written("Patient/b", 1, 3),
    written("Patient/a", 3, 5, "DELETE"),
    written("Observation/o", 2, 6),
)


@pytest.fixture
async def past(store: ResourceStore) -> ResourceStore:
    """Six versions over six minutes; two of them share a moment."""
    await put(store, *(Draft(each) for each in VERSIONS))
    return store


async def names(store: ResourceStore, past: Past) -> list[str]:
    page = await store.history(past)
    assert page.next is None
    assert len(page.places) == len(page.versions)
    return [f"{each.key}/{each.version}" for each in page.versions]


async def test_all_of_it_newest_first(past: ResourceStore) -> None:
    found = await names(past, Past())
    assert found[:2] == ["Observation/o/2", "Patient/a/3"]
    assert set(found[2:4]) == {"Patient/b/1", "Patient/a/2"}
    assert found[4:] == ["Observation/o/1", "Patient/a/1"]


async def test_of_one_type_and_of_several(past: ResourceStore) -> None:
    assert await names(past, Past(types=("Observation",))) == ["Observation/o/2", "Observation/o/1"]
    both = await names(past, Past(types=("Observation", "Patient")))
    assert both == await names(past, Past())
    assert await names(past, Past(types=("Encounter",))) == []


@pytest.mark.parametrize("types", [None, ("Patient",), ("Observation", "Patient")])
@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_pages_together_are_the_whole(
    past: ResourceStore, types: tuple[str, ...] | None, limit: int
) -> None:
    seen: list[Stored] = []
    before = None
    while True:
        page = await past.history(Past(types=types, limit=limit, before=before))
        seen += page.versions
        if page.next is None:
            break
        assert len(page.versions) == limit
        assert page.next == page.places[-1]
        before = page.next
    assert seen == list((await past.history(Past(types=types))).versions)


async def test_a_page_goes_on_after_any_of_its_places(past: ResourceStore) -> None:
    whole = await past.history(Past())
    for index, place in enumerate(whole.places):
        rest = await past.history(Past(before=place))
        assert rest.versions == whole.versions[index + 1 :]


async def test_since_begins_with_its_own_moment(past: ResourceStore) -> None:
    assert await names(past, Past(since=minute(5))) == ["Observation/o/2", "Patient/a/3"]
    later = minute(5) + timedelta(microseconds=1)
    assert await names(past, Past(since=later)) == ["Observation/o/2"]
    assert await names(past, Past(key=Key("Patient", "a"), since=minute(3))) == [
        "Patient/a/3",
        "Patient/a/2",
    ]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, []),
        (0, 1.1, ["Patient/a/1"]),
        (2, 2.5, ["Observation/o/1", "Patient/a/1"]),
        (3, 3.5, ["Patient/b/1", "Patient/a/2", "Observation/o/1"]),
        (4, 4.5, ["Patient/b/1", "Patient/a/2", "Observation/o/1"]),
        (4, 5.5, ["Patient/a/3", "Patient/b/1", "Patient/a/2", "Observation/o/1"]),
        (9, 9.5, ["Observation/o/2", "Patient/a/3", "Patient/b/1"]),
    ],
)
async def test_at_finds_what_was_current_at_some_time_of_the_period(
    past: ResourceStore, low: float, high: float, expected: list[str]
) -> None:
    found = await names(past, Past(at=(minute(low), minute(high))))
    assert sorted(found) == sorted(expected)
    of_a = [each for each in expected if each.startswith("Patient/a")]
    key = Key("Patient", "a")
    assert await names(past, Past(key=key, at=(minute(low), minute(high)))) == of_a


async def test_at_pages_on_where_many_versions_are_passed_over(store: ResourceStore) -> None:
    await put(store, *(Draft(written("Patient/a", number, number)) for number in range(1, 300)))
    await put(store, Draft(written("Patient/b", 1, 0)))
    late = (minute(400), minute(401))
    first = await store.history(Past(at=late, limit=1))
    assert [each.key.id for each in first.versions] == ["a"]
    second = await store.history(Past(at=late, limit=1, before=first.next))
    assert [each.key.id for each in second.versions] == ["b"]
    assert second.next is None


async def test_a_file_of_the_first_schema_is_brought_up_to_date(tmp_path: Path) -> None:
    async with sqlite_place(tmp_path) as place:
        first = await place.store()
        await put(first, Draft(VERSIONS[0]))
        await first.close()
        place.opened.clear()
        with sqlite3.connect(place.address[0]) as file:
            file.execute("DROP INDEX history_by_updated")
            file.execute("DROP INDEX history_by_type")
            file.execute("PRAGMA user_version = 1")
        assert await names(await place.store(), Past()) == ["Patient/a/1"]
        with sqlite3.connect(place.address[0]) as file:
            indexes = {name for (name,) in file.execute("SELECT name FROM sqlite_master")}
        assert {"history_by_updated", "history_by_type"} <= indexes


@pytest.mark.mongodb
async def test_versions_without_a_type_get_theirs(mongodb_server: str) -> None:
    async with mongodb_place(mongodb_server) as place:
        await put(await place.store(), *(Draft(each) for each in VERSIONS))
        async with AsyncMongoClient[dict[str, object]](mongodb_server) as client:
            history = client[place.address[1]]["history"]
            await history.update_many({}, {"$set": {"type": None}})
            await client[place.address[1]]["schema"].delete_one({"_id": "store"})
        again = await place.store()
        assert len(await names(again, Past(types=("Patient",)))) == 4


async def test_a_unit_sees_the_past_and_what_it_has_written(past: ResourceStore) -> None:
    async def unit(transaction: Transaction) -> list[str]:
        await transaction.put(Draft(written("Patient/b", 2, 7)), 1)
        page = await transaction.history(Past(since=minute(5)))
        return [f"{each.key}/{each.version}" for each in page.versions]

    assert await past.transaction(unit) == ["Patient/b/2", "Observation/o/2", "Patient/a/3"]
