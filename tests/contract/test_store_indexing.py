"""Walking over what is current, and making anew what it is found by, on both stores."""

import asyncio
from datetime import timedelta

import pytest

from fhir_server.search.expression import HasTerm, Query, SortKey
from fhir_server.storage.port import Draft, Key, ResourceStore, Stored, Terms, Transaction
from tests.stores import START, draft, put, version

OLD, NEW = HasTerm("Patient.shade", "old"), HasTerm("Patient.shade", "new")


def found_by(id_: str, shade: str) -> Terms:
    terms = (("Patient._id", id_), ("Patient.shade", shade))
    return Terms(terms, (), {"Patient.shade": (shade, shade)})


async def index(store: ResourceStore, id_: str, number: int, shade: str = "new") -> None:
    """Put other terms under the version `number` of a Patient."""

    async def unit(transaction: Transaction) -> None:
        await transaction.put_terms(Key("Patient", id_), number, found_by(id_, shade))

    await store.transaction(unit)


async def ids(store: ResourceStore, test: HasTerm) -> list[str]:
    return [each.key.id for each in (await store.find(Query("Patient", test))).matches]


async def written(store: ResourceStore, count: int) -> list[tuple[str, int]]:
    """What the feed tells, up to this many changes, and that it tells no more."""
    found: list[tuple[str, int]] = []
    feed = store.changes(None)
    for _ in range(count):
        stored = (await anext(feed)).stored
        found.append((str(stored.key), stored.version))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(feed), 1.5)
    return sorted(found)


async def walked(store: ResourceStore, limit: int, since_seconds: float | None = None) -> list[str]:
    """All that is current, page by page."""
    since = None if since_seconds is None else START + timedelta(seconds=since_seconds)
    found: list[str] = []
    after: Key | None = None
    while page := await store.current(after, limit, since):
        assert len(page) <= limit
        found.extend(str(each.key) for each in page)
        after = page[-1].key
    return found


def later(text: str, seconds: float) -> Draft:
    stored = version(text)
    moment = START + timedelta(seconds=seconds)
    return Draft(Stored(stored.key, 1, moment, stored.body), Terms())


async def test_what_is_current_comes_by_type_and_id(store: ResourceStore) -> None:
    texts = ("Patient/b", "Basic/z", "Patient/B", "Patient/a", "Patient/a-1", "Patient/a.1")
    await put(store, *(draft(text) for text in (*texts, "PractitionerRole/a", "Practitioner/z")))
    ordered = ["Basic/z", "Patient/B", "Patient/a", "Patient/a-1", "Patient/a.1", "Patient/b"]
    assert await walked(store, 100) == [*ordered, "Practitioner/z", "PractitionerRole/a"]
    assert await walked(store, 1) == await walked(store, 3) == await walked(store, 100)


async def test_the_walk_goes_on_beyond_a_key_that_is_not_there(store: ResourceStore) -> None:
    await put(store, draft("Basic/z"), draft("Patient/a"), draft("Patient/c"))
    page = await store.current(Key("Patient", "b"), 10)
    assert [str(each.key) for each in page] == ["Patient/c"]
    page = await store.current(Key("Observation", "a"), 10)
    assert [str(each.key) for each in page] == ["Patient/a", "Patient/c"]
    assert not await store.current(Key("Patient", "c"), 10)


async def test_what_is_current_is_the_last_version_and_never_a_deleted_one(
    store: ResourceStore,
) -> None:
    await put(store, draft("Patient/a"), draft("Patient/a", 2), draft("Patient/gone"))
    await put(store, Draft(version("Patient/gone", 2, method="DELETE")))
    found = await store.current(None, 10)
    assert [(str(each.key), each.version) for each in found] == [("Patient/a", 2)]
    assert found[0].body == b'{"resourceType":"Patient"}'


async def test_the_walk_can_keep_to_what_was_written_since(store: ResourceStore) -> None:
    await put(store, *(later(f"Patient/{seconds}", seconds) for seconds in (0, 5, 6)))
    assert await walked(store, 10, since_seconds=5) == ["Patient/5", "Patient/6"]
    assert await walked(store, 1, since_seconds=5.001) == ["Patient/6"]
    assert await walked(store, 10, since_seconds=7) == []


async def test_searches_find_by_the_new_terms_and_no_more_by_the_old(store: ResourceStore) -> None:
    await put(store, draft("Patient/a", 1, ("shade", "old")), draft("Patient/b", 1))
    assert await ids(store, OLD) == ["a"]
    await index(store, "a", 1)
    assert await ids(store, NEW) == ["a"]
    assert await ids(store, OLD) == []
    for is_descending, order in ((False, ["a", "b"]), (True, ["b", "a"])):
        await index(store, "b", 1, "other")
        page = await store.find(Query("Patient", sort=(SortKey("Patient.shade", is_descending),)))
        assert [each.key.id for each in page.matches] == order


async def test_only_the_version_that_was_looked_at_gets_the_terms(store: ResourceStore) -> None:
    await put(store, draft("Patient/a"), draft("Patient/a", 2, ("shade", "old")))
    for number in (1, 3):
        await index(store, "a", number)
    assert await ids(store, NEW) == []
    assert await ids(store, OLD) == ["a"]
    await index(store, "nobody", 1)
    assert await ids(store, NEW) == []


async def test_what_is_deleted_stays_out_of_searches(store: ResourceStore) -> None:
    await put(store, draft("Patient/a"), Draft(version("Patient/a", 2, method="DELETE")))
    for number in (1, 2):
        await index(store, "a", number)
    assert await ids(store, NEW) == []
    assert await store.current(None, 10) == []


async def test_indexing_makes_no_version_and_no_change(store: ResourceStore) -> None:
    await put(store, draft("Patient/a", 1, ("shade", "old")))
    before = await store.get(Key("Patient", "a"))
    await index(store, "a", 1)
    assert await store.get(Key("Patient", "a")) == before
    assert await store.get(Key("Patient", "a"), 2) is None
    assert await written(store, 1) == [("Patient/a", 1)]


async def test_a_unit_finds_by_the_terms_that_it_has_put(store: ResourceStore) -> None:
    await put(store, draft("Patient/a", 1, ("shade", "old")))

    async def unit(transaction: Transaction) -> None:
        await transaction.put_terms(Key("Patient", "a"), 1, found_by("a", "new"))
        assert [each.key.id for each in (await transaction.find(Query("Patient", NEW))).matches]
        raise LookupError

    with pytest.raises(LookupError):
        await store.transaction(unit)
    assert await ids(store, OLD) == ["a"]
