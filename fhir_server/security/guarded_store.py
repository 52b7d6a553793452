"""The guard at the storage port: a store in which what the caller may not see does not exist."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from fhir_server.search.expression import NOTHING, Expression, Query
from fhir_server.security.access import Access
from fhir_server.security.guarded_history import guarded_history
from fhir_server.security.guarded_transaction import GuardedTransaction, not_offered
from fhir_server.security.judge import Extract, Judge
from fhir_server.storage.port import (
    Change,
    Explanation,
    HistoryPage,
    JournalEntry,
    Key,
    Page,
    Past,
    Record,
    ResourceStore,
    Stored,
    T,
    Transaction,
    Unit,
)


class GuardedStore:
    """A ResourceStore for one caller: `GuardedStore(store, access, extract)`.

    Reads, version reads, history, searches, chains, `_has` and counts answer as if the hidden
    resources did not exist. Writes check the old and the new version: FhirError 403 for what the
    caller may not create, 404 for what it can't see. `extract` must be the extractor that the
    drafts' terms come from (`guard_terms.with_guard_terms`).
    """

    def __init__(self, store: ResourceStore, access: Access, extract: Extract) -> None:
        self._store = store
        self._judge = Judge(access, extract)

    async def get(self, key: Key, version: int | None = None) -> Stored | None:
        return await self._judge.readable(self._store, key, version)

    async def get_many(self, keys: Sequence[Key]) -> dict[Key, Stored]:
        permitted = [key for key in keys if self._view(key) != NOTHING]
        found = await self._store.get_many(permitted)
        return {
            key: stored
            for key, stored in found.items()
            if await self._judge.sees(self._store, stored, self._view(key))
        }

    async def find(self, query: Query) -> Page:
        return await self._store.find(self._judge.narrowed(query))

    async def count(self, query: Query) -> int:
        return await self._store.count(self._judge.narrowed(query))

    async def explain(self, query: Query) -> Explanation:
        """As the store's to a caller who sees all that the query asks about; an empty one to any
        other: how many candidates there are, and the plan that follows from it, would tell of
        hidden resources."""
        if self._judge.narrowed(query) != query:
            return Explanation()
        return await self._store.explain(query)

    async def history(self, past: Past) -> HistoryPage:
        return await guarded_history(self._store, self._judge, past)

    async def current(
        self, after: Key | None, limit: int, since: datetime | None = None
    ) -> Sequence[Stored]:
        not_offered("walking over all resources")

    async def transaction(self, unit: Unit[T]) -> T:
        return await self._store.transaction(self._under_guard(unit))

    async def note(self, entry: bytes) -> None:
        await self._store.note(entry)

    async def rehearse(self, unit: Unit[T]) -> T:
        return await self._store.rehearse(self._under_guard(unit))

    def changes(self, after: str | None) -> AsyncIterator[Change]:
        not_offered("the change feed")

    async def journal(self, limit: int, *, newest_first: bool = False) -> Sequence[JournalEntry]:
        not_offered("the audit journal")

    async def record(self, kind: str, id: str) -> Record | None:
        not_offered("records")

    async def records(
        self, kind: str, prefix: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[Record]:
        not_offered("records")

    async def check(self) -> None:
        await self._store.check()

    async def close(self) -> None:
        not_offered("closing")

    def _under_guard(self, unit: Unit[T]) -> Unit[T]:
        async def guarded_unit(transaction: Transaction) -> T:
            under_guard = GuardedTransaction(transaction, self._judge)
            result = await unit(under_guard)
            await under_guard.finish()
            return result

        return guarded_unit

    def _view(self, key: Key) -> Expression:
        return self._judge.access.filter(key.type, "r")
