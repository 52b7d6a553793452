"""The reads of a transaction: answered after its writes, inside the same unit."""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from fhir_server.fhir.outcome import FhirError, unsupported
from fhir_server.interactions.context import Context, FhirResponse
from fhir_server.interactions.entries import at_entry
from fhir_server.interactions.steps import Step
from fhir_server.storage.port import (
    HistoryPage,
    Key,
    Past,
    ResourceStore,
    Stored,
    T,
    Transaction,
    Unit,
)


class _UnitStore:
    """The part of a ResourceStore that reads and searches use, over an open unit."""

    def __init__(self, unit: Transaction) -> None:
        self._unit = unit
        self.find = unit.find
        self.count = unit.count
        self.note = unit.journal

    async def get(self, key: Key, version: int | None = None) -> Stored | None:
        stored = await self._unit.get(key, version)
        # What may be written but not read comes without its body: for a read it is not there.
        return stored if stored and (stored.body or stored.is_deleted) else None

    async def get_many(self, keys: Sequence[Key]) -> dict[Key, Stored]:
        found = {key: await self.get(key) for key in keys}
        return {key: stored for key, stored in found.items() if stored is not None}

    async def history(self, past: Past) -> HistoryPage:
        raise unsupported("history inside a transaction; use a batch")

    async def transaction(self, unit: Unit[T]) -> T:
        return await unit(self._unit)


def as_seen_by(context: Context, unit: Transaction) -> Context:
    """The context with the unit in place of the store."""
    # Reads, searches and their audit records use nothing else of a store.
    store = cast(ResourceStore, _UnitStore(unit))
    return replace(context, store=store, is_in_transaction=True)


async def read_entry(context: Context, step: Step) -> FhirResponse:
    """The answer to a GET entry; what can't be answered fails the transaction."""
    try:
        return await context.perform(context, step.request)
    except FhirError as refusal:
        issues = tuple(at_entry(refusal, step.index))
        raise FhirError(refusal.status, issues, refusal.headers) from None
