"""Versions that are forgotten for good, on both stores."""

import pytest

from fhir_server.storage.port import (
    Draft,
    Key,
    Past,
    ResourceStore,
    Stored,
    Transaction,
    VersionConflict,
)
from tests.stores import draft, put, version

ANN = Key("Patient", "ann")
LONG = b'{"resourceType":"Patient","x":"' + b"long " * 1_000_000 + b'"}'


async def forget(store: ResourceStore, *keys: Key) -> None:
    async def unit(transaction: Transaction) -> None:
        for key in keys:
            await transaction.forget(key)

    await store.transaction(unit)


async def versions(store: ResourceStore, key: Key) -> list[int]:
    return [each.version for each in (await store.history(Past(key=key))).versions]


async def test_earlier_versions_are_gone_and_the_current_one_stays(store: ResourceStore) -> None:
    await put(store, *(draft("Patient/ann", number) for number in (1, 2, 3)))
    await put(store, draft("Patient/anna"), draft("Patient/anna", 2))
    await forget(store, ANN)
    assert await versions(store, ANN) == [3]
    assert await store.get(ANN, 1) is None
    current = await store.get(ANN)
    assert current is not None
    assert current.version == 3
    assert await versions(store, Key("Patient", "anna")) == [2, 1]


async def test_a_long_body_is_forgotten_too(store: ResourceStore) -> None:
    await put(store, Draft(version("Patient/ann", 1, body=LONG)), draft("Patient/ann", 2))
    await forget(store, ANN)
    assert await store.get(ANN, 1) is None
    assert [each.version for each in (await store.history(Past())).versions] == [2]


async def test_a_deletion_and_what_it_deleted_in_one_unit(store: ResourceStore) -> None:
    await put(store, draft("Patient/ann"), draft("Patient/ann", 2))

    async def unit(transaction: Transaction) -> Stored | None:
        await transaction.put(Draft(version("Patient/ann", 3, method="DELETE")), 2)
        await transaction.forget(ANN)
        return await transaction.get(ANN, 2)

    assert await store.transaction(unit) is None
    found = await store.get(ANN)
    assert found is not None
    assert found.is_deleted
    assert await versions(store, ANN) == [3]


async def test_it_goes_on_after_what_was_forgotten(store: ResourceStore) -> None:
    await put(store, draft("Patient/ann"), draft("Patient/ann", 2))
    await forget(store, ANN)
    with pytest.raises(VersionConflict):
        await put(store, draft("Patient/ann", 1))
    await put(store, draft("Patient/ann", 3))
    assert await versions(store, ANN) == [3, 2]


async def test_a_failed_unit_forgets_nothing(store: ResourceStore) -> None:
    await put(store, draft("Patient/ann"), draft("Patient/ann", 2))

    async def unit(transaction: Transaction) -> None:
        await transaction.forget(ANN)
        raise LookupError

    with pytest.raises(LookupError):
        await store.transaction(unit)
    assert await versions(store, ANN) == [2, 1]


async def test_what_is_not_there_is_no_failure(store: ResourceStore) -> None:
    await forget(store, ANN)
    assert await store.get(ANN) is None
