"""The sealer: follows the journal, writes its records as AuditEvents, and chains them in blocks.

Events, block, head of the chain and the journal's shortening are one transaction, so a sealer
that dies repeats its step, and of several sealers one wins each step.
"""

import asyncio
import secrets
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from fhir_server.audit.chain import Block, Head, next_block, tagged
from fhir_server.audit.event import audit_event
from fhir_server.audit.quoted import committed
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
BLOCK_LIMIT = 50
BUSY_BLOCK_LIMIT = 20
"""A block is one transaction, for which every other write waits: short while there are any."""
IDLE_SECONDS = 0.25
LONGEST_REST_SECONDS = 0.1
PATIENCE_SECONDS = 60.0
BUSY_RESTS, LATE_RESTS = 9, 3
BUSY_RECORDS = 20
"""So many new records in a second are requests that the sealer must not hold up; with fewer there
is time for both."""
FAILURE_SECONDS = 5.0

_SECOND = timedelta(seconds=1)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Step:
    """One block, ready to be written."""

    revision: int
    block: Block
    drafts: tuple[Draft, ...]
    positions: tuple[str, ...]


class Sealer:
    """Seals one store's journal. `extract` gives the terms that the events are found by;
    `new_salt` the salts of the searches that they quote."""

    def __init__(
        self,
        store: ResourceStore,
        extract: Callable[[dict[str, Any]], Terms],
        signer: BlockSigner,
        clock: Callable[[], datetime],
        new_salt: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        self._store = store
        self._extract = extract
        self._signer = signer
        self._clock = clock
        self._new_salt = new_salt
        self._waited = timedelta()
        """How long the oldest record of the last block had waited."""
        self._is_busy = False
        """Whether requests kept coming while the last block was sealed."""

    async def run(self) -> None:
        """Seal until cancelled; a failure is logged and tried again. The requests that the sealer
        follows come first: while they keep coming it takes a tenth of the time, and a quarter once
        records have waited for PATIENCE_SECONDS."""
        while True:
            began = time.monotonic()
            try:
                sealed = await self.seal_once()
            except Exception as failure:  # the trail must outlive any one failure
                _log.error("audit sealing failed", error=type(failure).__name__)
                await asyncio.sleep(FAILURE_SECONDS)
                continue
            if sealed:
                await self._rest(time.monotonic() - began)
            else:
                await asyncio.sleep(IDLE_SECONDS)

    async def _rest(self, took: float) -> None:
        """As long as the block took, and several times that while requests keep coming."""
        times = 1
        if self._is_busy:
            is_late = self._waited > timedelta(seconds=PATIENCE_SECONDS)
            times = LATE_RESTS if is_late else BUSY_RESTS
        await asyncio.sleep(min(took, LONGEST_REST_SECONDS) * times)

    async def seal_once(self) -> int:
        """Seal one block of what waits; the number of records sealed, 0 when none waits or
        another sealer was first."""
        limit = BUSY_BLOCK_LIMIT if self._is_busy else BLOCK_LIMIT
        waiting = await self._store.journal(limit)
        if not waiting:
            return 0
        record = await self._store.record(HEADS, ONLY)
        events = [audit_event(each.entry) for each in waiting]
        self._waited = self._age(events[0])
        self._is_busy = await self._keeps_coming()
        taken = await self._store.get_many([Key("AuditEvent", event["id"]) for event in events])
        _rename(events, waiting, {key.id for key in taken})
        positions = tuple(each.position for each in waiting)
        # Term extraction of a whole block would hold up the event loop.
        step = await asyncio.to_thread(self._prepare, events, positions, record)
        try:
            await self._store.transaction(lambda transaction: _write(transaction, step))
        except VersionConflict:
            return 0
        return len(waiting)

    async def _keeps_coming(self) -> bool:
        """Whether so many records were left within the last second that requests come first."""
        recent = await self._store.journal(BUSY_RECORDS, newest_first=True)
        return len(recent) == BUSY_RECORDS and self._age(audit_event(recent[-1].entry)) < _SECOND

    def _age(self, event: dict[str, Any]) -> timedelta:
        try:
            return self._clock() - datetime.fromisoformat(event["recorded"])
        except (TypeError, ValueError):  # the record says no moment
            return timedelta()

    def _prepare(
        self, events: list[dict[str, Any]], positions: tuple[str, ...], record: Record | None
    ) -> _Step:
        head = Head(record.value["number"], record.value["hash"]) if record else Head()
        now = self._clock()
        placed = [tagged(committed(event, self._new_salt), head.number + 1) for event in events]
        block = next_block(head, placed, instant(now), self._signer)
        drafts = tuple(self._draft(event, now) for event in placed)
        return _Step(record.revision if record else 0, block, drafts, positions)

    def _draft(self, event: dict[str, Any], now: datetime) -> Draft:
        meta = {"versionId": "1", "lastUpdated": instant(now), **event["meta"]}
        front = {"resourceType": "AuditEvent", "id": event["id"], "meta": meta}
        resource = front | {name: value for name, value in event.items() if name not in front}
        key = Key("AuditEvent", event["id"])
        stored = Stored(key, 1, _whole_milliseconds(now), encode(resource), "POST")
        return Draft(stored, self._extract(resource))


def _rename(events: list[dict[str, Any]], waiting: Sequence[JournalEntry], taken: set[str]) -> None:
    """Give events another id whose own is taken: a repeated id must neither overwrite an event
    nor stop the trail."""
    for event, each in zip(events, waiting, strict=True):
        if event["id"] in taken:
            event["id"] = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{event['id']} {each.position}"))
        taken.add(event["id"])


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
