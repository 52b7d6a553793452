"""A rehearsal does what a transaction does, and leaves nothing."""

import pytest

from fhir_server.search.expression import Query
from fhir_server.storage.port import Key, Record, ResourceStore, Transaction, VersionConflict
from tests.stores import draft


async def test_it_answers_what_the_unit_saw_and_nothing_is_left(store: ResourceStore) -> None:
    async def unit(transaction: Transaction) -> tuple[int, int]:
        await transaction.reserve("name")
        await transaction.put(draft("Patient/a"), 0)
        await transaction.put_record(Record("kind", "id", {}))
        await transaction.journal(b"{}")
        stored = await transaction.get(Key("Patient", "a"))
        return stored.version if stored else 0, await transaction.count(Query("Patient"))

    assert await store.rehearse(unit) == (1, 1)
    assert await store.get(Key("Patient", "a")) is None
    assert await store.count(Query("Patient")) == 0
    assert await store.record("kind", "id") is None
    assert await store.journal(10) == []
    await store.transaction(unit)
    assert await store.count(Query("Patient")) == 1


async def test_it_fails_as_the_transaction_would(store: ResourceStore) -> None:
    async def first(transaction: Transaction) -> None:
        await transaction.put(draft("Patient/a"), 0)

    await store.transaction(first)

    async def stale(transaction: Transaction) -> None:
        await transaction.put(draft("Patient/a", 2), 1)
        await transaction.put(draft("Patient/a", 2), 1)

    with pytest.raises(VersionConflict):
        await store.rehearse(stale)
    current = await store.get(Key("Patient", "a"))
    assert current is not None
    assert current.version == 1
