"""A store as a whole, read at one moment and written into an empty one, of either kind."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from fhir_server.storage.port import Draft, Key, Record, Stored, Transaction
from fhir_server.storage.snapshot import Cut, Version, WholeStore
from tests.stores import BOTH, START, Place, place_of, put, version

LONG = b'{"resourceType":"Binary","x":"%s"}' % (b"y" * 5 * 1024 * 1024)
WRITTEN = (
    version("Binary/long", body=LONG),
    version("Patient/1"),
    version("Patient/1", 2, body=b'{"resourceType":"Patient","active":true}'),
    version("Patient/2"),
    version("Patient/2", 2, method="DELETE"),
)


async def filled(place: Place) -> WholeStore:
    """A store with versions, records at their second revision, one that has expired, and audit
    records."""
    store = cast("WholeStore", await place.store())
    await put(store, *map(Draft, WRITTEN))

    async def unit(transaction: Transaction) -> None:
        for record in (Record("user", "amina", {"name": "Amina"}), Record("block", "1", {})):
            await transaction.put_record(record)
            await transaction.put_record(record)
        await transaction.put_record(Record("session", "old", {}, expires=START))

    await store.transaction(unit)
    await store.note(b"first")
    await store.note(b"second")
    return store


async def read(store: WholeStore, after: int = 0) -> tuple[list[Version], Cut]:
    async with store.copying.snapshot() as snapshot:
        found = [each async for each in snapshot.versions(after)]
        return found, snapshot.cut()


async def copy(source: WholeStore, empty: WholeStore) -> str:
    """Fill the empty store; the position of its feed behind everything."""
    engine = source.copying.engine
    async with source.copying.snapshot() as snapshot, empty.copying.loading(engine) as loading:
        async for each in snapshot.versions(0):
            await loading.versions([each, each])
        await loading.records([each async for each in snapshot.records({})])
        await loading.journal([each async for each in snapshot.journal()])
        return await loading.finish(snapshot.cut())


def in_order(found: list[Version]) -> list[Stored]:
    return sorted((each.stored for each in found), key=lambda each: (each.key, each.version))


@pytest.fixture(params=BOTH)
async def other(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[WholeStore]:
    """An empty store of each kind, encrypted, which the source is not."""
    folder = tmp_path / "other"
    folder.mkdir()
    async with place_of(request, f"{request.param} sealed", folder) as place:
        yield cast("WholeStore", await place.store())


async def test_a_snapshot_is_what_was_committed_and_nothing_later(place: Place) -> None:
    store = await filled(place)
    async with store.copying.snapshot() as snapshot:
        found = [each async for each in snapshot.versions(0)]
        await put(store, Draft(version("Patient/later")))
        await store.transaction(lambda unit: unit.put_record(Record("user", "late", {})))
        await store.note(b"third")
        records = [each async for each in snapshot.records({})]
        added = [each.kind async for each in snapshot.records({"block": "1"})]
        journal = [each async for each in snapshot.journal()]
    assert in_order(found) == list(WRITTEN)
    expected = [("block", "1", 2), ("user", "amina", 2)]
    assert [(each.kind, each.id, each.revision) for each in records] == expected
    assert added == ["user"]
    assert journal == [b"first", b"second"]


async def test_what_came_after_a_place_is_read_alone_and_what_is_final_is_counted(
    place: Place,
) -> None:
    store = await filled(place)
    before, cut = await read(store)
    place.clock.advance(3600)
    await put(store, Draft(version("Patient/later")))
    after, later = await read(store, cut.place)
    names = {str(each.stored.key) for each in after}
    assert "Patient/later" in names
    assert later.place > cut.place
    async with store.copying.snapshot() as snapshot:
        assert await snapshot.count(later.first_open) <= len(before) + 1
        assert await snapshot.count(later.place) == len(before)


async def test_an_empty_store_becomes_the_same_and_goes_on(place: Place, other: WholeStore) -> None:
    source = await filled(place)
    assert not await source.copying.is_empty()
    assert await other.copying.is_empty()
    position = await copy(source, other)
    assert in_order((await read(other))[0]) == list(WRITTEN)
    assert await other.get(Key("Patient", "1")) == WRITTEN[2]
    deleted = await other.get(Key("Patient", "2"))
    assert deleted is not None
    assert deleted.is_deleted
    current = await other.current(None, 10)
    assert [str(each.key) for each in current] == ["Binary/long", "Patient/1"]
    user = await other.record("user", "amina")
    assert user is not None
    assert (user.value, user.revision) == ({"name": "Amina"}, 2)
    assert [each.entry for each in await other.journal(10)] == [b"first", b"second"]
    await put(other, Draft(version("Patient/1", 3)))
    async for change in other.changes(position):
        if (change.stored.key, change.stored.version) == (Key("Patient", "1"), 3):
            break
    assert not await other.copying.is_empty()
