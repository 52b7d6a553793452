"""A search, count or history has so many seconds, on either store; then it is refused, and the
store goes on answering."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from fhir_server.fhir.outcome import FhirError
from fhir_server.search.expression import AnyOf, HasTerm, HasText, Query
from fhir_server.storage.port import Key, Past, ResourceStore, Transaction
from fhir_server.storage.sqlite import allowance
from tests.stores import START, Place, draft, put, sqlite_place

SCAN = AnyOf(tuple(HasText("Patient.name", f"no{each}") for each in range(800)))
SLOW = Query("Patient", SCAN)
QUICK = Query("Patient", HasTerm("Patient._id", "7"))
SECONDS = 0.05
PATIENTS = 300


async def fill(store: ResourceStore) -> None:
    names = [("name", f"name {each}") for each in range(40)]
    await put(store, *(draft(f"Patient/{each}", 1, *names) for each in range(PATIENTS)))


@pytest.fixture
async def limited(place: Place) -> ResourceStore:
    """A store of few resources with many names, whose searches may take next to no time."""
    await fill(await place.store())
    return await place.store(SECONDS)


async def refusal_of(answer: Awaitable[object]) -> FhirError:
    with pytest.raises(FhirError) as refusal:
        await answer
    assert refusal.value.status == 400
    assert refusal.value.issues[0].code == "too-costly"
    return refusal.value


@pytest.mark.parametrize("ask", ["find", "count"])
async def test_what_takes_too_long_is_refused_and_the_store_goes_on(
    limited: ResourceStore, ask: str
) -> None:
    refusals = [refusal_of(getattr(limited, ask)(SLOW)) for _ in range(6)]
    for refusal in await asyncio.gather(*refusals):
        assert "takes longer than 0.05 seconds" in str(refusal)

    assert [each.key.id for each in (await limited.find(QUICK)).matches] == ["7"]
    assert await limited.count(QUICK) == 1


async def test_the_same_search_is_answered_where_there_is_time(tmp_path: Path) -> None:
    async with sqlite_place(tmp_path) as place:
        await fill(await place.store(SECONDS))
        unhurried = await place.store()
        assert (await unhurried.find(SLOW)).matches == ()
        assert await unhurried.count(SLOW) == 0


@pytest.mark.parametrize("ask", ["find", "count"])
async def test_a_search_in_a_unit_is_refused_and_the_unit_does_nothing(
    limited: ResourceStore, ask: str
) -> None:
    async def unit(transaction: Transaction) -> None:
        await transaction.put(draft("Patient/new"), 0)
        await getattr(transaction, ask)(SLOW)

    refusal = await refusal_of(limited.transaction(unit))
    assert "takes longer" in str(refusal)
    assert await limited.get(Key("Patient", "new")) is None


async def test_a_unit_that_takes_too_long_does_not_take_the_others_with_it(
    limited: ResourceStore,
) -> None:
    async def slow(transaction: Transaction) -> None:
        await transaction.put(draft("Patient/slow"), 0)
        await transaction.find(SLOW)

    def writes(id: str) -> Callable[[Transaction], Awaitable[None]]:
        return lambda transaction: transaction.put(draft(f"Patient/{id}"), 0)

    answers = await asyncio.gather(
        limited.transaction(writes("before")),
        limited.transaction(slow),
        limited.transaction(writes("after")),
        return_exceptions=True,
    )
    assert isinstance(answers[1], FhirError)
    assert answers[0] is None
    assert answers[2] is None
    written = await limited.get_many([Key("Patient", id) for id in ("before", "slow", "after")])
    assert sorted(key.id for key in written) == ["after", "before"]


async def test_where_the_engine_keeps_the_transaction_a_unit_may_go_on(tmp_path: Path) -> None:
    async with sqlite_place(tmp_path) as place:
        await fill(await place.store())
        limited = await place.store(SECONDS)

        async def unit(transaction: Transaction) -> None:
            await transaction.put(draft("Patient/new"), 0)
            for ask in (transaction.find, transaction.count):
                with pytest.raises(FhirError):
                    await ask(SLOW)
            await transaction.put(draft("Patient/newer"), 0)

        await limited.transaction(unit)
        assert await limited.get(Key("Patient", "new")) is not None
        assert await limited.get(Key("Patient", "newer")) is not None


async def test_the_searches_of_a_unit_count_together(tmp_path: Path) -> None:
    async with sqlite_place(tmp_path) as place:
        await fill(await place.store())
        limited = await place.store(SECONDS)

        async def unit(transaction: Transaction) -> None:
            with pytest.raises(FhirError):
                await transaction.find(SLOW)
            # Nothing is left for one that would have been quick enough alone.
            await transaction.find(Query("Patient", AnyOf(SCAN.tests[:20])))

        await refusal_of(limited.transaction(unit))


async def test_a_history_that_takes_too_long_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allowance, "OPERATIONS", 100)
    async with sqlite_place(tmp_path) as place:
        store = await place.store()
        await fill(store)
        await put(store, *(draft(f"Patient/{each}", 2) for each in range(PATIENTS)))
        limited = await place.store(0.0001)
        long = Past(limit=PATIENTS, at=(START, START + timedelta(seconds=1)))

        assert len((await store.history(long)).versions) == PATIENTS
        refusal = await refusal_of(limited.history(long))
        assert "the history takes longer than 0.0001 seconds" in str(refusal)
        assert len((await limited.history(Past(Key("Patient", "7"), limit=5))).versions) == 2
