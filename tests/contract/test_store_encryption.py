"""Encryption at rest: what lies in a store is sealed under its data keys, and those by a master
key that lies elsewhere. A store may be half sealed while it is sealed anew."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import cast

import pytest

from fhir_server.storage import rotation
from fhir_server.storage.master_keys import UnusableKeys, new_master_key
from fhir_server.storage.mongo.records import LONGEST_INLINE_BODY
from fhir_server.storage.port import Draft, Key, Past, Record, ResourceStore, Transaction
from fhir_server.storage.rotation import SealedStore
from fhir_server.storage.vault import PLAIN, Unreadable
from fhir_server.system import utc_now
from tests.sealed_store import body_at, everything, put_body
from tests.stores import MASTER, Place, put, version

SECRET = b"she told nobody but her doctor"
OTHER_MASTER = new_master_key()
Opened = Callable[..., Awaitable[SealedStore]]


@pytest.fixture
def opened(place: Place) -> Opened:
    """The store as one more process opens it, with these master keys."""

    async def open_store(*masters: str) -> SealedStore:
        return cast("SealedStore", await place.store(masters=masters))

    return open_store


def body(text: bytes = SECRET) -> bytes:
    return b'{"resourceType":"Patient","note":"%s"}' % text


def patient(id_: str, number: int = 1, content: bytes = SECRET) -> Draft:
    return Draft(version(f"Patient/{id_}", number, body=body(content)))


async def write_all(store: ResourceStore, id_: str = "a") -> None:
    """A resource, a record and an audit record, each with the secret."""

    async def unit(transaction: Transaction) -> None:
        await transaction.put(patient(id_), 0)
        await transaction.put_record(Record("answer", id_, {"text": SECRET.decode()}))
        await transaction.journal(b'"%s"' % SECRET)

    await store.transaction(unit)
    await store.note(b'"%s, alone"' % SECRET)


async def read_all(store: ResourceStore, id_: str = "a") -> bool:
    """Whether everything that `write_all` wrote reads back, however it is asked for."""
    current = await store.get(Key("Patient", id_))
    old = await store.get(Key("Patient", id_), 1)
    (past,) = (await store.history(Past(Key("Patient", id_)))).versions
    record = await store.record("answer", id_)
    (same,) = await store.records("answer", id_)
    entries = {each.entry for each in await store.journal(10)}
    assert current == old == past == patient(id_).stored
    assert record == same
    assert record is not None
    return record.value == {"text": SECRET.decode()} and {
        b'"%s"' % SECRET, b'"%s, alone"' % SECRET,
    } <= entries  # fmt: skip


async def rotate(store: SealedStore, limit: int = 2) -> rotation.Rotation:
    """Seal everything anew, in small batches; where it was at the end of its last turn."""
    last = await rotation.under_way(store) or await rotation.begin(store)
    while True:
        while last.place is not None:
            last = await rotation.step(store, limit)
        again = await rotation.finish(store)
        if again is None:
            return last
        last = again


async def new_key(store: SealedStore) -> None:
    await rotation.change_ring(store, lambda ring: ring.with_new_key(utc_now()))


async def test_what_lies_in_the_store_can_not_be_read_without_the_keys(
    place: Place, opened: Opened
) -> None:
    store = await opened(MASTER)
    await write_all(store)
    await store.close()
    assert SECRET not in await everything(place)
    assert await read_all(await opened(MASTER))


async def test_without_encryption_it_can(place: Place, opened: Opened) -> None:
    store = await opened()
    await write_all(store)
    await store.close()
    assert SECRET in await everything(place)


@pytest.mark.parametrize(
    ("masters", "told"),
    [((OTHER_MASTER,), "wrapped by master key"), ((), "no key file is set")],
)
async def test_a_wrong_or_missing_master_key_stops_the_start(
    opened: Opened, masters: Sequence[str], told: str
) -> None:
    await write_all(await opened(MASTER))
    with pytest.raises(UnusableKeys, match=told):
        await opened(*masters)


async def test_of_several_processes_that_begin_at_once_one_makes_the_keys(opened: Opened) -> None:
    stores = await asyncio.gather(*(opened(MASTER) for _ in range(3)))
    await write_all(stores[0])
    assert [await read_all(store) for store in stores] == [True] * 3


async def test_content_that_was_moved_to_another_place_is_not_given_out(
    place: Place, opened: Opened
) -> None:
    store = await opened(MASTER)
    await put(store, patient("a"), patient("b"), patient("b", 2, b"changed"))
    others = await body_at(place, "Patient/b", 1), await body_at(place, "Patient/b", 2)
    await put_body(place, "Patient/a", others[0])
    await put_body(place, "Patient/b", others[0], version=2)
    for key in (Key("Patient", "a"), Key("Patient", "b")):
        with pytest.raises(Unreadable, match=r"altered, or moved there"):
            await store.get(key)
    await put_body(place, "Patient/b", others[1], version=2)
    stored = await store.get(Key("Patient", "b"))
    assert stored is not None
    assert stored.body == body(b"changed")


@pytest.mark.parametrize("at", [0, 4, 8, 20, -1])
async def test_content_that_was_altered_is_not_given_out(
    place: Place, opened: Opened, at: int
) -> None:
    store = await opened(MASTER)
    await put(store, patient("a"))
    sealed = bytearray(await body_at(place, "Patient/a"))
    sealed[at] ^= 1
    await put_body(place, "Patient/a", bytes(sealed))
    with pytest.raises(Unreadable, match="Patient/a/1"):
        await store.get(Key("Patient", "a"))


async def test_plain_content_is_not_believed_where_everything_is_sealed(
    place: Place, opened: Opened
) -> None:
    store = await opened(MASTER)
    await put(store, patient("a"))
    await put_body(place, "Patient/a", body(b"planted"))
    with pytest.raises(Unreadable, match="not sealed"):
        await store.get(Key("Patient", "a"))


async def test_a_deletion_is_one_still(opened: Opened) -> None:
    store = await opened(MASTER)
    await put(store, patient("a"), Draft(version("Patient/a", 2, method="DELETE")))
    await new_key(store)
    await rotate(store)
    stored = await store.get(Key("Patient", "a"))
    assert stored is not None
    assert stored.is_deleted


async def test_a_plain_store_is_sealed_while_it_is_used(place: Place, opened: Opened) -> None:
    plain = await opened()
    await write_all(plain)
    await plain.close()
    store = await opened(MASTER)
    assert await read_all(store)
    await write_all(store, "b")
    await rotation.begin(store)
    for _ in range(3):
        await rotation.step(store, 1)
        assert await read_all(store)
        assert await read_all(store, "b")
    await store.close()  # as if it had been killed: the next goes on where it was
    store = await opened(MASTER)
    under_way = await rotation.under_way(store)
    assert under_way is not None
    assert under_way.done == 2
    await write_all(store, "c")
    await rotate(store)
    assert [await read_all(store, each) for each in "abc"] == [True] * 3
    assert set(await store.sealing.census()) == {store.sealing.vault.active}
    await put_body(place, "Patient/a", body(b"planted"))
    with pytest.raises(Unreadable, match="not sealed"):
        await store.get(Key("Patient", "a"))
    await store.close()
    assert SECRET not in await everything(place)


async def test_a_process_that_knows_the_old_key_alone_reads_and_writes_on(opened: Opened) -> None:
    server = await opened(MASTER)
    await write_all(server)
    operator = await opened(MASTER)
    await new_key(operator)
    await write_all(server, "b")  # still under the old key
    await rotation.begin(operator)
    while (await rotation.step(operator)).place is not None:
        pass
    await write_all(server, "c")  # behind the rotation's back
    assert await read_all(server)
    again = await rotation.finish(operator)
    assert again is not None
    assert again.turn == 2
    await rotate(operator)
    assert set(await operator.sealing.census()) == {2}
    assert [await read_all(server, each) for each in "abc"] == [True] * 3


async def test_a_writing_process_takes_up_a_new_key_by_itself(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, operator = await opened(MASTER), await opened(MASTER)
    await new_key(operator)
    monkeypatch.setattr("fhir_server.storage.vault.REFRESH_SECONDS", 0)
    await write_all(server)
    assert set(await operator.sealing.census()) == {2}


async def test_the_feed_goes_on_through_a_rotation(opened: Opened) -> None:
    store = await opened(MASTER)
    await put(store, patient("a"))
    feed = store.changes(None)
    assert (await anext(feed)).stored == patient("a").stored
    await new_key(store)
    await put(store, patient("b"))
    await rotate(store)
    assert (await anext(feed)).stored == patient("b").stored
    await feed.aclose()  # type: ignore[attr-defined]


@pytest.mark.parametrize("size", [LONGEST_INLINE_BODY - 10, LONGEST_INLINE_BODY + 1])
async def test_a_long_body_is_sealed_anew_as_a_whole(
    place: Place, opened: Opened, size: int
) -> None:
    content = body(SECRET * (size // len(SECRET)))
    plain = await opened()
    await put(plain, Draft(version("Patient/a", body=content)))
    await plain.close()
    store = await opened(MASTER)
    await rotate(store)
    stored = await store.get(Key("Patient", "a"))
    assert stored is not None
    assert stored.body == content
    await store.close()
    assert SECRET not in await everything(place)


async def test_what_can_not_be_opened_is_named_and_left(place: Place, opened: Opened) -> None:
    store = await opened(MASTER)
    await put(store, patient("a"), patient("b"))
    await put_body(place, "Patient/a", await body_at(place, "Patient/b"))
    await new_key(store)
    last = await rotate(store)
    (named,) = last.unreadable
    assert "Patient/a/1" in named
    assert await store.sealing.census() == {1: 1, 2: 1}


async def test_another_master_key_takes_over(opened: Opened) -> None:
    await write_all(await opened(MASTER))
    both = await opened(OTHER_MASTER, MASTER)
    assert await read_all(both)
    await rotation.change_ring(both, lambda ring: ring)
    assert await read_all(await opened(OTHER_MASTER))
    with pytest.raises(UnusableKeys):
        await opened(MASTER)


async def test_a_ring_that_was_altered_stops_the_start(opened: Opened) -> None:
    store = await opened(MASTER)

    async def swap(transaction: Transaction) -> None:
        ring = await transaction.record("encryption", "ring")
        assert ring is not None
        wrapped = ring.value["wrapped"]
        value = {**ring.value, "wrapped": wrapped[:40] + wrapped[41:] + "A"}
        await transaction.put_record(replace(ring, value=value))

    await store.transaction(swap)
    with pytest.raises(UnusableKeys, match="altered"):
        await opened(MASTER)


async def test_without_keys_sealed_content_is_refused(opened: Opened) -> None:
    """A process that began when the store was plain."""
    early = await opened()
    await put(await opened(MASTER), patient("a"))
    with pytest.raises(Unreadable):
        await early.get(Key("Patient", "a"))


async def test_a_census_tells_plain_content_apart(opened: Opened) -> None:
    plain = await opened()
    await write_all(plain)
    assert await plain.sealing.census() == {PLAIN: 4}
    store = await opened(MASTER)
    await write_all(store, "b")
    assert await store.sealing.census() == {PLAIN: 4, 1: 4}
