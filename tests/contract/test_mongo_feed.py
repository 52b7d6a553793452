"""The feed where change streams fail: a lost token, none at all, commits that come late."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import Any

import pytest
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import AutoReconnect, OperationFailure

from fhir_server.storage.mongo import feed
from fhir_server.storage.port import Change
from tests.stores import Place, draft, mongodb_place, put

pytestmark = pytest.mark.mongodb

HISTORY_LOST = 286
NO_CHANGE_STREAMS = 40573


@pytest.fixture
async def place(mongodb_server: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    """An empty database, and a feed that is quick to try again."""
    monkeypatch.setattr(feed, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(feed, "PAUSE_SECONDS", 0.02)
    async with mongodb_place(mongodb_server) as opened:
        yield opened


@pytest.fixture
def poor_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine without change streams."""

    async def watch(*_: Any, **__: Any) -> None:
        raise OperationFailure("no change streams here", NO_CHANGE_STREAMS)

    monkeypatch.setattr(AsyncCollection, "watch", watch)


async def ids(changes: Any, count: int) -> list[str]:
    """The ids of the next changes."""
    async with asyncio.timeout(10):
        return [(await anext(changes)).stored.key.id for _ in range(count)]


@pytest.mark.usefixtures("poor_engine")
async def test_without_change_streams_nothing_is_lost_or_repeated(place: Place) -> None:
    store = await place.store()
    await put(store, draft("Patient/a"), draft("Patient/b"))
    async with aclosing(store.changes(None)) as changes:
        assert await ids(changes, 2) == ["a", "b"]
        for name in "cdef":
            place.clock.advance(40)
            await put(store, draft(f"Patient/{name}"))
        assert await ids(changes, 4) == ["c", "d", "e", "f"]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await anext(changes)


@pytest.mark.usefixtures("poor_engine")
async def test_a_feed_ends_though_the_driver_lost_the_word(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def deaf(*_: Any) -> AsyncIterator[Change]:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(2)
        for change in ():
            yield change

    store = await place.store()
    monkeypatch.setattr(feed.Feed, "_scan", deaf)
    async with aclosing(store.changes(None)) as changes:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await anext(changes)


@pytest.mark.usefixtures("poor_engine")
@pytest.mark.parametrize("seconds_late", [1, 60, 145])
async def test_a_commit_that_comes_late_is_passed_on(place: Place, seconds_late: float) -> None:
    store = await place.store()
    await put(store, draft("Patient/a"))
    async with aclosing(store.changes(None)) as changes:
        assert await ids(changes, 1) == ["a"]
        place.clock.advance(-seconds_late)
        await put(store, draft("Patient/late"))
        place.clock.advance(seconds_late + 1)
        await put(store, draft("Patient/b"))
        assert set(await ids(changes, 2)) == {"late", "b"}


@pytest.mark.usefixtures("poor_engine")
async def test_without_change_streams_a_position_resumes(place: Place) -> None:
    store = await place.store()
    await put(store, draft("Patient/a"))
    async with aclosing(store.changes(None)) as changes:
        position = (await anext(changes)).position
    place.clock.advance(-30)
    await put(store, draft("Patient/late"))
    place.clock.advance(500)
    await put(store, draft("Patient/b"))
    async with aclosing(store.changes(position)) as changes:
        assert {"late", "b"} <= set(await ids(changes, 3))
        position = (await _with_id(store.changes(position), "b")).position
    async with aclosing(store.changes(position)) as changes:
        assert await ids(changes, 1) == ["b"]  # within the overlap, so repeated


async def _with_id(changes: Any, wanted: str) -> Change:
    async with aclosing(changes) as open_changes:
        async for change in open_changes:
            if change.stored.key.id == wanted:
                return change  # type: ignore[no-any-return]
    raise AssertionError("the feed ended")


@pytest.mark.parametrize("error", [OperationFailure("lost", HISTORY_LOST), AutoReconnect("gone")])
async def test_a_stream_that_fails_is_caught_up(
    place: Place, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    store = await place.store()
    await put(store, draft("Patient/a"))
    async with aclosing(store.changes(None)) as changes:
        position = (await anext(changes)).position
        await put(store, draft("Patient/b"))
        assert await ids(changes, 1) == ["b"]
    original, failures = AsyncCollection.watch, [error, error]

    async def watch(collection: Any, *arguments: Any, **options: Any) -> Any:
        if options.get("resume_after") and failures:
            raise failures.pop()
        return await original(collection, *arguments, **options)

    monkeypatch.setattr(AsyncCollection, "watch", watch)
    async with aclosing(store.changes(position)) as changes:
        found = await _until(changes, "b")
        await put(store, draft("Patient/c"))
        found += await _until(changes, "c")
    assert found.count("b") == found.count("c") == 1
    assert not failures


async def _until(changes: Any, wanted: str) -> list[str]:
    found: list[str] = []
    while wanted not in found:
        found += await ids(changes, 1)
    return found


@pytest.mark.parametrize("token", ['{"_data": "8200"}', '{"_data": "zz"}'])
async def test_a_token_of_another_server_is_caught_up_from_its_time(
    place: Place, token: str
) -> None:
    store = await place.store()
    await put(store, draft("Patient/old"))
    async with aclosing(store.changes(None)) as changes:
        moment = (await anext(changes)).position.partition("|")[0]
    place.clock.advance(400)
    await put(store, draft("Patient/new"))
    later = int(moment) + 390_000
    async with aclosing(store.changes(f"{later}|{token}")) as changes:
        assert await ids(changes, 1) == ["new"]


async def test_what_a_feed_remembers_is_bounded(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "MOST_REMEMBERED", 5)
    store = await place.store()
    await put(store, *(draft(f"Patient/{number:02d}") for number in range(30)))
    reader = feed.Feed(store._collections, None)  # type: ignore[attr-defined]
    async with aclosing(reader.changes()) as changes:
        assert len(set(await ids(changes, 30))) == 30
        assert len(reader._passed) <= 5
