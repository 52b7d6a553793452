"""A store whose transactions are undone: an interaction that gets it says what it would do."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from fhir_server.interactions.context import Context
from fhir_server.storage.port import (
    Draft,
    ResourceStore,
    Stored,
    T,
    Transaction,
    Unit,
)


@dataclass(frozen=True, slots=True)
class Write:
    """A version that would be written, and what it would replace."""

    before: Stored | None
    after: Stored


class Rehearsal:
    """A ResourceStore that runs every unit and undoes it. `writes` are those of the last."""

    def __init__(self, store: ResourceStore) -> None:
        self._store = store
        self.writes: Sequence[Write] = ()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def transaction(self, unit: Unit[T]) -> T:
        """As the store's, undone."""

        async def noted(transaction: Transaction) -> tuple[T, list[Write]]:
            watched = _Watched(transaction)
            # It does all that a transaction does, by passing it on.
            return await unit(cast(Transaction, watched)), watched.writes

        result, self.writes = await self._store.rehearse(noted)
        return result

    async def note(self, entry: bytes) -> None:
        """The audit record of something that only reads: undone as well."""
        await self.transaction(lambda unit: unit.journal(entry))

    async def rehearse(self, unit: Unit[T]) -> T:
        """The same: nothing of it stays."""
        return await self.transaction(unit)

    def instead(self, context: Context) -> Context:
        """The context with this store."""
        # It does all that a store does, by passing it on.
        return replace(context, store=cast(ResourceStore, self))


class _Watched:
    """A Transaction that notes what it writes."""

    def __init__(self, transaction: Transaction) -> None:
        self._inner = transaction
        self.writes: list[Write] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def put(self, draft: Draft, expected: int) -> None:
        before = await self._inner.get(draft.stored.key) if expected else None
        await self._inner.put(draft, expected)
        self.writes.append(Write(before, draft.stored))
