"""What MongoDB and engines like it answer when something goes wrong."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import AutoReconnect, OperationFailure, PyMongoError

from fhir_server.fhir.outcome import FhirError
from fhir_server.search.expression import EVERYTHING, HasTerm, LinkedFrom, LinksTo, Query
from fhir_server.storage.mongo import chains, units
from fhir_server.storage.mongo.transaction import CommitUnknown
from fhir_server.storage.port import (
    Key,
    Past,
    ResourceStore,
    StoreUnavailable,
    Transaction,
    VersionConflict,
)
from tests.stores import draft, mongodb_place, put, version

pytestmark = pytest.mark.mongodb

PATIENT = Key("Patient", "a")
Commit = Callable[[AsyncClientSession], Awaitable[None]]


@pytest.fixture
async def store(mongodb_server: str) -> AsyncIterator[ResourceStore]:
    """An empty store on MongoDB."""
    async with mongodb_place(mongodb_server) as place:
        yield await place.store()


def failure(code: int, *labels: str) -> OperationFailure:
    """An answer with this code and these labels."""
    return OperationFailure("made for a test", code, {"errorLabels": list(labels)})


def failing(times: int, error: PyMongoError) -> tuple[Callable[[Transaction], Awaitable[int]], Any]:
    """A unit that writes, then fails so many times; and the count of its runs."""
    runs = [0]

    async def unit(transaction: Transaction) -> int:
        runs[0] += 1
        await transaction.put(draft("Patient/a"), 0)
        assert await transaction.count(Query("Patient")) == 1
        await transaction.journal(b"entry")
        if runs[0] <= times:
            raise error
        return runs[0]

    return unit, runs


@pytest.mark.parametrize(
    "error",
    [
        failure(112, "TransientTransactionError"),
        failure(112),
        failure(16777220),
        failure(251),
        failure(24),
        failure(91, "TransientTransactionError"),
    ],
    ids=str,
)
async def test_a_conflict_is_known_by_label_and_by_code(
    store: ResourceStore, error: OperationFailure
) -> None:
    unit, _ = failing(3, error)
    assert await store.transaction(unit) == 4
    assert await store.get(PATIENT) == version("Patient/a")
    assert len(await store.journal(10)) == 1


@pytest.mark.parametrize("code", [1, 18, 14031])
async def test_a_server_that_fails_or_lets_nobody_in_is_a_store_that_is_away_for_now(
    store: ResourceStore, code: int
) -> None:
    unit, runs = failing(9, failure(code))
    with pytest.raises(StoreUnavailable):
        await store.transaction(unit)
    assert (runs[0], await store.get(PATIENT)) == (1, None)


async def test_what_is_no_conflict_is_not_tried_again(store: ResourceStore) -> None:
    unit, runs = failing(1, failure(13))
    with pytest.raises(OperationFailure):
        await store.transaction(unit)
    assert runs == [1]
    assert await store.get(PATIENT) is None


async def test_conflicts_without_end_are_given_up(
    store: ResourceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "ATTEMPTS", 5)
    unit, runs = failing(1000, failure(112))
    with pytest.raises(VersionConflict):
        await store.transaction(unit)
    assert runs == [5]
    assert await store.journal(1) == []


async def _patched_commits(
    monkeypatch: pytest.MonkeyPatch, steps: list[Callable[[Commit, AsyncClientSession], Any]]
) -> None:
    original = AsyncClientSession.commit_transaction

    async def commit(session: AsyncClientSession) -> None:
        if steps:
            await steps.pop(0)(original, session)
        else:
            await original(session)

    monkeypatch.setattr(AsyncClientSession, "commit_transaction", commit)


def unknown() -> AutoReconnect:
    """The connection is gone in the middle of a commit."""
    error = AutoReconnect("made for a test")
    error._add_error_label("UnknownTransactionCommitResult")
    return error


async def lost_after(commit: Commit, session: AsyncClientSession) -> None:
    """The server has committed; its answer is lost."""
    await commit(session)
    raise unknown()


async def lost_before(commit: Commit, session: AsyncClientSession) -> None:
    """The command is lost."""
    raise unknown()


async def forgotten(commit: Commit, session: AsyncClientSession) -> None:
    """An engine without labels does not know the transaction any more."""
    raise failure(251)


@pytest.mark.parametrize("step", [lost_after, lost_before])
async def test_a_commit_whose_answer_is_lost_is_asked_again_and_happens_once(
    store: ResourceStore, monkeypatch: pytest.MonkeyPatch, step: Any
) -> None:
    await _patched_commits(monkeypatch, [step, step])
    unit, runs = failing(0, failure(1))
    assert await store.transaction(unit) == 1
    assert runs == [1]
    assert len((await store.history(Past(PATIENT, limit=5))).versions) == 1
    assert len(await store.journal(5)) == 1


async def committed_and_forgotten(commit: Commit, session: AsyncClientSession) -> None:
    """PyMongo has asked twice by itself: the first time it was done."""
    await commit(session)
    raise failure(251)


@pytest.mark.parametrize("steps", [[lost_after, forgotten], [committed_and_forgotten]])
async def test_a_commit_that_nobody_knows_of_is_never_done_twice(
    store: ResourceStore, monkeypatch: pytest.MonkeyPatch, steps: Any
) -> None:
    await _patched_commits(monkeypatch, list(steps))
    unit, runs = failing(0, failure(1))
    with pytest.raises(CommitUnknown):
        await store.transaction(unit)
    assert runs == [1]
    assert len(await store.journal(5)) == 1


async def test_an_audit_record_alone_that_may_be_there_is_not_written_again(
    store: ResourceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = AsyncCollection.insert_one

    async def cut(collection: AsyncCollection[Any], *given: Any, **more: Any) -> Any:
        await original(collection, *given, **more)
        raise AutoReconnect("made for a test")

    monkeypatch.setattr(AsyncCollection, "insert_one", cut)

    async def unit(transaction: Transaction) -> None:
        await transaction.journal(b"read")

    with pytest.raises(CommitUnknown):
        await store.transaction(unit)
    monkeypatch.undo()
    assert len(await store.journal(5)) == 1


async def test_a_commit_that_stays_unknown_is_said_to_be(
    store: ResourceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "_LONGEST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(units, "COMMIT_SECONDS", 0.05)
    await _patched_commits(monkeypatch, [lost_before] * 20)
    unit, runs = failing(0, failure(1))
    with pytest.raises(CommitUnknown):
        await store.transaction(unit)
    assert runs == [1]


@pytest.mark.parametrize(
    ("type_", "where"),
    [
        ("Observation", LinksTo("Observation.subject", "Patient", EVERYTHING)),
        ("Patient", LinkedFrom("Observation", "Observation.subject", EVERYTHING)),
    ],
)
async def test_a_chain_over_too_many_is_refused_and_never_cut_short(
    store: ResourceStore, monkeypatch: pytest.MonkeyPatch, type_: str, where: Any
) -> None:
    for number in range(4):
        await put(store, draft(f"Patient/{number}"))
        await put(store, draft(f"Observation/{number}", 1, ("subject", f"Patient/{number}")))
    monkeypatch.setattr(chains, "MOST_LINKED", 4)
    assert await store.count(Query(type_, where)) == 4
    monkeypatch.setattr(chains, "MOST_LINKED", 3)
    with pytest.raises(FhirError) as refusal:
        await store.find(Query(type_, where))
    assert refusal.value.issues[0].code == "too-costly"


async def test_searches_in_a_unit_that_was_refused_leave_the_store_usable(
    store: ResourceStore,
) -> None:
    async def unit(transaction: Transaction) -> None:
        await transaction.put(draft("Patient/a"), 0)
        await transaction.find(Query("Patient", HasTerm("Patient._id", "a")))
        raise FhirError(400, ())

    with pytest.raises(FhirError):
        await store.transaction(unit)
    await put(store, draft("Patient/a"))
    assert await store.count(Query("Patient")) == 1
