"""The sealer: follows the journal, writes its records as AuditEvents, and chains them in blocks.

Events, block, head of the chain and the journal's shortening are one transaction, so a sealer
that dies repeats its step, and of several sealers one wins each step.
"""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from fhir_server.audit.chain import Block, Head, next_block, tagged
from fhir_server.audit.event import audit_event
from fhir_server.audit.signing import BlockSigner, new_private_jwk, signer
from fhir_server.fhir.codec import encode, instant
from fhir_server.storage.port import (
    Draft,
    JournalEntry,
    Key,
    Record,
    ResourceStore,
    Stored,
    Terms,
    Transaction,
    VersionConflict,
)

BLOCKS, HEADS, KEYS = "audit-block", "audit-head", "audit-key"
ONLY = "current"
BLOCK_LIMIT = 100
IDLE_SECONDS = 0.25
FAILURE_SECONDS = 5.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Step:
    """One block, ready to be written."""

    revision: int
    block: Block
    drafts: tuple[Draft, ...]
    positions: tuple[str, ...]


class Sealer:
    """Seals one store's journal. `extract` gives the terms that the events are found by."""

    def __init__(
        self,
        store: ResourceStore,
        extract: Callable[[dict[str, Any]], Terms],
        signer: BlockSigner,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._extract = extract
        self._signer = signer
        self._clock = clock

    async def run(self) -> None:
        """Seal until cancelled; a failure is logged and tried again."""
        while True:
            try:
                sealed = await self.seal_once()
            except Exception as failure:  # the trail must outlive any one failure
                _log.error("audit sealing failed", error=type(failure).__name__)
                await asyncio.sleep(FAILURE_SECONDS)
                continue
            if not sealed:
                await asyncio.sleep(IDLE_SECONDS)

    async def seal_once(self) -> int:
        """Seal one block of what waits; the number of records sealed, 0 when none waits or
        another sealer was first."""
        waiting = await self._store.journal(BLOCK_LIMIT)
        if not waiting:
            return 0
        record = await self._store.record(HEADS, ONLY)
        taken = await self._taken(waiting)
        # Term extraction of a whole block would hold up the event loop.
        step = await asyncio.to_thread(self._prepare, waiting, record, taken)
        try:
            await self._store.transaction(lambda transaction: _write(transaction, step))
        except VersionConflict:
            return 0
        return len(waiting)

    async def _taken(self, waiting: Sequence[JournalEntry]) -> set[str]:
        keys = [Key("AuditEvent", audit_event(each.entry)["id"]) for each in waiting]
        return {key.id for key in await self._store.get_many(keys)}

    def _prepare(
        self, waiting: Sequence[JournalEntry], record: Record | None, taken: set[str]
    ) -> _Step:
        head = Head(record.value["number"], record.value["hash"]) if record else Head()
        now = self._clock()
        events: list[dict[str, Any]] = []
        for each in waiting:
            event = tagged(audit_event(each.entry), head.number + 1)
            if event["id"] in taken:
                # A repeated id must neither overwrite an event nor stop the trail.
                event["id"] = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{event['id']} {each.position}"))
            taken = taken | {event["id"]}
            events.append(event)
        block = next_block(head, events, instant(now), self._signer)
        drafts = tuple(self._draft(event, now) for event in events)
        revision = record.revision if record else 0
        return _Step(revision, block, drafts, tuple(each.position for each in waiting))

    def _draft(self, event: dict[str, Any], now: datetime) -> Draft:
        meta = {"versionId": "1", "lastUpdated": instant(now), **event["meta"]}
        front = {"resourceType": "AuditEvent", "id": event["id"], "meta": meta}
        resource = front | {name: value for name, value in event.items() if name not in front}
        key = Key("AuditEvent", event["id"])
        stored = Stored(key, 1, _whole_milliseconds(now), encode(resource), "POST")
        return Draft(stored, self._extract(resource))


async def signer_of(store: ResourceStore) -> BlockSigner:
    """The store's own audit key, made on first use."""

    async def load(transaction: Transaction) -> dict[str, str]:
        record = await transaction.record(KEYS, ONLY)
        if record is not None:
            return record.value
        jwk = new_private_jwk()
        await transaction.put_record(Record(KEYS, ONLY, dict(jwk)), expected=0)
        return jwk

    try:
        return signer(await store.transaction(load))
    except VersionConflict:
        # Another process made the key in the same moment.
        return signer(await store.transaction(load))


async def _write(transaction: Transaction, step: _Step) -> None:
    block = step.block
    head = {"number": block.number, "hash": block.hash}
    await transaction.put_record(Record(HEADS, ONLY, head), expected=step.revision)
    await transaction.put_record(Record(BLOCKS, block_id(block.number), block.as_json()), 0)
    for draft in step.drafts:
        await transaction.put(draft, 0)
    await transaction.seal(step.positions)


def block_id(number: int) -> str:
    """The record id of a block; ids sort as the numbers do."""
    return f"{number:012d}"


def _whole_milliseconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
