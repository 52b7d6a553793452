"""What lies in a store, as somebody sees and changes it who has the disk and not the keys."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import bson
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.storage.mongo.connect import NAMES
from tests.stores import SQLITE, Place


async def everything(place: Place) -> bytes:
    """All of it in one piece; of a file also what lies in its free pages and beside it."""
    if place.kind == SQLITE:
        folder = Path(place.address[0]).parent
        return b"".join(each.read_bytes() for each in sorted(folder.glob("store.sqlite*")))
    async with _database(place) as database:
        documents = [await database[name].find({}).to_list() for name in NAMES]
    return b"".join(bson.encode(each) for many in documents for each in many)


async def body_at(place: Place, text: str, version: int = 1) -> bytes:
    """The body of `Type/id` as it lies there."""
    if place.kind == SQLITE:
        with sqlite3.connect(place.address[0]) as connection:
            ((body,),) = connection.execute(
                "SELECT body FROM history WHERE type || '/' || id = ? AND version = ?",
                (text, version),
            )
        return bytes(body)
    async with _database(place) as database:
        document = await database["history"].find_one({"_id": f"{text}/{version:010d}"})
    assert document is not None
    return bytes(document["body"])


async def put_body(place: Place, text: str, body: bytes, version: int = 1) -> None:
    """Put another body where that of `Type/id` lies."""
    if place.kind == SQLITE:
        with sqlite3.connect(place.address[0]) as connection:
            connection.execute(
                "UPDATE history SET body = ? WHERE type || '/' || id = ? AND version = ?",
                (body, text, version),
            )
        return
    async with _database(place) as database:
        changed = {"$set": {"body": body}}
        await database["history"].update_one({"_id": f"{text}/{version:010d}"}, changed)
        await database["resources"].update_one({"_id": text, "version": version}, changed)


@asynccontextmanager
async def _database(place: Place) -> AsyncIterator[AsyncDatabase[dict[str, Any]]]:
    async with AsyncMongoClient[dict[str, Any]](place.address[0]) as client:
        yield client[place.address[1]]
