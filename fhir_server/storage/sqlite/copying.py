"""The file as a whole: read in one transaction that shows one moment, and filled anew.

A reading transaction of a file with a write-ahead log is a snapshot: writers go on, and nothing is
copied twice. The log grows meanwhile by what is written, because it can't be folded into the file
before the reader has ended.
"""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fhir_server.storage.port import Record, T
from fhir_server.storage.ring import KIND
from fhir_server.storage.snapshot import (
    BYTES_AT_ONCE,
    ROWS_AT_ONCE,
    Cut,
    Loading,
    Snapshot,
    Version,
)
from fhir_server.storage.sqlite import rows
from fhir_server.storage.sqlite.connect import Connection, connect
from fhir_server.storage.sqlite.sealed import (
    body_in,
    content_out,
    entries_in,
    value_in,
    value_out,
)
from fhir_server.storage.sqlite.trouble import told
from fhir_server.storage.vault import JOURNAL, Vault

ENGINE = "sqlite"
_CURRENT = (
    "INSERT INTO resource (type, id, seq, version, is_deleted, sort, tuples)"
    " SELECT h.type, h.id, h.seq, h.version, h.method = 'DELETE', '{}', '{}' FROM history h"
    " WHERE h.version = (SELECT max(version) FROM history o WHERE o.type = h.type AND o.id = h.id)"
    " ORDER BY h.seq"
)


class SqliteCopying:
    """Copies an open file."""

    engine = ENGINE

    def __init__(self, path: Path, vault: Vault, clock: Callable[[], datetime]) -> None:
        self._path = path
        self._vault = vault
        self._clock = clock

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        """One reading transaction on a connection of its own; StoreUnavailable for a file that
        can't be read."""
        connection = await asyncio.to_thread(connect, self._path, self._vault, is_writer=False)
        with closing(connection):
            try:
                await asyncio.to_thread(connection.execute, "BEGIN")
                cut = await asyncio.to_thread(_cut, connection, self._clock)
                yield SqliteSnapshot(connection, cut)
            except sqlite3.Error as failure:
                raise told(failure) from failure

    async def is_empty(self) -> bool:
        """Whether there is nothing in the file but its keys."""

        def look() -> bool:
            with closing(connect(self._path, self._vault, is_writer=False)) as connection:
                found = connection.execute(
                    "SELECT EXISTS (SELECT 1 FROM history) OR EXISTS (SELECT 1 FROM journal)"
                    " OR EXISTS (SELECT 1 FROM record WHERE kind <> ?)",
                    (KIND,),
                )
                return not found.fetchone()[0]

        return await asyncio.to_thread(look)

    @asynccontextmanager
    async def loading(self, engine: str) -> AsyncIterator[Loading]:
        """A writing connection of its own; StoreUnavailable for a full disk."""
        connection = await asyncio.to_thread(connect, self._path, self._vault, is_writer=True)
        with closing(connection):
            yield SqliteLoading(connection, keeps_places=engine == ENGINE)


class SqliteSnapshot:
    """Reads in the transaction that the connection is in."""

    def __init__(self, connection: Connection, cut: Cut) -> None:
        self._connection = connection
        self._cut = cut

    def cut(self) -> Cut:
        """The moment at which the transaction began."""
        return self._cut

    async def versions(self, after: int) -> AsyncIterator[Version]:
        """By the order of their commits."""
        cursor = self._execute(
            f"SELECT h.seq, {rows.STORED} FROM history h WHERE h.seq > ? ORDER BY h.seq", (after,)
        )

        def version(row: tuple[Any, ...]) -> tuple[Version, int]:
            return Version(row[0], rows.stored(self._connection, row[1:])), len(row[5])

        async for each in _read(cursor, version):
            yield each

    async def count(self, below: int) -> int:
        """Counted in the transaction."""
        text = "SELECT count(*) FROM history WHERE seq < ?"
        found = await asyncio.to_thread(self._execute, text, (below,))
        return int(found.fetchone()[0])

    async def records(self, beyond: Mapping[str, str]) -> AsyncIterator[Record]:
        """By kind and id."""
        cursor = self._execute(
            "SELECT r.kind, r.id, r.value, r.revision, r.expires FROM record r"
            " LEFT JOIN json_each(?) b ON b.key = r.kind"
            " WHERE r.kind <> ? AND (b.value IS NULL OR r.id > b.value)"
            " AND (r.expires IS NULL OR r.expires > ?) ORDER BY r.kind, r.id",
            (json.dumps(dict(beyond)), KIND, rows.milliseconds(self._cut.moment)),
        )

        def record(row: tuple[Any, ...]) -> tuple[Record, int]:
            kind, id_, value, revision, expires = row
            ends = rows.moment(expires) if expires else None
            opened = value_out(self._connection, kind, id_, value)
            return Record(kind, id_, opened, revision, ends), len(value)

        async for each in _read(cursor, record):
            yield each

    async def journal(self) -> AsyncIterator[bytes]:
        """By the order in which they came."""
        cursor = self._execute("SELECT entry FROM journal ORDER BY seq", ())

        def entry(row: tuple[Any, ...]) -> tuple[bytes, int]:
            return content_out(self._connection, JOURNAL, row[0]), len(row[0])

        async for each in _read(cursor, entry):
            yield each

    def _execute(self, text: str, arguments: Sequence[Any]) -> sqlite3.Cursor:
        return self._connection.execute(text, arguments)


async def _read(
    cursor: sqlite3.Cursor, made: Callable[[tuple[Any, ...]], tuple[T, int]]
) -> AsyncIterator[T]:
    """What is made of the rows, read by a thread so much at a time."""

    def batch() -> list[T]:
        found: list[T] = []
        size = 0
        for row in cursor:
            each, length = made(row)
            found.append(each)
            size += length
            if size >= BYTES_AT_ONCE or len(found) == ROWS_AT_ONCE:
                break
        return found

    while found := await asyncio.to_thread(batch):
        for each in found:
            yield each


def _cut(connection: Connection, clock: Callable[[], datetime]) -> Cut:
    (last,) = connection.execute(
        "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'history'), 0)"
    ).fetchone()
    # Units commit one after the other: nothing can still arrive below.
    return Cut(last, clock().astimezone(UTC), last + 1)


class SqliteLoading:
    """Writes into the file by itself; no other process may use it."""

    def __init__(self, connection: Connection, *, keeps_places: bool) -> None:
        self._connection = connection
        self._keeps_places = keeps_places

    async def versions(self, versions: Sequence[Version]) -> None:
        """Add versions, with their own numbers where these are of a file."""
        await self._insert(
            "INSERT OR IGNORE INTO history (seq, type, id, version, updated, method, body)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    each.place if self._keeps_places else None,
                    *each.stored.key,
                    each.stored.version,
                    rows.milliseconds(each.stored.updated),
                    each.stored.method,
                    body_in(self._connection, each.stored),
                )
                for each in versions
            ),
        )

    async def records(self, records: Sequence[Record]) -> None:
        """Add records, or put them in the place of older ones."""
        await self._insert(
            "INSERT OR REPLACE INTO record (kind, id, value, revision, expires)"
            " VALUES (?, ?, ?, ?, ?)",
            (
                (
                    each.kind,
                    each.id,
                    value_in(self._connection, each),
                    each.revision,
                    rows.milliseconds(each.expires) if each.expires else None,
                )
                for each in records
            ),
        )

    async def journal(self, entries: Sequence[bytes]) -> None:
        """Add entries in their order."""
        sealed = entries_in(self._connection, entries)
        await self._insert("INSERT INTO journal (entry) VALUES (?)", ((entry,) for entry in sealed))

    async def finish(self, cut: Cut) -> str:
        """The position is the number of the last commit. Those to come get higher ones than any
        that the other file has given."""

        def work() -> str:
            (last,) = self._connection.execute("SELECT max(seq) FROM history").fetchone()
            last = max(last or 0, cut.place if self._keeps_places else 0)
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute(_CURRENT)
            self._connection.execute("DELETE FROM sqlite_sequence WHERE name = 'history'")
            self._connection.execute("INSERT INTO sqlite_sequence VALUES ('history', ?)", (last,))
            self._connection.execute("COMMIT")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return str(cut.place if self._keeps_places else last)

        return await self._run(work)

    async def _insert(self, text: str, values: Iterator[tuple[Any, ...]]) -> None:
        def work() -> None:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(text, values)
            self._connection.execute("COMMIT")

        await self._run(work)

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(work)
        except sqlite3.Error as failure:
            raise told(failure) from failure
