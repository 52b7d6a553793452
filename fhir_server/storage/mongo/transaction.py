"""A unit's view of the store: one snapshot transaction whose writes wait in memory.

Writes are sent together, one bulk write for each collection, at the latest at the commit. A
search inside the unit sends the resources first, so that it finds them; reads by key are
answered from what waits.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from bson import ObjectId
from bson.errors import InvalidId
from pymongo import DeleteMany, DeleteOne, InsertOne, ReplaceOne, UpdateOne
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    DuplicateKeyError,
    ServerSelectionTimeoutError,
)

from fhir_server.search.expression import Query
from fhir_server.storage.mongo import reading, records, sealed
from fhir_server.storage.mongo.chains import Reader
from fhir_server.storage.mongo.connect import Collection, Document, Session
from fhir_server.storage.mongo.history import history
from fhir_server.storage.mongo.resealing import reseal
from fhir_server.storage.mongo.reservations import reservation
from fhir_server.storage.port import (
    Draft,
    HistoryPage,
    Key,
    Page,
    Past,
    Record,
    Stored,
    StoreUnavailable,
    Terms,
    VersionConflict,
)
from fhir_server.storage.rotation import Resealed

Write = InsertOne[Document] | ReplaceOne[Document] | UpdateOne | DeleteOne | DeleteMany
_DUPLICATE_KEY = 11000


class CommitUnknown(StoreUnavailable):
    """The commit may or may not have happened: the connection or the majority was lost in the
    middle of it. The caller has to look, or to send the same request again."""


class Overtaken(Exception):
    """Somebody else changed what this unit has read: run the unit again."""


@dataclass(frozen=True, slots=True)
class _Put:
    expected: int
    draft: Draft
    is_confirmed: bool
    """The unit itself has read the version that it expects."""


class MongoTransaction:
    """Implements `Transaction` on one session."""

    def __init__(self, reader: Reader, session: Session, clock: Callable[[], datetime]) -> None:
        self._collections = reader.collections
        self._session = session
        self._reader = reader
        self._clock = clock
        self._is_begun = False
        self._read_versions: dict[Key, int] = {}
        self._written: dict[tuple[Key, int | None], Stored] = {}
        self._puts: dict[Key, _Put] = {}
        self._past: list[Stored] = []
        self._indexed: list[Write] = []
        self._records: dict[str, Document | None] = {}
        self._record_bases: dict[str, int | None] = {}
        self._journal: list[Document] = []
        self._reservations: set[str] = set()

    async def get(self, key: Key, version: int | None = None) -> Stored | None:
        own = self._written.get((key, version))
        if own is not None:
            return own
        await self._begin()
        found = await reading.get(self._reader, key, version)
        if version is None:
            self._read_versions[key] = found.version if found else 0
        return found

    async def find(self, query: Query) -> Page:
        await self._begin()
        await self._send_resources()
        return await reading.find(self._reader, query)

    async def count(self, query: Query) -> int:
        await self._begin()
        await self._send_resources()
        return await reading.count(self._reader, query)

    async def history(self, past: Past) -> HistoryPage:
        await self._begin()
        await self._send_resources()
        return await history(self._reader, past)

    async def put(self, draft: Draft, expected: int) -> None:
        """See the port. Without an earlier read the version is checked when the write is sent."""
        stored = draft.stored
        known = self._known_version(stored.key)
        if known is not None and known != expected:
            raise VersionConflict(f"{stored.key} is at version {known}")
        waiting = self._puts.get(stored.key)
        self._puts[stored.key] = (
            _Put(expected, draft, known is not None)
            if waiting is None
            else _Put(waiting.expected, draft, waiting.is_confirmed)
        )
        self._past.append(stored)
        self._written[stored.key, None] = stored
        self._written[stored.key, stored.version] = stored

    async def put_terms(self, key: Key, version: int, terms: Terms) -> None:
        changes = {"$set": records.found_by(terms)}
        self._indexed.append(
            UpdateOne({"_id": str(key), "version": version, "type": key.type}, changes)
        )

    def _known_version(self, key: Key) -> int | None:
        own = self._written.get((key, None))
        return own.version if own else self._read_versions.get(key)

    async def keep(self, stored: Stored) -> None:
        """Nothing is written."""

    async def forget(self, key: Key) -> None:
        current = await self.get(key)
        if current is None:
            return
        await self._send_resources()
        earlier = records.before(key, current.version)
        await self._bulk(self._collections.bodies, [DeleteMany(earlier)])
        await self._bulk(self._collections.history, [DeleteMany(earlier)])
        own = [name for name in self._written if name[0] == key and name[1] is not None]
        for name in own:
            if name[1] != current.version:
                del self._written[name]

    async def reserve(self, name: str) -> None:
        """Sent before the unit's next read, so that what the unit finds is still so when it
        commits."""
        self._reservations.add(name)

    async def record(self, kind: str, id: str) -> Record | None:
        document = await self._record_document(records.record_id(kind, id))
        return await sealed.value_out(self._reader, document, self._clock())

    async def _record_document(self, id_: str) -> Document | None:
        if id_ not in self._records:
            await self._begin()
            self._records[id_] = await self._collections.records.find_one(
                {"_id": id_}, session=self._session
            )
        return self._records[id_]

    async def put_record(self, record: Record, expected: int | None = None) -> None:
        id_ = records.record_id(record.kind, record.id)
        document = await self._record_document(id_)
        is_present = document is not None and records.is_live(document, self._clock())
        revision = document["revision"] if document and is_present else 0
        if expected is not None and expected != revision:
            raise VersionConflict(f"{record.kind} {record.id} is at revision {revision}")
        self._set_record(id_, sealed.value_in(self._reader.vault, record, revision + 1))

    async def delete_record(self, kind: str, id: str) -> None:
        id_ = records.record_id(kind, id)
        await self._record_document(id_)
        self._set_record(id_, None)

    def _set_record(self, id_: str, document: Document | None) -> None:
        before = self._records[id_]
        self._record_bases.setdefault(id_, before["revision"] if before else None)
        self._records[id_] = document

    async def journal(self, entry: bytes) -> None:
        self._journal.append(sealed.entry_in(self._reader.vault, entry))

    async def seal(self, positions: Sequence[str]) -> None:
        await self._begin()
        try:
            ids = [ObjectId(position) for position in positions]
        except InvalidId:
            raise VersionConflict("not a position of the journal") from None
        gone = await self._collections.journal.delete_many(
            {"_id": {"$in": ids}}, session=self._session
        )
        if gone.deleted_count != len(ids):
            raise VersionConflict("an audit record is sealed already")

    async def reseal(self, place: str, after: str, limit: int) -> Resealed:
        """Seal under the active key what lies at the place beyond `after`."""
        await self._begin()
        anew = await reseal(self._reader, place, after, limit)
        for name in dict.fromkeys(name for name, _ in anew.writes):
            writes: list[Write] = [write for each, write in anew.writes if each == name]
            await self._bulk(self._collections.named(name), writes)
        return anew.resealed

    async def send(self) -> None:
        """Send all that waits; the commit follows."""
        if self._is_one_audit_record():
            # One document is atomic by itself: no transaction is needed around it. PyMongo sends it
            # twice as one; after that nobody knows whether it is there.
            try:
                await self._collections.journal.insert_one(self._journal[0])
            except ServerSelectionTimeoutError:
                raise  # told, and not done again
            except AutoReconnect as failure:
                raise CommitUnknown("the record may be there") from failure
            return
        await self._begin()
        await self._send_resources()
        await self._send_records()
        await self._bulk(
            self._collections.journal, [InsertOne(document) for document in self._journal]
        )

    def _is_one_audit_record(self) -> bool:
        return (
            not (self._is_begun or self._reservations or self._puts or self._indexed)
            and not self._record_bases
            and len(self._journal) == 1
        )

    async def _begin(self) -> None:
        """Before anything else is asked: reservations."""
        self._is_begun = True
        now = self._clock()
        writes: list[Write] = [reservation(name, now) for name in sorted(self._reservations)]
        self._reservations.clear()
        try:
            await self._bulk(self._collections.reservations, writes)
        except DuplicateKeyError:
            raise Overtaken("a reservation was made at the same time") from None

    async def _send_resources(self) -> None:
        puts, self._puts = self._puts, {}
        past = [sealed.body_in(self._reader.vault, stored) for stored in self._past]
        self._past = []
        bodies = {(stored.key, stored.version): stored for stored in past}
        indexed, self._indexed = self._indexed, []
        now = self._clock()
        replaced = sum(put.expected > 0 for put in puts.values())
        lost = Overtaken if all(put.is_confirmed for put in puts.values()) else VersionConflict
        try:
            matched = await self._bulk(
                self._collections.resources, [_resource_write(put, bodies) for put in puts.values()]
            )
            if matched != replaced:
                raise lost("a resource is at another version")
            await self._bulk(self._collections.resources, indexed)
            await self._bulk(
                self._collections.bodies,
                [InsertOne(piece) for stored in past for piece in records.pieces(stored)],
            )
            await self._bulk(
                self._collections.history,
                [InsertOne(records.past(stored, now)) for stored in past],
            )
        except DuplicateKeyError:
            raise lost("a resource is at another version") from None

    async def _send_records(self) -> None:
        bases, self._record_bases = self._record_bases, {}
        writes: list[Write] = []
        for id_, revision in bases.items():
            document = self._records[id_]
            if document is None:
                writes.append(DeleteOne({"_id": id_}))
            elif revision is None:
                writes.append(InsertOne(document))
            else:
                writes.append(ReplaceOne({"_id": id_, "revision": revision}, document))
        replaced = sum(isinstance(write, ReplaceOne) for write in writes)
        try:
            matched = await self._bulk(self._collections.records, writes)
        except DuplicateKeyError:
            raise Overtaken("a record was made at the same time") from None
        if matched != replaced:
            raise Overtaken("a record was changed at the same time")

    async def _bulk(self, collection: Collection, writes: Sequence[Write]) -> int:
        """Send the writes together; returns how many replaced or updated a document."""
        if not writes:
            return 0
        try:
            result = await collection.bulk_write(writes, ordered=False, session=self._session)
        except BulkWriteError as failure:
            codes = {each.get("code") for each in failure.details.get("writeErrors", ())}
            if codes == {_DUPLICATE_KEY}:
                raise DuplicateKeyError("a document with this id exists") from failure
            raise
        return int(result.matched_count)


def _resource_write(put: _Put, bodies: Mapping[tuple[Key, int], Stored]) -> Write:
    stored = put.draft.stored
    document = records.current(replace(put.draft, stored=bodies[stored.key, stored.version]))
    if put.expected == 0:
        return InsertOne(document)
    return ReplaceOne({"_id": document["_id"], "version": put.expected}, document)
