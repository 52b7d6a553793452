"""Records and the audit journal, on both stores."""

import asyncio
from datetime import timedelta

import pytest

from fhir_server.storage.port import Record, ResourceStore, Transaction, VersionConflict
from tests.stores import START, Place

VALUE = {"a.b": {"$c": [1, 2.5, None, True, "ä"]}, "big": 2**70, "": ""}


async def put_record(store: ResourceStore, record: Record, expected: int | None = None) -> None:
    await store.transaction(lambda transaction: transaction.put_record(record, expected))


async def test_a_record_reads_back_exactly(store: ResourceStore) -> None:
    expires = START + timedelta(seconds=60, milliseconds=1)
    await put_record(store, Record("kind", "a|b/c?d", VALUE, expires=expires))
    assert await store.record("kind", "a|b/c?d") == Record("kind", "a|b/c?d", VALUE, 1, expires)
    assert await store.record("kin", "da|b/c?d") is None
    assert await store.record("other", "a|b/c?d") is None


async def test_each_replacement_raises_the_revision(store: ResourceStore) -> None:
    for number in range(3):
        await put_record(store, Record("k", "id", {"n": number}))
    assert await store.record("k", "id") == Record("k", "id", {"n": 2}, 3)


async def test_a_record_is_replaced_at_its_revision_alone(store: ResourceStore) -> None:
    await put_record(store, Record("k", "id", {"n": 1}), 0)
    await put_record(store, Record("k", "id", {"n": 2}), 1)
    for wrong in (0, 1, 3):
        with pytest.raises(VersionConflict):
            await put_record(store, Record("k", "id", {"n": 9}), wrong)
    assert await store.record("k", "id") == Record("k", "id", {"n": 2}, 2)


async def test_a_record_that_must_exist_and_does_not_is_a_conflict(store: ResourceStore) -> None:
    with pytest.raises(VersionConflict):
        await put_record(store, Record("k", "id", {}), 1)


async def test_of_many_that_insert_one_wins(store: ResourceStore) -> None:
    outcomes = await asyncio.gather(
        *(put_record(store, Record("jti", "x", {"n": n}), 0) for n in range(10)),
        return_exceptions=True,
    )
    assert sum(outcome is None for outcome in outcomes) == 1
    assert sum(isinstance(outcome, VersionConflict) for outcome in outcomes) == 9


async def test_of_many_that_spend_one_wins(store: ResourceStore) -> None:
    await put_record(store, Record("code", "x", {"used": False}), 0)
    outcomes = await asyncio.gather(
        *(put_record(store, Record("code", "x", {"used": True}), 1) for _ in range(10)),
        return_exceptions=True,
    )
    assert sum(outcome is None for outcome in outcomes) == 1


async def test_counting_units_lose_nothing(store: ResourceStore) -> None:
    async def unit(transaction: Transaction) -> None:
        present = await transaction.record("k", "n")
        number = present.value["n"] if present else 0
        await transaction.put_record(Record("k", "n", {"n": number + 1}))

    await asyncio.gather(*(store.transaction(unit) for _ in range(10)))
    assert await store.record("k", "n") == Record("k", "n", {"n": 10}, 10)


async def test_an_expired_record_is_absent_and_can_be_made_again(place: Place) -> None:
    store = await place.store()
    expires = START + timedelta(seconds=10)
    await put_record(store, Record("k", "id", {"n": 1}, expires=expires))
    await put_record(store, Record("k", "id", {"n": 2}, expires=expires))
    place.clock.advance(9.999)
    assert (await store.records("k"))[0].revision == 2
    place.clock.advance(0.001)
    assert await store.record("k", "id") is None
    assert await store.records("k") == []
    with pytest.raises(VersionConflict):
        await put_record(store, Record("k", "id", {}), 2)
    await put_record(store, Record("k", "id", {"n": 3}), 0)
    assert await store.record("k", "id") == Record("k", "id", {"n": 3}, 1)
    await store.check()
    assert await store.record("k", "id") is not None


async def test_a_unit_sees_its_own_records(store: ResourceStore) -> None:
    await put_record(store, Record("k", "old", {"n": 0}))

    async def unit(transaction: Transaction) -> None:
        await transaction.put_record(Record("k", "new", {"n": 1}), 0)
        assert await transaction.record("k", "new") == Record("k", "new", {"n": 1}, 1)
        await transaction.put_record(Record("k", "new", {"n": 2}), 1)
        with pytest.raises(VersionConflict):
            await transaction.put_record(Record("k", "new", {}), 1)
        await transaction.delete_record("k", "old")
        assert await transaction.record("k", "old") is None
        await transaction.put_record(Record("k", "old", {"n": 5}), 0)
        await transaction.put_record(Record("k", "brief", {}), 0)
        await transaction.delete_record("k", "brief")
        await transaction.delete_record("k", "never")

    await store.transaction(unit)
    assert await store.records("k") == [
        Record("k", "new", {"n": 2}, 2),
        Record("k", "old", {"n": 5}, 1),
    ]


async def test_a_deleted_record_is_gone(store: ResourceStore) -> None:
    await put_record(store, Record("k", "id", {}))
    for _ in range(2):
        await store.transaction(lambda transaction: transaction.delete_record("k", "id"))
    assert await store.record("k", "id") is None


async def test_records_are_listed_by_prefix_in_order(store: ResourceStore) -> None:
    for id_ in ("b", "a:2", "a:1", "a:10", "a", "a;", "ä", "\U0001f600"):
        await put_record(store, Record("k", id_, {}))
    await put_record(store, Record("kk", "a:3", {}))
    await put_record(store, Record("j", "a:3", {}))

    async def ids(prefix: str = "", after: str = "", limit: int = 1000) -> list[str]:
        return [each.id for each in await store.records("k", prefix, after, limit)]

    assert await ids() == ["a", "a:1", "a:10", "a:2", "a;", "b", "ä", "\U0001f600"]
    assert await ids("a:") == ["a:1", "a:10", "a:2"]
    assert await ids("a:", "a:1") == ["a:10", "a:2"]
    assert await ids("a:", "a:1", 1) == ["a:10"]
    assert await ids("a:", "b") == []
    assert await ids("z") == []


async def test_the_journal_keeps_its_order_until_it_is_sealed(store: ResourceStore) -> None:
    for number in range(4):
        await store.transaction(lambda transaction, n=number: transaction.journal(b"%d" % n))

    async def two(transaction: Transaction) -> None:
        await transaction.journal(b"4")
        await transaction.journal(b"5")

    await store.transaction(two)
    waiting = await store.journal(100)
    assert [each.entry for each in waiting] == [b"0", b"1", b"2", b"3", b"4", b"5"]
    assert len(await store.journal(2)) == 2
    await store.transaction(lambda transaction: transaction.seal([waiting[0].position]))
    await store.transaction(
        lambda transaction: transaction.seal([each.position for each in waiting[2:]])
    )
    assert await store.journal(100) == [waiting[1]]
    await store.transaction(lambda transaction: transaction.seal([]))


async def test_what_is_sealed_cannot_be_sealed_again(store: ResourceStore) -> None:
    for _ in range(2):
        await store.transaction(lambda transaction: transaction.journal(b"x"))
    first, second = [each.position for each in await store.journal(2)]
    await store.transaction(lambda transaction: transaction.seal([first]))

    async def unit(transaction: Transaction) -> None:
        await transaction.put_record(Record("k", "block", {}))
        await transaction.seal([second, first])

    with pytest.raises(VersionConflict):
        await store.transaction(unit)
    assert [each.position for each in await store.journal(2)] == [second]
    assert await store.record("k", "block") is None


async def test_of_two_sealers_one_wins(store: ResourceStore) -> None:
    for _ in range(3):
        await store.transaction(lambda transaction: transaction.journal(b"x"))
    positions = [each.position for each in await store.journal(3)]
    outcomes = await asyncio.gather(
        *(store.transaction(lambda transaction: transaction.seal(positions)) for _ in range(4)),
        return_exceptions=True,
    )
    assert sum(outcome is None for outcome in outcomes) == 1
    assert sum(isinstance(outcome, VersionConflict) for outcome in outcomes) == 3
