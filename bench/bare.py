"""The floor of a request: a bare ASGI application with one row and one durable audit record.

    python -m bench.bare --port PORT --store FILE_OR_URI

GET /ID reads a body, POST / writes one; either is answered after its audit record is durable.
"""

import argparse
import asyncio
import sqlite3
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, Protocol

import uvicorn
from pymongo import AsyncMongoClient

from bench.floors import GroupCommits, bodies_of, sqlite_file

Message = MutableMapping[str, Any]
ENTRY = b"x" * 400
"""As long as an audit record."""
DATABASE = "medsage_bench_floor"


class Rows(Protocol):
    """The store below the floor."""

    async def read(self, id_: str) -> bytes:
        """One body, once an audit record is durable."""

    async def write(self, body: bytes) -> None:
        """Returns once the body and an audit record are durable."""


class SqliteRows:
    """Bodies and audit records in one file."""

    def __init__(self, path: Path) -> None:
        self._writer = GroupCommits(sqlite_file(path))
        self._reader = sqlite3.connect(path)

    async def read(self, id_: str) -> bytes:
        row = self._reader.execute("SELECT body FROM body WHERE id = ?", (id_,)).fetchone()
        await self._writer.write("INSERT INTO journal (entry) VALUES (?)", (ENTRY,))
        return bytes(row[0])

    async def write(self, body: bytes) -> None:
        own = self._writer.write("INSERT INTO body VALUES (?, ?)", (str(uuid.uuid4()), body))
        entry = self._writer.write("INSERT INTO journal (entry) VALUES (?)", (ENTRY,))
        await asyncio.gather(own, entry)


class MongoRows:
    """Bodies and audit records in one database."""

    def __init__(self, uri: str) -> None:
        self._client = AsyncMongoClient[Any](uri)
        self._bodies = bodies_of(self._client, DATABASE)
        self._journal = self._client[DATABASE].get_collection(
            "journal", write_concern=self._bodies.write_concern
        )

    async def read(self, id_: str) -> bytes:
        found = await self._bodies.find_one({"_id": id_})
        await self._journal.insert_one({"entry": ENTRY})
        assert found is not None
        return bytes(found["body"])

    async def write(self, body: bytes) -> None:
        await self._bodies.insert_one({"_id": str(uuid.uuid4()), "body": body})
        await self._journal.insert_one({"entry": ENTRY})


class Bare:
    """The application; its store is opened on the loop that serves it."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._rows: Rows | None = None

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        if self._rows is None:
            is_mongodb = self._address.startswith("mongodb")
            self._rows = MongoRows(self._address) if is_mongodb else SqliteRows(Path(self._address))
        if scope["method"] == "GET":
            id_ = scope["path"].removeprefix("/")
            body = await self._rows.read(id_) if id_ else b"ready"
        else:
            parts, more = [], True
            while more:
                message = await receive()
                parts.append(message.get("body", b""))
                more = message.get("more_body", False)
            body = b"".join(parts)
            await self._rows.write(body)
        length = (b"content-length", str(len(body)).encode())
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": body})


def main() -> None:
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--store", required=True)
    asked = parser.parse_args()
    uvicorn.run(
        Bare(asked.store), port=asked.port, lifespan="off", log_config=None, access_log=False
    )


if __name__ == "__main__":
    main()
