"""The storage port: what the rest of the house asks of a store.

A *unit* is an async function of a Transaction. It awaits nothing but the transaction's own
methods (an adapter may drive it from a thread that has no event loop), may be run again after
a conflict, and therefore has no effect outside the transaction. `transaction` returns after
the commit is durable: SQLite with `synchronous=FULL`, MongoDB with majority writes.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from fhir_server.search.expression import Expression, Query
from fhir_server.search.expression import Terms as Terms
from fhir_server.search.expression import TupleOfTerms as TupleOfTerms

T = TypeVar("T")


class Key(NamedTuple):
    """The identity of a resource."""

    type: str
    id: str

    def __str__(self) -> str:
        return f"{self.type}/{self.id}"


@dataclass(frozen=True, slots=True)
class Stored:
    """One version of a resource as the store has it. `body` is the exact JSON (empty for a
    deleted version); `updated` is UTC with whole milliseconds; versions count from 1;
    `method` is the HTTP method that wrote it (POST, PUT or DELETE)."""

    key: Key
    version: int
    updated: datetime
    body: bytes
    method: str = "PUT"

    @property
    def is_deleted(self) -> bool:
        return self.method == "DELETE"


@dataclass(frozen=True, slots=True)
class Draft:
    """A version to be written: a Stored and its terms (none for a deletion)."""

    stored: Stored
    terms: Terms = field(default_factory=Terms)


@dataclass(frozen=True, slots=True)
class Page:
    """Matches in order; `next` is the `after` of the following page, None on the last. `places`
    holds, for each match, the `after` of what follows it."""

    matches: tuple[Stored, ...]
    next: tuple[str | None, ...] | None = None
    places: tuple[tuple[str | None, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Past:
    """What a history is asked for: the versions of one resource (`key`), of the `types` named,
    or, with neither, of all. Only those written at `since` or later; only those that were current
    at some time from the first moment of `at` up to, not including, its second. `before` is a
    place of an earlier page."""

    key: Key | None = None
    types: tuple[str, ...] | None = None
    limit: int = 50
    before: str | None = None
    since: datetime | None = None
    at: tuple[datetime, datetime] | None = None


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Versions, newest first; `next` is the `before` of the following page, None on the last.
    `places` holds, for each version, the `before` of what follows it."""

    versions: tuple[Stored, ...]
    next: str | None = None
    places: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One committed version in the feed. `position` resumes the feed after it."""

    position: str
    stored: Stored


@dataclass(frozen=True, slots=True)
class Record:
    """A small JSON document that is not FHIR: a client, a code, a session, a position …
    An expired record is never returned."""

    kind: str
    id: str
    value: dict[str, Any]
    revision: int = 1
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One audit record that waits for the sealer; `position` names it until it is sealed."""

    position: str
    entry: bytes


COUNTED_TO = 1000
"""Candidates of one test are counted up to this many."""

Start = Literal["terms", "order", "all"]


@dataclass(frozen=True, slots=True)
class Step:
    """One query that the store itself would send: what it is for, the plan in the engine's own
    words, and the indexes in it."""

    purpose: str
    plan: tuple[str, ...]
    indexes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a query would be answered. It `start`s from what the index of terms lists, walks in
    the order asked for until the page is full, or looks at all of the type; None where that is
    not the caller's to know. `source` is the test that it starts from, where the store knows.
    `candidates` is how many resources some of the tests find alone, counted up to COUNTED_TO."""

    start: Start | None = None
    source: Expression | None = None
    steps: tuple[Step, ...] = ()
    candidates: tuple[tuple[Expression, int], ...] = ()


class VersionConflict(Exception):
    """A version, record or reservation was changed by somebody else; the unit did nothing."""


class StoreUnavailable(Exception):
    """The store can't be reached, or the connection was lost before it said whether it committed:
    the caller looks, or sends the same request again later."""


class StoreAway(StoreUnavailable):
    """The store was found to be away a moment ago, and was not asked again."""


class StoreFull(StoreUnavailable):
    """There is no room for what was to be written, and nothing of it is there."""


class Transaction(Protocol):
    """What a unit may do; sees its own writes. Nothing of it is visible outside before the
    commit."""

    async def get(self, key: Key, version: int | None = None) -> Stored | None:
        """As the store's, with what this unit has written."""

    async def find(self, query: Query) -> Page:
        """As the store's, with what this unit has written."""

    async def count(self, query: Query) -> int:
        """As the store's, with what this unit has written."""

    async def history(self, past: Past) -> HistoryPage:
        """As the store's, with what this unit has written."""

    async def put(self, draft: Draft, expected: int) -> None:
        """Write `draft` as the current version and into history. `expected` is the version
        that it replaces, 0 for none; VersionConflict when the store has another. A deletion
        is a draft whose `stored.is_deleted`; the key then reads as that deleted version."""

    async def keep(self, stored: Stored) -> None:
        """Leave the current version as it is, where an update would say the same again. Whoever
        may not make that update may not do this either."""

    async def put_terms(self, key: Key, version: int, terms: Terms) -> None:
        """Replace what a current version can be found by, if it still is that version; nothing
        else changes, no change is fed."""

    async def forget(self, key: Key) -> None:
        """Remove every version of the key but the current one, with its content, for good: they
        are no longer in its history. No change is fed."""

    async def reserve(self, name: str) -> None:
        """Make every other transaction that reserves the same name conflict with this one."""

    async def record(self, kind: str, id: str) -> Record | None:
        """As the store's, with what this unit has written."""

    async def put_record(self, record: Record, expected: int | None = None) -> None:
        """Insert or replace. `expected` is the revision it replaces (0: must not exist, an
        expired one counts as absent); None overwrites. Stored revision = old + 1."""

    async def delete_record(self, kind: str, id: str) -> None:
        """Remove the record; nothing happens when there is none."""

    async def journal(self, entry: bytes) -> None:
        """Append one audit record to the journal."""

    async def seal(self, positions: Sequence[str]) -> None:
        """Take sealed records out of the journal: in the commit that writes their AuditEvents.
        VersionConflict when one of them is already gone (another sealer was first)."""


Unit = Callable[[Transaction], Awaitable[T]]


class ResourceStore(Protocol):
    """A tenant's resources, their history, records and audit journal."""

    async def get(self, key: Key, version: int | None = None) -> Stored | None:
        """The current version (deleted ones too), or the given one; None if there is none."""

    async def get_many(self, keys: Sequence[Key]) -> dict[Key, Stored]:
        """The current versions of those that exist, deleted ones too."""

    async def find(self, query: Query) -> Page:
        """One page of matches in the query's order, by id where that order leaves it open; only
        current versions that are not deleted."""

    async def count(self, query: Query) -> int:
        """How many resources match, whatever the query's page."""

    async def explain(self, query: Query) -> Explanation:
        """How `find` would answer; nothing is read but the beginnings of indexes. What it says
        of candidates is of all resources there are, whoever asks."""

    async def history(self, past: Past) -> HistoryPage:
        """One page of versions, deletions too, by the time they were written, newest first;
        those that share a moment come in an order that stays. A deletion counts as current
        until the resource is written again."""

    async def current(
        self, after: Key | None, limit: int, since: datetime | None = None
    ) -> Sequence[Stored]:
        """The current versions of all types that are not deleted, in the order of type and id,
        beyond the key `after`; with `since` those written at that time or later alone."""

    async def transaction(self, unit: Unit[T]) -> T:
        """Run `unit` and commit; conflicts are retried a bounded number of times, then
        VersionConflict. A VersionConflict that comes from `put`'s or `put_record`'s own
        `expected` is not retried: the caller's premise is wrong."""

    async def note(self, entry: bytes) -> None:
        """Append one audit record to the journal, alone: as a unit that does nothing else, but
        cheaper. Returns after a durable commit, which it may share with others."""

    async def rehearse(self, unit: Unit[T]) -> T:
        """Run `unit` as `transaction` would, and undo it: its result, and nothing committed."""

    def changes(self, after: str | None) -> AsyncIterator[Change]:
        """Every committed version after the position (None: from the beginning), then waits
        for more. A change may be repeated, never lost; the order of two different resources'
        changes is not promised."""

    async def journal(self, limit: int, *, newest_first: bool = False) -> Sequence[JournalEntry]:
        """Audit records that are not sealed yet, oldest first as far as the store knows; or the
        other way round."""

    async def record(self, kind: str, id: str) -> Record | None:
        """The record, None when there is none or it has expired."""

    async def records(
        self, kind: str, prefix: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[Record]:
        """Unexpired records of a kind whose id starts with `prefix` and sorts after `after`,
        by id."""

    async def check(self) -> None:
        """Raise unless the store can answer and write (readiness)."""

    async def close(self) -> None:
        """Finish what is under way and let go of files and connections."""


class _Undone(Exception):
    """Ends a rehearsal, so that the store rolls it back."""


async def rehearsed(store: ResourceStore, unit: Unit[T]) -> T:
    """`rehearse` of a store whose transactions do nothing when their unit fails."""
    results: list[T] = []

    async def undone(transaction: Transaction) -> None:
        results.append(await unit(transaction))
        raise _Undone

    with suppress(_Undone):
        await store.transaction(undone)
    return results[-1]
