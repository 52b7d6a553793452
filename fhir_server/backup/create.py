"""Making a backup: a snapshot of the store, sealed part by part, while others write."""

import hashlib
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from fhir_server.audit.sealer import BLOCKS, HEADS, ONLY, block_id
from fhir_server.backup.catalogue import Catalogue, catalogue
from fhir_server.backup.manifest import (
    BEGUN,
    MANIFEST,
    Manifest,
    Sealed,
    manifest_name,
    own_parts,
    read,
    written,
)
from fhir_server.backup.parts import PartWriter
from fhir_server.backup.problems import BackupFailed, TargetFailed
from fhir_server.backup.rows import FileRow, JournalRow, record_row, version_row
from fhir_server.backup.seals import SealKeys, new_part_seal
from fhir_server.backup.target import Target
from fhir_server.indexing.state import INDEX, WHOLE
from fhir_server.storage.port import (
    Key,
    Record,
    ResourceStore,
    Stored,
    Transaction,
    VersionConflict,
)
from fhir_server.storage.snapshot import IDENTITY, OWN, Snapshot, WholeStore

LEFT_OUT = frozenset({OWN, INDEX, WHOLE})
"""Kinds of records that are of this store alone, or are made anew."""
LONGEST_CHAIN = 400


@dataclass(frozen=True)
class Source:
    """What is backed up: an open store, the files beside it, and the address under which it is
    served, by which its references were indexed."""

    store: WholeStore
    files: Callable[[], Iterable[FileRow]]
    base_url: str
    clock: Callable[[], datetime]


async def create(
    source: Source, target: Target, keys: SealKeys, *, full_after: timedelta | None = None
) -> Sealed:
    """Make a backup. It goes on from the last one of this store, unless that began more than
    `full_after` ago (None: in any case), or the store is not what it was made of. BackupFailed when
    that can't be done; then nothing of it is left, unless the process was killed: `prune` takes
    that away."""
    store = await identity(source.store)
    found, before = await catalogue(target, keys), None
    if full_after is not None:
        before = _last(found, store, source.clock() - full_after)
    backup = f"{source.clock():%Y%m%dT%H%M%S}Z-{secrets.token_hex(4)}"
    begun = _Begun(store, backup, found.next_number, before)
    try:
        await target.put(f"{backup}/{BEGUN}", b"")
        content = await _write(source, target, keys, begun)
        await target.put(manifest_name(backup), content)
        made = read(backup, content, keys)
        await _require_there(target, made.manifest)
    except BaseException:
        await _take_away(target, backup)
        raise
    with suppress(BackupFailed):  # it is there; the mark means nothing beside a manifest
        await target.delete(f"{backup}/{BEGUN}")
    return made


async def _require_there(target: Target, manifest: Manifest) -> None:
    """A disk that was taken away in the middle, and another in its place, loses what was written
    before."""
    there = {name.partition("/")[2] for name in await target.names(f"{manifest.backup}/")}
    if lost := {MANIFEST, *own_parts(manifest)} - there:
        raise TargetFailed(f"the target has lost {manifest.backup}/{min(lost)} meanwhile")


async def identity(store: WholeStore) -> str:
    """The identity of the store, made on first use. A restored store gets another one, because from
    then on it goes a way of its own."""

    async def unit(transaction: Transaction) -> str:
        record = await transaction.record(OWN, IDENTITY)
        if record is not None:
            return str(record.value["id"])
        made = secrets.token_hex(8)
        await transaction.put_record(Record(OWN, IDENTITY, {"id": made}), 0)
        return made

    try:
        return await store.transaction(unit)
    except VersionConflict:  # another process was first
        return await store.transaction(unit)


async def known_identity(store: ResourceStore) -> str | None:
    """The identity of the store, if it was made; nothing is changed."""
    record = await store.record(OWN, IDENTITY)
    return None if record is None else str(record.value["id"])


def _last(found: Catalogue, store: str, oldest: datetime) -> Sealed | None:
    """The backup to go on from: the last whole one, if its chain is short and began late enough."""
    chain = found.last_whole(store)
    if not chain or len(chain) >= LONGEST_CHAIN or chain[0].manifest.cut.moment < oldest:
        return None
    return chain[-1]


@dataclass(frozen=True)
class _Begun:
    """A backup that is being made, and the one `before` that it is to go on from."""

    store: str
    backup: str
    number: int
    before: Sealed | None


async def _write(source: Source, target: Target, keys: SealKeys, begun: _Begun) -> bytes:
    """Write the parts; the manifest."""
    before = begun.before
    started = time.monotonic()
    seal = new_part_seal(begun.backup)
    writer = PartWriter(target, seal)
    async with source.store.copying.snapshot() as snapshot:
        if before is not None and not await _goes_on(source.store, snapshot, before):
            before = None
        place, tail = (before.manifest.cut.place, before.tail) if before else (0, "")
        async for version in snapshot.versions(place):
            await writer.add(version_row(version))
            if version.place > place:
                place, tail = version.place, _tail(version.stored)
        cut = snapshot.cut()
        settled = await snapshot.count(cut.first_open)
        versions = await snapshot.count(cut.place + 1)
        blocks = await _rest(snapshot, writer, before)
    for file in source.files():
        await writer.add(file)
    await writer.end()
    manifest = Manifest(
        backup=begun.backup,
        store=begun.store,
        engine=source.store.copying.engine,
        base_url=source.base_url,
        cut=cut,
        settled=settled,
        versions=versions,
        blocks=blocks,
        counts=dict(writer.counts),
        parts=tuple(writer.parts),
        seconds=round(time.monotonic() - started, 3),
        parent=None if before is None else before.parent,
        number=begun.number,
    )
    return written(manifest, seal, tail, keys)


async def _goes_on(store: ResourceStore, snapshot: Snapshot, before: Sealed) -> bool:
    """False when the store has gone another way since, as a copy of its folder does, or when
    versions were erased that the earlier backups hold: what goes on from these would bring them
    back."""
    name, _, number = before.tail.rpartition(" ")[0].rpartition("/")
    if name:
        there = await store.get(Key(*name.split("/")), int(number))
        if there is None or _tail(there) != before.tail:
            return False
    made = before.manifest
    if await snapshot.count(made.cut.first_open) != made.settled:
        return False
    # Beyond what is final more may have arrived, but none goes away.
    return await snapshot.count(made.cut.place + 1) >= made.versions


def _tail(stored: Stored) -> str:
    return f"{stored.key}/{stored.version} {hashlib.sha256(stored.body).hexdigest()}"


async def _rest(snapshot: Snapshot, writer: PartWriter, before: Sealed | None) -> str:
    """Write what is not versions; the id of the last block of the audit trail."""
    # Blocks are only ever added: all others are few, and change.
    last = before.manifest.blocks if before else ""
    beyond: Mapping[str, str] = {BLOCKS: last} if last else {}
    async for record in snapshot.records(beyond):
        if record.kind in LEFT_OUT:
            continue
        if (record.kind, record.id) == (HEADS, ONLY):
            last = block_id(int(record.value["number"]))
        await writer.add(record_row(record))
    async for entry in snapshot.journal():
        await writer.add(JournalRow(entry))
    return last


async def _take_away(target: Target, backup: str) -> None:
    """As far as the target can be reached; `begun` goes last."""
    with suppress(BackupFailed):
        for name in sorted(await target.names(f"{backup}/"), reverse=True):
            if not name.endswith(f"/{BEGUN}"):
                await target.delete(name)
        await target.delete(f"{backup}/{BEGUN}")
