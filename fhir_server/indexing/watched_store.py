"""A store that sees SearchParameters being written, and keeps resources from being indexed by a
registry that was replaced meanwhile."""

from dataclasses import replace

from fhir_server.fhir.codec import parse
from fhir_server.indexing.definitions import Definitions
from fhir_server.indexing.judged import TYPE, judge
from fhir_server.search.live import Known, LiveSearch
from fhir_server.storage.port import Draft, ResourceStore, T, Transaction, Unit


class WatchedStore:
    """A ResourceStore for requests that began with `known`. What it does not watch it passes on
    by the store's own methods."""

    def __init__(
        self, store: ResourceStore, live: LiveSearch, known: Known, definitions: Definitions
    ) -> None:
        self._store = store
        self._live = live
        self._known = known
        self._definitions = definitions
        self.get = store.get
        self.get_many = store.get_many
        self.find = store.find
        self.count = store.count
        self.explain = store.explain
        self.history = store.history
        self.current = store.current
        self.note = store.note
        self.changes = store.changes
        self.journal = store.journal
        self.record = store.record
        self.records = store.records
        self.check = store.check
        self.close = store.close

    async def transaction(self, unit: Unit[T]) -> T:
        """As the store's. A SearchParameter that it wrote counts in this process before the
        answer is sent."""
        result, is_defining = await self._store.transaction(self._watched(unit))
        if is_defining:
            await self._definitions.look()
        return result

    async def rehearse(self, unit: Unit[T]) -> T:
        """As the store's."""
        result, _ = await self._store.rehearse(self._watched(unit))
        return result

    def _watched(self, unit: Unit[T]) -> Unit[tuple[T, bool]]:
        async def watched_unit(transaction: Transaction) -> tuple[T, bool]:
            watched = WatchedTransaction(transaction, self._live, self._known)
            result = await unit(watched)
            if watched.defined:
                await judge(transaction, watched.defined, self._live.now)
            return result, bool(watched.defined)

        return watched_unit


class WatchedTransaction:
    """A unit's transaction; `defined` are the ids of the SearchParameters that it has written."""

    def __init__(self, inner: Transaction, live: LiveSearch, known: Known) -> None:
        self._inner = inner
        self._live = live
        self._known = known
        self.defined: set[str] = set()
        self.get = inner.get
        self.find = inner.find
        self.count = inner.count
        self.history = inner.history
        self.keep = inner.keep
        self.put_terms = inner.put_terms
        self.forget = inner.forget
        self.reserve = inner.reserve
        self.record = inner.record
        self.put_record = inner.put_record
        self.delete_record = inner.delete_record
        self.journal = inner.journal
        self.seal = inner.seal

    async def put(self, draft: Draft, expected: int) -> None:
        """As the transaction's, with terms by the registry of now."""
        stored = draft.stored
        if self._live.known is not self._known and not stored.is_deleted:
            draft = replace(draft, terms=self._live.extract(parse(stored.body)))
        if stored.key.type == TYPE:
            self.defined.add(stored.key.id)
        await self._inner.put(draft, expected)
