"""MongoStore: the production implementation of the storage port."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial

from fhir_server.search.expression import Query
from fhir_server.storage.budget import SEARCH_SECONDS
from fhir_server.storage.master_keys import MasterKeys
from fhir_server.storage.mongo import migrations, reading, sealed
from fhir_server.storage.mongo.chains import Reader
from fhir_server.storage.mongo.connect import collections, connect
from fhir_server.storage.mongo.copying import MongoCopying
from fhir_server.storage.mongo.explain import explain
from fhir_server.storage.mongo.feed import Feed
from fhir_server.storage.mongo.history import history
from fhir_server.storage.mongo.notes import Notes
from fhir_server.storage.mongo.reachable import Gate, reachable, reachable_once
from fhir_server.storage.mongo.records import record_id
from fhir_server.storage.mongo.resealing import MongoSealing
from fhir_server.storage.mongo.reservations import reservation
from fhir_server.storage.mongo.units import run
from fhir_server.storage.port import (
    Change,
    Explanation,
    HistoryPage,
    JournalEntry,
    Key,
    Page,
    Past,
    Record,
    Stored,
    T,
    Unit,
    rehearsed,
)
from fhir_server.storage.rotation import Sealing
from fhir_server.storage.snapshot import Copying

_CHECK_SECONDS = 5.0


def _now() -> datetime:
    return datetime.now(UTC)


class MongoStore:
    """Implements `ResourceStore` on one database. Open with `open`, close with `close`."""

    def __init__(self, reader: Reader, clock: Callable[[], datetime]) -> None:
        self._collections = reader.collections
        self._reader = reader
        self._notes = Notes(reader)
        self.gate = Gate(partial(reading.ask, reader))
        self._clock = clock
        self.sealing: Sealing = MongoSealing(reader)
        """For the encryption's own commands."""
        most = reader.collections.client.options.pool_options.max_pool_size
        self.capacity: Mapping[str, float] = {"connections": float(most)}
        self.copying: Copying = MongoCopying(reader, clock)
        """For backups."""

    @classmethod
    async def open(
        cls,
        uri: str,
        database: str,
        clock: Callable[[], datetime] = _now,
        search_seconds: float = SEARCH_SECONDS,
        masters: MasterKeys | None = None,
    ) -> "MongoStore":
        """Connect to the replica set of `uri` and create what `database` lacks; `clock` decides
        which records have expired; a search, count or history that would take longer than
        `search_seconds` is refused. With `masters` the content is sealed; UnusableKeys when they
        are not the database's, or are missing. Raises pymongo's error when no server answers."""
        client = connect(uri)
        opened = collections(client, database)
        try:
            await migrations.prepare(opened)
            vault = await sealed.begin(opened, masters)
        except BaseException:
            await client.close()
            raise
        return cls(Reader(opened, None, search_seconds, vault), clock)

    @property
    def is_away(self) -> bool:
        """Whether the server was found to be gone, and has not answered since."""
        return self.gate.is_closed

    @reachable
    async def get(self, key: Key, version: int | None = None) -> Stored | None:
        return await reading.get(self._reader, key, version)

    @reachable
    async def get_many(self, keys: Sequence[Key]) -> dict[Key, Stored]:
        return await reading.get_many(self._reader, keys)

    @reachable
    async def find(self, query: Query) -> Page:
        return await reading.find(self._reader, query)

    @reachable
    async def count(self, query: Query) -> int:
        return await reading.count(self._reader, query)

    @reachable
    async def explain(self, query: Query) -> Explanation:
        return await explain(self._reader, query)

    @reachable
    async def history(self, past: Past) -> HistoryPage:
        return await history(self._reader, past)

    @reachable
    async def current(
        self, after: Key | None, limit: int, since: datetime | None = None
    ) -> Sequence[Stored]:
        return await reading.current(self._reader, after, limit, since)

    @reachable
    async def transaction(self, unit: Unit[T]) -> T:
        return await run(self._reader, self._clock, unit)

    @reachable_once
    async def note(self, entry: bytes) -> None:
        await self._notes.append(entry)

    async def rehearse(self, unit: Unit[T]) -> T:
        return await rehearsed(self, unit)

    async def changes(self, after: str | None) -> AsyncIterator[Change]:
        async with aclosing(Feed(self._collections, after, self._reader.vault).changes()) as feed:
            async for change in feed:
                yield change

    @reachable
    async def journal(self, limit: int, *, newest_first: bool = False) -> Sequence[JournalEntry]:
        order = -1 if newest_first else 1
        cursor = self._collections.journal.find({}, sort=[("_id", order)], limit=limit)
        return [await sealed.entry_out(self._reader, each) async for each in cursor]

    @reachable
    async def record(self, kind: str, id: str) -> Record | None:
        document = await self._collections.records.find_one({"_id": record_id(kind, id)})
        return await sealed.value_out(self._reader, document, self._clock())

    @reachable
    async def records(
        self, kind: str, prefix: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[Record]:
        now = self._clock()
        start = record_id(kind, prefix)
        bounds = {"$gte": start, "$lt": f"{start}\U0010ffff", "$gt": record_id(kind, after)}
        cursor = self._collections.records.find(
            {"_id": bounds, "$or": [{"expires": None}, {"expires": {"$gt": now}}]},
            sort=[("_id", 1)],
            limit=limit,
        )
        found = [await sealed.value_out(self._reader, document, now) async for document in cursor]
        return [record for record in found if record is not None]

    async def check(self) -> None:
        """Writes by a majority, within five seconds."""
        async with asyncio.timeout(_CHECK_SECONDS):
            await self._check()

    @reachable
    async def _check(self) -> None:
        write = reservation("check", self._clock())
        await self._collections.reservations.bulk_write([write])

    async def close(self) -> None:
        await self._collections.client.close()
