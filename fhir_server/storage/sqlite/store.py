"""SqliteStore: the embedded implementation of the storage port."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from fhir_server.fhir.outcome import FhirError
from fhir_server.search.expression import Query
from fhir_server.storage.budget import SEARCH_SECONDS, history_too_slow, search_too_slow
from fhir_server.storage.master_keys import MasterKeys
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
from fhir_server.storage.sqlite import rows
from fhir_server.storage.sqlite.allowance import Allowance
from fhir_server.storage.sqlite.connect import Connection
from fhir_server.storage.sqlite.copying import SqliteCopying
from fhir_server.storage.sqlite.explain import explain
from fhir_server.storage.sqlite.history import history
from fhir_server.storage.sqlite.readers import THREADS, Readers
from fhir_server.storage.sqlite.resealing import SqliteSealing
from fhir_server.storage.sqlite.writer import Writer
from fhir_server.storage.vault import Vault

_POLL_SECONDS = 1.0
_FEED_BATCH = 200

Asked = TypeVar("Asked")


def _now() -> datetime:
    return datetime.now(UTC)


class SqliteStore:
    """Implements `ResourceStore` on one file. Open with `open`, close with `close`."""

    def __init__(
        self,
        path: Path,
        clock: Callable[[], datetime],
        search_seconds: float = SEARCH_SECONDS,
        masters: MasterKeys | None = None,
    ) -> None:
        self._clock = clock
        self._search_seconds = search_seconds
        self._wakers: set[Callable[[], None]] = set()
        vault = Vault(masters)
        self._writer = Writer((path, vault), clock, self._wake, search_seconds)
        self._readers = Readers(path, vault)
        self.sealing: Sealing = SqliteSealing(path, vault, self._readers)
        """For the encryption's own commands."""
        self.capacity: Mapping[str, float] = {"read": THREADS, "write": 1}
        self.copying: Copying = SqliteCopying(path, vault, clock)
        """For backups."""
        self.is_away = False
        """A file is never found to be gone; each question finds out for itself."""

    @classmethod
    def open(
        cls,
        path: Path | str,
        clock: Callable[[], datetime] = _now,
        search_seconds: float = SEARCH_SECONDS,
        masters: MasterKeys | None = None,
    ) -> "SqliteStore":
        """Open or create the file `path`; `clock` decides which records have expired; a search,
        count or history that would take longer than `search_seconds` is refused. With `masters`
        the content is sealed; UnusableKeys when they are not the store's, or are missing."""
        return cls(Path(path), clock, search_seconds, masters)

    async def get(self, key: Key, version: int | None = None) -> Stored | None:
        try:
            return self._readers.at_once(rows.get_light, key, version)
        except (rows.IsHeavy, sqlite3.OperationalError):
            return await self._readers.run(rows.get, key, version)

    async def get_many(self, keys: Sequence[Key]) -> dict[Key, Stored]:
        def read(connection: Connection) -> dict[Key, Stored]:
            found = ((key, rows.get(connection, key, None)) for key in keys)
            return {key: version for key, version in found if version is not None}

        return await self._readers.run(read)

    async def find(self, query: Query) -> Page:
        return await self._readers.run(self._limited, search_too_slow, rows.find, query)

    async def count(self, query: Query) -> int:
        return await self._readers.run(self._limited, search_too_slow, rows.count, query)

    async def explain(self, query: Query) -> Explanation:
        return await self._readers.run(self._limited, search_too_slow, explain, query)

    async def history(self, past: Past) -> HistoryPage:
        return await self._readers.run(self._limited, history_too_slow, history, past)

    async def current(
        self, after: Key | None, limit: int, since: datetime | None = None
    ) -> Sequence[Stored]:
        return await self._readers.run(rows.current, after, limit, since)

    async def transaction(self, unit: Unit[T]) -> T:
        return await self._writer.run(unit)

    async def note(self, entry: bytes) -> None:
        await self._writer.note(entry)

    async def rehearse(self, unit: Unit[T]) -> T:
        return await rehearsed(self, unit)

    async def changes(self, after: str | None) -> AsyncIterator[Change]:
        position = int(after) if after else 0
        loop = asyncio.get_running_loop()
        awake = asyncio.Event()

        def wake() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(awake.set)

        self._wakers.add(wake)
        try:
            while True:
                awake.clear()
                batch = await self._readers.run(rows.changes, position, _FEED_BATCH)
                for position, version in batch:
                    yield Change(str(position), version)
                if not batch:
                    # The poll sees what another process wrote to the same file.
                    await _wait(awake, _POLL_SECONDS)
        finally:
            self._wakers.discard(wake)

    def _limited(
        self,
        connection: Connection,
        refusal: Callable[[float], FhirError],
        read: Callable[[Connection, Asked], T],
        asked: Asked,
    ) -> T:
        with Allowance(self._search_seconds).spent_on(connection, refusal):
            return read(connection, asked)

    def _wake(self) -> None:
        for wake in tuple(self._wakers):
            wake()

    async def journal(self, limit: int, *, newest_first: bool = False) -> Sequence[JournalEntry]:
        return await self._readers.run(rows.journal, limit, newest_first)

    async def record(self, kind: str, id: str) -> Record | None:
        now = rows.milliseconds(self._clock())
        try:
            return self._readers.at_once(rows.record, kind, id, now)
        except sqlite3.OperationalError:
            return await self._readers.run(rows.record, kind, id, now)

    async def records(
        self, kind: str, prefix: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[Record]:
        upper = prefix + "\U0010ffff"
        now = rows.milliseconds(self._clock())
        return await self._readers.run(rows.records, kind, (prefix, upper, after), (limit, now))

    async def check(self) -> None:
        """Reads and durably writes; also forgets expired records."""

        async def purge(_: object) -> None:
            self._writer.purge_expired()

        await self._readers.run(lambda connection: connection.execute("SELECT 1").fetchone())
        await self._writer.run(purge)

    async def close(self) -> None:
        await asyncio.to_thread(self._writer.close)
        await asyncio.to_thread(self._readers.close)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
