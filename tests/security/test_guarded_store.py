"""The leak matrix at the storage port: every road to a resource that the caller may not see."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fhir_server.fhir.outcome import FhirError
from fhir_server.security.access import OPEN_ACCESS
from fhir_server.security.guarded_store import GuardedStore
from fhir_server.storage.port import Draft, Key, Past, Stored, Transaction, VersionConflict
from fhir_server.storage.sqlite.store import SqliteStore
from tests.guard_world import EXTRACT, deletion, draft, found, guard, opened, query, write

PATIENT_SCOPES = "patient/*.cruds"


def observation(id_: str, subject: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": id_,
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "8310-5"}]},
        "subject": {"reference": subject},
        **more,
    }


WARD: list[dict[str, Any]] = [
    {"resourceType": "Patient", "id": "x", "name": [{"family": "Mensah"}]},
    {"resourceType": "Patient", "id": "y", "name": [{"family": "Okafor"}]},
    {"resourceType": "Practitioner", "id": "amina", "name": [{"family": "Diallo"}]},
    {"resourceType": "Encounter", "id": "ex", "subject": {"reference": "Patient/x"}},
    {"resourceType": "Encounter", "id": "ey", "subject": {"reference": "Patient/y"}},
    observation("ox", "Patient/x", encounter={"reference": "Encounter/ex"}),
    # Visible, but it points to what is hidden.
    observation("oxy", "Patient/x", encounter={"reference": "Encounter/ey"}),
    observation("oy", "Patient/y", encounter={"reference": "Encounter/ex"}),
    {"resourceType": "Media", "id": "mx", "subject": {"reference": "Patient/x"}},
    {"resourceType": "Media", "id": "my", "subject": {"reference": "Patient/y"}},
    {"resourceType": "Binary", "id": "bx", "securityContext": {"reference": "Patient/x"}},
    {"resourceType": "Binary", "id": "bmx", "securityContext": {"reference": "Media/mx"}},
    {"resourceType": "Binary", "id": "bmy", "securityContext": {"reference": "Media/my"}},
    {"resourceType": "Binary", "id": "by", "securityContext": {"reference": "Patient/y"}},
    {"resourceType": "Binary", "id": "bnobody"},
    {"resourceType": "Provenance", "id": "px", "target": [{"reference": "Observation/ox"}]},
    {"resourceType": "Provenance", "id": "py", "target": [{"reference": "Observation/oy"}]},
]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    made = await opened(tmp_path / "ward.db", WARD)
    yield made
    await made.close()


@pytest.fixture
def view(store: SqliteStore) -> GuardedStore:
    return guard(store, PATIENT_SCOPES)


async def test_a_read_of_the_hidden_finds_nothing(view: GuardedStore) -> None:
    seen = {
        f"{each['resourceType']}/{each['id']}"
        for each in WARD
        if await view.get(Key(each["resourceType"], each["id"]))
    }
    assert seen == {
        "Patient/x", "Practitioner/amina", "Encounter/ex", "Observation/ox", "Observation/oxy",
        "Media/mx", "Binary/bx", "Binary/bmx", "Provenance/px",
    }  # fmt: skip


async def test_several_reads_leave_the_hidden_out(view: GuardedStore) -> None:
    keys = [Key(each["resourceType"], each["id"]) for each in WARD]
    many = await view.get_many([*keys, Key("Patient", "absent")])
    singly = {key: stored for key in keys if (stored := await view.get(key))}
    assert many == singly


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("Patient", ["x"]),
        ("Patient?_id=y", []),
        ("Patient?name=okafor", []),
        ("Observation", ["ox", "oxy"]),
        ("Observation?subject=Patient/y", []),
        ("Observation?subject:Patient.name=okafor", []),
        ("Observation?encounter:Encounter.subject=Patient/y", []),  # chain to a hidden hop
        ("Observation?encounter:Encounter.patient=x", ["ox"]),
        ("Patient?_has:Observation:subject:code=8310-5", ["x"]),
        ("Encounter?_has:Observation:encounter:_id=oy", []),  # a hidden one links here
        ("Encounter?_has:Observation:encounter:_id=ox", ["ex"]),
        ("Binary", ["bmx", "bx"]),
        ("Provenance", ["px"]),
        ("Provenance?target=Observation/oy", []),
        ("Practitioner?name=diallo", ["amina"]),
        ("Subscription", []),
        ("Observation?_sort=_id", ["ox", "oxy"]),
    ],
)
async def test_a_search_finds_as_if_the_hidden_did_not_exist(
    view: GuardedStore, text: str, ids: list[str]
) -> None:
    for limit in (1, 50):
        assert sorted(await found(view, query(text, limit))) == ids
    assert await view.count(query(text)) == len(ids)


async def test_a_negated_chain_tells_nothing_either(view: GuardedStore) -> None:
    from fhir_server.search.expression import HasTerm, LinksTo, Not, Query

    to_hidden = LinksTo("Observation.encounter", "Encounter", HasTerm("Encounter._id", "ey"))
    assert await found(view, Query("Observation", Not(to_hidden))) == ["ox", "oxy"]


async def test_search_needs_the_search_permission_at_every_hop(store: SqliteStore) -> None:
    view = guard(store, "patient/Observation.rs patient/Patient.r")
    assert await found(view, query("Observation?subject:Patient.name=mensah")) == []
    assert await found(view, query("Patient")) == []
    assert await view.get(Key("Patient", "x")) is not None
    searcher = guard(store, "patient/Observation.s")
    assert await searcher.get(Key("Observation", "ox")) is None
    assert await found(searcher, query("Observation")) == ["ox", "oxy"]


async def test_a_version_is_hidden_when_it_or_the_current_one_is(
    store: SqliteStore, view: GuardedStore
) -> None:
    await write(store, draft(observation("ox", "Patient/y"), 2))
    await write(store, draft(observation("oy", "Patient/x"), 2))
    moved_away, moved_here = Key("Observation", "ox"), Key("Observation", "oy")
    for version in (None, 1, 2):
        assert await view.get(moved_away, version) is None
    assert (await view.history(Past(moved_away, limit=10))).versions == ()
    assert await view.get(moved_here, 1) is None
    assert await view.get(moved_here, 2) is not None
    assert [each.version for each in (await view.history(Past(moved_here, limit=10))).versions] == [
        2
    ]


async def test_history_pages_are_full_and_the_last_says_so(
    store: SqliteStore, view: GuardedStore
) -> None:
    key = Key("Observation", "oy")  # version 1 is hidden
    for version, subject in enumerate("xyxyx", 2):
        await write(store, draft(observation("oy", f"Patient/{subject}"), version))
    pages, before = [], None
    while True:
        page = await view.history(Past(key, limit=2, before=before))
        pages.append([each.version for each in page.versions])
        before = page.next
        if before is None:
            break
    assert pages == [[6, 4], [2]]
    whole = await view.history(Past(key, limit=3))
    assert ([each.version for each in whole.versions], whole.next) == ([6, 4, 2], None)


async def test_a_deleted_resource_is_gone_for_those_who_saw_it_and_unknown_to_others(
    store: SqliteStore, view: GuardedStore
) -> None:
    for id_ in ("ox", "oy"):
        await write(store, deletion(Key("Observation", id_), 2))
    seen = await view.get(Key("Observation", "ox"))
    assert seen is not None
    assert seen.is_deleted
    assert [each.version for each in (await view.history(Past(seen.key, limit=10))).versions] == [
        2,
        1,
    ]
    assert await view.get(Key("Observation", "oy")) is None
    assert (await view.history(Past(Key("Observation", "oy"), limit=10))).versions == ()
    assert set(await view.get_many([seen.key, Key("Observation", "oy")])) == {seen.key}


async def refused(view: GuardedStore, made: Draft, expected: int) -> int:
    with pytest.raises(FhirError) as refusal:
        await write(view, made, expected)  # type: ignore[arg-type]
    return refusal.value.status


async def test_what_is_created_must_lie_within_the_view(view: GuardedStore) -> None:
    await write(view, draft(observation("new", "Patient/x"), 1, "POST"))  # type: ignore[arg-type]
    assert await view.get(Key("Observation", "new")) is not None
    assert await refused(view, draft(observation("n2", "Patient/y"), 1, "POST"), 0) == 403
    stranger = {"resourceType": "Patient", "id": "z"}
    assert await refused(view, draft(stranger, 1, "POST"), 0) == 403
    staff = {"resourceType": "Practitioner", "id": "z"}
    assert await refused(view, draft(staff, 1, "POST"), 0) == 403


async def test_an_update_is_judged_by_the_old_and_the_new_version(
    store: SqliteStore, view: GuardedStore
) -> None:
    await write(view, draft(observation("ox", "Patient/x", status="amended"), 2))  # type: ignore[arg-type]
    assert await refused(view, draft(observation("ox", "Patient/y"), 3), 2) == 403
    assert await refused(view, draft(observation("oy", "Patient/x"), 2), 1) == 404
    kept = await store.get(Key("Observation", "oy"))
    assert kept is not None
    assert kept.version == 1


async def test_an_id_cannot_be_chosen_whether_or_not_it_is_taken(view: GuardedStore) -> None:
    free = await refused(view, draft(observation("free", "Patient/x")), 0)
    taken = await refused(view, draft(observation("oy", "Patient/x")), 0)
    assert free == taken == 404


async def test_what_cannot_be_seen_cannot_be_deleted(view: GuardedStore) -> None:
    assert await refused(view, deletion(Key("Observation", "oy"), 2), 1) == 404
    await write(view, deletion(Key("Observation", "ox"), 2))  # type: ignore[arg-type]


async def test_what_can_be_read_but_not_written_is_forbidden_rather_than_unknown(
    store: SqliteStore,
) -> None:
    view = guard(store, "user/Observation.rs patient/Observation.u")
    assert await refused(view, draft(observation("oy", "Patient/x"), 2), 1) == 403


async def test_what_may_be_written_but_not_read_comes_without_its_body(
    store: SqliteStore,
) -> None:
    view = guard(store, "patient/Observation.u")

    async def unit(transaction: Transaction) -> list[Stored | None]:
        return [await transaction.get(Key("Observation", id_)) for id_ in ("ox", "oy")]

    visible, hidden = await view.transaction(unit)
    assert hidden is None
    assert visible is not None
    assert (visible.version, visible.body) == (1, b"")
    assert await view.get(Key("Observation", "ox")) is None


async def test_a_link_within_the_same_unit_counts(view: GuardedStore) -> None:
    provenance = {"resourceType": "Provenance", "id": "p", "target": [{"reference": "Media/m"}]}
    media = {"resourceType": "Media", "id": "m", "subject": {"reference": "Patient/x"}}

    async def unit(transaction: Transaction) -> None:
        await transaction.put(draft(provenance, 1, "POST"), 0)
        await transaction.put(draft(media, 1, "POST"), 0)

    await view.transaction(unit)
    assert await view.get(Key("Provenance", "p")) is not None


async def test_a_refused_unit_leaves_nothing(store: SqliteStore, view: GuardedStore) -> None:
    async def unit(transaction: Transaction) -> None:
        await transaction.put(draft(observation("n1", "Patient/x"), 1, "POST"), 0)
        await transaction.put(draft(observation("n2", "Patient/y"), 1, "POST"), 0)

    with pytest.raises(FhirError):
        await view.transaction(unit)
    assert await store.get(Key("Observation", "n1")) is None


async def test_inside_a_unit_the_view_is_the_same(view: GuardedStore) -> None:
    async def unit(transaction: Transaction) -> tuple[Any, ...]:
        page = await transaction.find(query("Observation"))
        return (
            await transaction.get(Key("Observation", "oy")),
            [each.key.id for each in page.matches],
            await transaction.count(query("Patient")),
        )

    assert await view.transaction(unit) == (None, ["ox", "oxy"], 1)


async def test_audit_events_are_only_ever_added(store: SqliteStore) -> None:
    event = {"resourceType": "AuditEvent", "id": "a"}
    for view in (guard(store, "user/AuditEvent.cu"), GuardedStore(store, OPEN_ACCESS, EXTRACT)):
        id_ = f"a{id(view)}"
        await write(view, draft({**event, "id": id_}))  # type: ignore[arg-type]
        assert await refused(view, draft({**event, "id": id_}, 2), 1) == 403
        assert await refused(view, deletion(Key("AuditEvent", id_), 2), 1) == 403
    assert await guard(store, "user/AuditEvent.cu").get(Key("AuditEvent", "a")) is None


async def test_a_stale_premise_is_still_a_conflict(view: GuardedStore) -> None:
    with pytest.raises(VersionConflict):
        await write(view, draft(observation("ox", "Patient/x"), 9), 8)  # type: ignore[arg-type]


async def test_feed_journal_and_records_are_not_offered(view: GuardedStore) -> None:
    with pytest.raises(RuntimeError):
        view.changes(None)
    for call in (view.journal(1), view.record("a", "b"), view.records("a"), view.close()):
        with pytest.raises(RuntimeError):
            await call
    for method, arguments in [
        ("record", ("a", "b")),
        ("delete_record", ("a", "b")),
        ("seal", (("1",),)),
    ]:
        with pytest.raises(RuntimeError):
            await view.transaction(
                lambda unit, method=method, arguments=arguments: getattr(unit, method)(*arguments)
            )


async def test_where_nothing_is_narrowed_nothing_is_extracted(store: SqliteStore) -> None:
    from tests.guard_world import access

    def must_not_extract(_: object) -> Any:
        raise AssertionError("extracted")

    view = GuardedStore(store, access("user/*.cruds"), must_not_extract)
    assert await view.get(Key("Patient", "y"), 1) is not None
    assert len((await view.history(Past(Key("Patient", "y"), limit=5))).versions) == 1
    await write(view, draft(observation("oy", "Patient/x"), 2))  # type: ignore[arg-type]
    await write(view, draft(observation("chosen", "Patient/x")))  # type: ignore[arg-type]
