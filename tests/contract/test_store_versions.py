"""Reads, writes, deletions and history by key, on both stores."""

import pytest

from fhir_server.search.expression import EVERYTHING, Query
from fhir_server.storage.port import Draft, Key, Past, ResourceStore, Transaction, VersionConflict
from tests.stores import draft, put, version

PATIENT = Key("Patient", "a")


async def test_what_was_never_written_is_none(store: ResourceStore) -> None:
    assert await store.get(PATIENT) is None
    assert await store.get(PATIENT, 1) is None
    assert await store.get_many([PATIENT]) == {}
    assert (await store.history(Past(PATIENT, limit=10))).versions == ()


async def test_a_version_reads_back_exactly(store: ResourceStore) -> None:
    written = version("Patient/a", body='{"n":1.50,"t":"Ä東😀 "}'.encode(), method="POST")
    await put(store, Draft(written))
    assert await store.get(PATIENT) == written
    assert await store.get(PATIENT, 1) == written
    assert await store.get(PATIENT, 2) is None


@pytest.mark.parametrize("megabytes", [5, 17])
async def test_a_body_beyond_a_databases_document_limit_reads_back(
    store: ResourceStore, megabytes: int
) -> None:
    body = bytes(range(256)) * (megabytes * 4096) + b"end"
    await put(store, Draft(version("Binary/x", body=body), draft("Binary/x").terms))
    stored = await store.get(Key("Binary", "x"))
    assert stored is not None
    assert stored.body == body
    (found,) = (await store.find(Query("Binary", EVERYTHING))).matches
    assert found.body == body
    feed = store.changes(None)
    assert (await anext(feed)).stored.body == body
    await feed.aclose()  # type: ignore[attr-defined]


async def test_every_version_stays_readable(store: ResourceStore) -> None:
    versions = [version("Patient/a", number, body=b"%d" % number) for number in range(1, 13)]
    for each in versions:
        await put(store, Draft(each))
    assert await store.get(PATIENT) == versions[-1]
    for each in versions:
        assert await store.get(PATIENT, each.version) == each


async def test_history_comes_newest_first_in_pages(store: ResourceStore) -> None:
    await put(store, *(draft("Patient/a", number) for number in range(1, 13)))
    await put(store, draft("Patient/a0"), draft("Patient/b"))
    seen: list[int] = []
    before = None
    for _ in range(3):
        page = await store.history(Past(PATIENT, limit=5, before=before))
        assert all(each.key == PATIENT for each in page.versions)
        seen += [each.version for each in page.versions]
        before = page.next
    assert before is None
    assert seen == list(range(12, 0, -1))


async def test_history_has_no_next_page_when_the_last_one_is_full(store: ResourceStore) -> None:
    await put(store, draft("Patient/a", 1), draft("Patient/a", 2))
    assert (await store.history(Past(PATIENT, limit=2))).next is None


async def test_many_are_read_at_once(store: ResourceStore) -> None:
    await put(store, draft("Patient/a"), draft("Patient/b"), draft("Observation/a"))
    keys = [PATIENT, Key("Observation", "a"), Key("Patient", "none"), PATIENT]
    assert await store.get_many(keys) == {
        PATIENT: version("Patient/a"),
        Key("Observation", "a"): version("Observation/a"),
    }
    assert await store.get_many([]) == {}


async def test_a_first_version_where_one_exists_is_a_conflict(store: ResourceStore) -> None:
    await put(store, draft("Patient/a"))
    with pytest.raises(VersionConflict):
        await put(store, draft("Patient/a"))
    assert len((await store.history(Past(PATIENT, limit=10))).versions) == 1


@pytest.mark.parametrize("expected", [1, 3])
async def test_another_version_than_expected_is_a_conflict(
    store: ResourceStore, expected: int
) -> None:
    await put(store, draft("Patient/a", 1), draft("Patient/a", 2))

    async def unit(transaction: Transaction) -> None:
        await transaction.put(draft("Patient/a", 3), expected)

    with pytest.raises(VersionConflict):
        await store.transaction(unit)
    assert await store.get(PATIENT) == version("Patient/a", 2)
    assert await store.get(PATIENT, 3) is None


async def test_an_update_of_what_does_not_exist_is_a_conflict(store: ResourceStore) -> None:
    with pytest.raises(VersionConflict):
        await put(store, draft("Patient/a", 2))
    assert await store.get(PATIENT) is None


async def test_a_wrong_premise_is_told_at_once_and_not_tried_again(store: ResourceStore) -> None:
    await put(store, draft("Patient/a"))
    runs = 0

    async def unit(transaction: Transaction) -> None:
        nonlocal runs
        runs += 1
        await transaction.put(draft("Patient/a", 3), 2)

    with pytest.raises(VersionConflict):
        await store.transaction(unit)
    assert runs == 1


async def test_a_deleted_resource_reads_as_deleted_and_is_not_found(store: ResourceStore) -> None:
    gone = version("Patient/a", 2, method="DELETE")
    await put(store, draft("Patient/a", 1, ("code", "x")), Draft(gone))
    assert await store.get(PATIENT) == gone
    assert (await store.get_many([PATIENT]))[PATIENT].is_deleted
    assert await store.get(PATIENT, 1) == version("Patient/a")
    assert (await store.find(Query("Patient"))).matches == ()
    assert await store.count(Query("Patient")) == 0
    assert [each.version for each in (await store.history(Past(PATIENT, limit=5))).versions] == [
        2,
        1,
    ]


async def test_a_deleted_resource_can_be_created_again(store: ResourceStore) -> None:
    await put(store, draft("Patient/a"), Draft(version("Patient/a", 2, method="DELETE")))
    await put(store, draft("Patient/a", 3))
    assert await store.get(PATIENT) == version("Patient/a", 3)
    assert await store.count(Query("Patient")) == 1


async def test_ids_that_begin_alike_are_different_resources(store: ResourceStore) -> None:
    names = ["Patient/a", "Patient/a.b", "Patient/a-b", "Patient/A", "Patient/a0", "PatientX/a"]
    await put(store, *(draft(name) for name in names))
    for name in names:
        type_, _, id_ = name.partition("/")
        assert await store.get(Key(type_, id_)) == version(name)
        assert (await store.history(Past(Key(type_, id_), limit=5))).versions == (version(name),)
    assert await store.count(Query("Patient")) == 5


async def test_a_store_that_works_passes_its_check(store: ResourceStore) -> None:
    await store.check()
    await store.check()
