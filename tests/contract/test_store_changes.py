"""The change feed: nothing lost, resumable, quiet, on both stores."""

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fhir_server.storage.port import Change, Draft, ResourceStore, VersionConflict
from tests.stores import Place, draft, put, version


@asynccontextmanager
async def feed(store: ResourceStore, after: str | None) -> AsyncIterator[AsyncIterator[Change]]:
    """The feed after a position; closed at the end."""
    changes = store.changes(after)
    try:
        yield changes
    finally:
        await changes.aclose()  # type: ignore[attr-defined]


async def following(store: ResourceStore, after: str | None, count: int) -> list[Change]:
    """The next changes, each once, until there are that many different ones."""
    found: dict[tuple[str, int], Change] = {}
    async with asyncio.timeout(20), feed(store, after) as changes:
        while len(found) < count:
            change = await anext(changes)
            found.setdefault((str(change.stored.key), change.stored.version), change)
    return list(found.values())


def names(changes: list[Change]) -> list[str]:
    return [f"{change.stored.key}/{change.stored.version}" for change in changes]


async def following_all(store: ResourceStore, after: str | None, wanted: set[str]) -> list[Change]:
    """The next changes until all that are wanted have come; others may be repeated."""
    found: list[Change] = []
    async with asyncio.timeout(20), feed(store, after) as changes:
        while not wanted <= set(names(found)):
            found.append(await anext(changes))
    return found


async def test_the_feed_begins_with_what_is_there(store: ResourceStore) -> None:
    await put(store, draft("Patient/a"), draft("Patient/b"))
    await put(store, draft("Patient/a", 2), Draft(version("Patient/b", 2, method="DELETE")))
    changes = await following(store, None, 4)
    assert set(names(changes)) == {"Patient/a/1", "Patient/b/1", "Patient/a/2", "Patient/b/2"}
    assert names(changes).index("Patient/a/1") < names(changes).index("Patient/a/2")
    by_name = dict(zip(names(changes), changes, strict=True))
    assert by_name["Patient/a/2"].stored == version("Patient/a", 2)
    assert by_name["Patient/b/2"].stored == version("Patient/b", 2, method="DELETE")


async def test_the_feed_waits_for_what_comes(store: ResourceStore) -> None:
    async with feed(store, None) as changes:
        waiting = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await put(store, draft("Patient/a"))
        async with asyncio.timeout(3):
            assert (await waiting).stored == version("Patient/a")


async def test_the_feed_resumes_after_each_position(store: ResourceStore) -> None:
    await put(store, draft("Patient/0"))
    first = await following(store, None, 1)
    await put(store, *(draft(f"Patient/{number}") for number in range(1, 6)))
    wanted = [f"Patient/{number}/1" for number in range(1, 6)]
    rest = await following_all(store, first[0].position, set(wanted))
    for index, change in enumerate(rest):
        await following_all(store, change.position, set(names(rest)[index + 1 :]))


async def test_a_position_survives_a_restart(place: Place) -> None:
    store = await place.store()
    await put(store, draft("Patient/a"), draft("Patient/b"))
    position = (await following(store, None, 2))[-1].position
    await store.close()
    place.opened.clear()
    store = await place.store()
    await put(store, draft("Patient/c"))
    await following_all(store, position, {"Patient/c/1"})


async def test_a_failed_unit_is_not_in_the_feed(store: ResourceStore) -> None:
    await put(store, draft("Patient/a"))
    with pytest.raises(VersionConflict):
        await put(store, draft("Patient/b"), draft("Patient/a"))
    await put(store, draft("Patient/c"))
    assert names(await following(store, None, 2)) == ["Patient/a/1", "Patient/c/1"]


async def test_no_commit_of_many_at_once_is_lost(store: ResourceStore) -> None:
    writers, each = 6, 8

    async def write(writer: int) -> None:
        for number in range(each):
            await put(store, draft(f"Patient/{writer}-{number}"), draft(f"Task/{writer}-{number}"))

    expected = writers * each * 2
    following_task = asyncio.create_task(following(store, None, expected))
    await asyncio.sleep(0.05)
    await asyncio.gather(*(write(writer) for writer in range(writers)))
    live = await following_task
    assert len(live) == expected
    later = await following(store, live[expected // 2].position, 1)
    assert later


async def test_two_readers_do_not_disturb_each_other(store: ResourceStore) -> None:
    both = [asyncio.create_task(following(store, None, 3)) for _ in range(2)]
    await asyncio.sleep(0.05)
    await put(store, *(draft(f"Patient/{number}") for number in range(3)))
    first, second = await asyncio.gather(*both)
    assert set(names(first)) == set(names(second))


async def test_a_feed_that_waits_costs_nothing(store: ResourceStore) -> None:
    await put(store, draft("Patient/a"))
    async with feed(store, None) as changes:
        await anext(changes)
        waiting = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0.2)
        before = resource.getrusage(resource.RUSAGE_SELF)
        await asyncio.sleep(1.0)
        after = resource.getrusage(resource.RUSAGE_SELF)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.2


async def test_a_closed_feed_ends_and_the_store_goes_on(store: ResourceStore) -> None:
    for _ in range(3):
        async with feed(store, None) as changes:
            waiting = asyncio.ensure_future(anext(changes))
            await asyncio.sleep(0.02)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
    await put(store, draft("Patient/a"))
    assert names(await following(store, None, 1)) == ["Patient/a/1"]


async def test_a_large_backlog_comes_whole(store: ResourceStore) -> None:
    for start in range(0, 450, 150):
        await put(store, *(draft(f"Patient/{number}") for number in range(start, start + 150)))
    assert len(await following(store, None, 450)) == 450
