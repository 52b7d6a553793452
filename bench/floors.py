"""Floors: the same rows written raw to the store, in the same run and as durably.

What a FHIR server does beyond its floor is parsing, validation, indexing, auditing and HTTP.
"""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from pymongo import AsyncMongoClient, WriteConcern
from pymongo.asynchronous.collection import AsyncCollection

Rows = Sequence[bytes]
"""The bodies that are written in one durable commit."""


def sqlite_file(path: Path) -> sqlite3.Connection:
    """An empty table of bodies and one of audit records, as durable as the embedded store."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE IF NOT EXISTS body (id TEXT PRIMARY KEY, body BLOB NOT NULL)")
    connection.execute("CREATE TABLE IF NOT EXISTS journal (seq INTEGER PRIMARY KEY, entry BLOB)")
    return connection


def sqlite_import(path: Path, commits: Sequence[Rows], at_once: int) -> float:
    """Seconds to write the rows; what comes at once shares a commit, as in the store."""
    connection, numbers = sqlite_file(path), count()
    began = time.perf_counter()
    for start in range(0, len(commits), at_once):
        connection.execute("BEGIN IMMEDIATE")
        for rows in commits[start : start + at_once]:
            connection.executemany(
                "INSERT INTO body VALUES (?, ?)", [(str(next(numbers)), row) for row in rows]
            )
        connection.execute("COMMIT")
    seconds = time.perf_counter() - began
    connection.close()
    return seconds


def bodies_of(client: AsyncMongoClient[Any], database: str) -> AsyncCollection[Any]:
    """The collection of bodies, written with majority and journal."""
    concern = WriteConcern(w="majority", j=True)
    return client[database].get_collection("body", write_concern=concern)


async def mongodb_import(uri: str, database: str, commits: Sequence[Rows], at_once: int) -> float:
    """Seconds to write the rows with insert_many, so many bundles at once."""
    async with AsyncMongoClient[Any](uri) as client:
        bodies, numbers, waiting = bodies_of(client, database), count(), iter(commits)

        async def write(waiting: Iterator[Rows]) -> None:
            for rows in waiting:
                await bodies.insert_many([{"_id": str(next(numbers)), "body": row} for row in rows])

        began = time.perf_counter()
        await asyncio.gather(*(write(waiting) for _ in range(at_once)))
        return time.perf_counter() - began


class GroupCommits:
    """A SQLite writer that puts what waits into one durable commit: the floor of a write."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._waiting: list[tuple[str, tuple[object, ...], asyncio.Future[None]]] = []
        self._arrived = threading.Condition()
        threading.Thread(target=self._run, daemon=True).start()

    async def write(self, statement: str, arguments: tuple[object, ...]) -> None:
        """Returns once it is durable."""
        done = asyncio.get_running_loop().create_future()
        with self._arrived:
            self._waiting.append((statement, arguments, done))
            self._arrived.notify()
        await done

    def _run(self) -> None:
        while True:
            with self._arrived:
                while not self._waiting:
                    self._arrived.wait()
                group, self._waiting = self._waiting, []
            self._connection.execute("BEGIN IMMEDIATE")
            for statement, arguments, _ in group:
                self._connection.execute(statement, arguments)
            self._connection.execute("COMMIT")
            group[0][2].get_loop().call_soon_threadsafe(_finish, [done for *_, done in group])


def _finish(group: Sequence[asyncio.Future[None]]) -> None:
    for done in group:
        if not done.done():
            done.set_result(None)
