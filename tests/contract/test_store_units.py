"""Units: all or nothing, their own writes in view, conflicts retried, on both stores."""

import asyncio

import pytest

from fhir_server.search.expression import HasTerm, LinksTo, Query, SortKey
from fhir_server.storage.port import (
    Draft,
    Key,
    Past,
    Record,
    ResourceStore,
    Transaction,
    VersionConflict,
)
from tests.stores import draft, put, version

PATIENT = Key("Patient", "a")
NAMED = Query("Patient", HasTerm("Patient.name", "x"))


class Refused(Exception):
    """What a unit of these tests fails with."""


async def nothing_is_left(store: ResourceStore) -> bool:
    """Whether a failed unit of these tests left no trace."""
    return (
        await store.get(PATIENT) is None
        and await store.get(PATIENT, 1) is None
        and await store.count(Query("Patient")) == 0
        and await store.record("kind", "id") is None
        and await store.journal(10) == []
    )


async def test_a_unit_returns_what_its_function_returns(store: ResourceStore) -> None:
    async def unit(transaction: Transaction) -> str:
        await transaction.put(draft("Patient/a"), 0)
        return "result"

    assert await store.transaction(unit) == "result"


async def test_a_unit_without_writes_is_fine(store: ResourceStore) -> None:
    async def unit(transaction: Transaction) -> None:
        return None

    assert await store.transaction(unit) is None


@pytest.mark.parametrize("is_sent", [False, True])
async def test_a_unit_that_fails_leaves_nothing(store: ResourceStore, is_sent: bool) -> None:
    async def unit(transaction: Transaction) -> None:
        await transaction.reserve("name")
        await transaction.put(draft("Patient/a", 1, ("name", "x")), 0)
        await transaction.put_record(Record("kind", "id", {}))
        await transaction.journal(b"entry")
        if is_sent:
            assert await transaction.count(NAMED) == 1
        raise Refused

    with pytest.raises(Refused):
        await store.transaction(unit)
    assert await nothing_is_left(store)


async def test_a_conflict_at_the_last_write_undoes_all(store: ResourceStore) -> None:
    await put(store, draft("Observation/taken"))

    async def unit(transaction: Transaction) -> None:
        await transaction.journal(b"entry")
        await transaction.put_record(Record("kind", "id", {}))
        await transaction.put(draft("Patient/a"), 0)
        await transaction.put(draft("Observation/taken"), 0)

    with pytest.raises(VersionConflict):
        await store.transaction(unit)
    assert await nothing_is_left(store)


async def test_a_cancelled_unit_leaves_nothing(store: ResourceStore) -> None:
    """Both stores finish or undo it; it is never half there."""

    async def unit(transaction: Transaction) -> None:
        await transaction.put(draft("Patient/a"), 0)
        await transaction.put(draft("Patient/b"), 0)

    task = asyncio.create_task(store.transaction(unit))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await put(store, draft("Patient/c"))
    assert await store.count(Query("Patient")) in {1, 3}


async def test_a_unit_sees_its_own_writes(store: ResourceStore) -> None:
    await put(store, draft("Patient/old", 1, ("name", "x"), birthdate="1"))

    async def unit(transaction: Transaction) -> None:
        await transaction.put(draft("Patient/a", 1, ("name", "x"), birthdate="2"), 0)
        assert await transaction.get(PATIENT) == version("Patient/a")
        assert await transaction.get(PATIENT, 1) == version("Patient/a")
        assert await transaction.count(NAMED) == 2
        sort = (SortKey("Patient.birthdate"),)
        page = await transaction.find(Query("Patient", NAMED.where, sort, 1))
        assert [each.key.id for each in page.matches] == ["old"]
        page = await transaction.find(Query("Patient", NAMED.where, sort, 1, page.next))
        assert page.matches == (version("Patient/a"),)
        await transaction.put(draft("Observation/o", 1, ("subject", "Patient/a")), 0)
        chain = LinksTo("Observation.subject", "Patient", NAMED.where)
        assert await transaction.count(Query("Observation", chain)) == 1
        await transaction.put(draft("Patient/a", 2, ("name", "y")), 1)
        assert await transaction.get(PATIENT) == version("Patient/a", 2)
        assert await transaction.get(PATIENT, 1) == version("Patient/a")
        assert await transaction.count(NAMED) == 1
        await transaction.put(Draft(version("Patient/old", 2, method="DELETE")), 1)
        assert await transaction.count(NAMED) == 0

    await store.transaction(unit)
    assert await store.get(PATIENT) == version("Patient/a", 2)
    assert await store.count(Query("Observation")) == 1


async def test_several_versions_of_one_resource_in_a_unit(store: ResourceStore) -> None:
    async def unit(transaction: Transaction) -> None:
        await transaction.put(draft("Patient/a", 1), 0)
        await transaction.put(Draft(version("Patient/a", 2, method="DELETE")), 1)
        await transaction.put(draft("Patient/a", 3), 2)
        with pytest.raises(VersionConflict):
            await transaction.put(draft("Patient/a", 4), 2)

    await store.transaction(unit)
    assert await store.get(PATIENT) == version("Patient/a", 3)
    assert [each.version for each in (await store.history(Past(PATIENT, limit=9))).versions] == [
        3,
        2,
        1,
    ]


async def test_nothing_of_a_unit_shows_before_its_commit(store: ResourceStore) -> None:
    """Outside readers see all of a unit or nothing of it, in the middle of many commits."""
    is_done = False
    seen: set[int] = set()

    async def look() -> None:
        while not is_done:
            seen.add(await store.count(Query("Patient", HasTerm("Patient.name", "x"))) % 3)
            await asyncio.sleep(0)

    reader = asyncio.create_task(look())
    for number in range(15):
        await put(store, *(draft(f"Patient/{number}-{i}", 1, ("name", "x")) for i in range(3)))
    is_done = True
    await reader
    assert seen == {0}


async def test_units_that_read_and_write_the_same_lose_no_update(store: ResourceStore) -> None:
    await put(store, draft("Patient/a"))

    async def unit(transaction: Transaction) -> None:
        present = await transaction.get(PATIENT)
        assert present is not None
        await transaction.put(draft("Patient/a", present.version + 1), present.version)

    await asyncio.gather(*(store.transaction(unit) for _ in range(12)))
    stored = await store.get(PATIENT)
    assert stored is not None
    assert stored.version == 13
    assert len((await store.history(Past(PATIENT, limit=50))).versions) == 13


async def test_of_many_first_versions_one_wins(store: ResourceStore) -> None:
    outcomes = await asyncio.gather(
        *(put(store, draft("Patient/a")) for _ in range(10)), return_exceptions=True
    )
    assert sum(outcome is None for outcome in outcomes) == 1
    assert sum(isinstance(outcome, VersionConflict) for outcome in outcomes) == 9


async def test_a_reservation_makes_search_and_create_one_step(store: ResourceStore) -> None:
    async def create(number: int) -> None:
        async def unit(transaction: Transaction) -> None:
            await transaction.reserve("Patient?name=x")
            if not await transaction.count(NAMED):
                await transaction.put(draft(f"Patient/{number}", 1, ("name", "x")), 0)

        await store.transaction(unit)

    await asyncio.gather(*(create(number) for number in range(12)))
    assert await store.count(NAMED) == 1


async def test_reservations_in_any_order_never_block_each_other(store: ResourceStore) -> None:
    async def both(first: str, second: str, number: int) -> None:
        async def unit(transaction: Transaction) -> None:
            await transaction.reserve(first)
            await transaction.count(NAMED)
            await transaction.reserve(second)
            await transaction.put(draft(f"Patient/{first}{number}"), 0)

        await store.transaction(unit)

    names = [("x", "y"), ("y", "x")]
    async with asyncio.timeout(30):
        await asyncio.gather(*(both(*names[number % 2], number) for number in range(8)))
    assert await store.count(Query("Patient")) == 8


async def test_a_failed_unit_does_not_harm_those_beside_it(store: ResourceStore) -> None:
    async def bad(transaction: Transaction) -> None:
        await transaction.put(draft("Patient/bad"), 0)
        raise Refused

    units = [put(store, draft(f"Patient/{number}")) for number in range(10)]
    outcomes = await asyncio.gather(
        *units[:5], store.transaction(bad), *units[5:], return_exceptions=True
    )
    assert sum(isinstance(outcome, Refused) for outcome in outcomes) == 1
    assert await store.count(Query("Patient")) == 10
