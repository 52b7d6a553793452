"""Holding a restored store against the one that it was made from, while that goes on."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from fhir_server.audit.chain import GENESIS, block_of, event_hash
from fhir_server.audit.quoted import is_as_committed
from fhir_server.audit.sealer import BLOCKS, HEADS
from fhir_server.backup.create import LEFT_OUT
from fhir_server.fhir.codec import parse
from fhir_server.storage.port import Key, Record, ResourceStore, Stored
from fhir_server.storage.snapshot import Cut, WholeStore
from fhir_server.subscriptions.notify import POSITION

MOST_NAMED = 100
_AT_ONCE = 500


@dataclass
class Comparison:
    """What was compared, counted, and the first of the differences by name; `late` are versions
    that a store without an order of commits may have committed after the cut."""

    counts: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)

    def differs(self, text: str) -> None:
        """Note one difference."""
        self.counts["differences"] += 1
        if len(self.differences) < MOST_NAMED:
            self.differences.append(text)


async def compare(source: WholeStore, restored: WholeStore, cut: Cut) -> Comparison:
    """Every version, every resource, every block of the audit trail and every record of the
    restored store against the source as it was at the cut."""
    found = Comparison()
    await _versions(source, restored, cut, found)
    await _resources(restored, found)
    await _blocks(restored, found)
    return found


async def _versions(source: WholeStore, restored: WholeStore, cut: Cut, found: Comparison) -> None:
    """Those of the source up to the cut are all there, and no others."""
    async with source.copying.snapshot() as snapshot:
        async for place, stored in snapshot.versions(0):
            if place > cut.place:
                continue
            copy = await restored.get(stored.key, stored.version)
            if copy is None and place >= cut.first_open:
                found.counts["late"] += 1
                continue
            found.counts["versions"] += 1
            if copy != stored:
                found.differs(f"{stored.key} version {stored.version}")
        async for record in snapshot.records({}):
            if (
                record.kind not in LEFT_OUT
                and await restored.record(record.kind, record.id) is None
            ):
                found.counts["newer_records"] += 1
    async with restored.copying.snapshot() as snapshot:
        there = 0
        async for _ in snapshot.versions(0):
            there += 1
        if there != found.counts["versions"]:
            belong = found.counts["versions"]
            found.differs(f"{there} versions were restored, and {belong} belong there")
        async for record in snapshot.records({}):
            if record.kind not in LEFT_OUT:
                await _record(source, record, found)


async def _record(source: ResourceStore, record: Record, found: Comparison) -> None:
    """The same, unless it was changed or ended since."""
    found.counts["records"] += 1
    now = await source.record(record.kind, record.id)
    if record.kind == BLOCKS and now is None:
        found.differs(f"audit block {record.id} is not in the source")
    # Positions of a feed are those of the engine.
    is_same = now is not None and now.revision == record.revision and record.kind != POSITION
    if is_same and now != record:
        found.differs(f"record {record.kind} {record.id}")


async def _resources(restored: WholeStore, found: Comparison) -> None:
    """What is current is the last version of each resource, and none is missing."""
    last = 0
    async with restored.copying.snapshot() as snapshot:
        async for _, stored in snapshot.versions(0):
            current = await restored.get(stored.key)
            if current is None or current.version < stored.version:
                found.differs(f"{stored.key} is not current at version {stored.version}")
            elif current.version == stored.version:
                last += not stored.is_deleted
    after: Key | None = None
    while page := await restored.current(after, _AT_ONCE):
        after = page[-1].key
        for stored in page:
            await _resource(restored, stored, found)
    if found.counts["resources"] != last:
        found.differs(f"{found.counts['resources']} resources are current, not {last}")


async def _resource(restored: ResourceStore, stored: Stored, found: Comparison) -> None:
    found.counts["resources"] += 1
    if await restored.get(stored.key, stored.version) != stored:
        found.differs(f"{stored.key} is not current as its last version is")


async def _blocks(restored: ResourceStore, found: Comparison) -> None:
    """The chain of the audit trail leads from its beginning to its head, and every event is what
    was sealed."""
    previous, number, after = GENESIS, 0, ""
    while page := await restored.records(BLOCKS, after=after, limit=_AT_ONCE):
        after = page[-1].id
        for record in page:
            block = block_of(record.value)
            number += 1
            if block.number != number or block.previous != previous:
                found.differs(f"audit block {record.id} does not follow the one before it")
            previous = block.hash
            await _events(restored, block.events, found)
    found.counts["audit_blocks"] = number
    for record in await restored.records(HEADS):
        if record.value != {"number": number, "hash": previous}:
            found.differs("the head of the audit trail is not its last block")


async def _events(
    restored: ResourceStore, events: tuple[tuple[str, str], ...], found: Comparison
) -> None:
    there = await restored.get_many([Key("AuditEvent", id_) for id_, _ in events])
    for id_, digest in events:
        stored = there.get(Key("AuditEvent", id_))
        found.counts["audit_events"] += 1
        if stored is None or stored.is_deleted or not _is_sealed(parse(stored.body), digest):
            found.differs(f"AuditEvent/{id_} is not what was sealed")


def _is_sealed(event: dict[str, Any], digest: str) -> bool:
    return event_hash(event) == digest and is_as_committed(event)
