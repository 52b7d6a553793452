"""Sealing anew what lies in the database, and counting it by the keys that seal it."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from bson import ObjectId
from pymongo import ReplaceOne, UpdateOne

from fhir_server.search.terms import SEPARATOR
from fhir_server.storage.mongo import records
from fhir_server.storage.mongo.chains import Reader, both
from fhir_server.storage.mongo.connect import Document
from fhir_server.storage.mongo.reading import whole
from fhir_server.storage.mongo.sealed import body_in, content_out
from fhir_server.storage.ring import KIND
from fhir_server.storage.rotation import BYTES_AT_ONCE, Resealed
from fhir_server.storage.vault import JOURNAL, Unreadable, Vault, record_place

Write = ReplaceOne[Document] | UpdateOne
_DOCUMENTS_AT_ONCE = 20
_CONTENT = {"history": "body", "records": "value", "journal": "entry"}
_ABOUT_KEYS = {"_id": {"$gte": f"{KIND}{SEPARATOR}", "$lt": f"{KIND}{SEPARATOR}\U0010ffff"}}
_COUNTED: Mapping[str, Document] = {
    "history": {"$nor": [{"method": "DELETE"}]},
    "records": {"$nor": [_ABOUT_KEYS]},
    "journal": {},
}


class MongoSealing:
    """The encryption of an open database."""

    def __init__(self, reader: Reader) -> None:
        self.vault: Vault = reader.vault
        self._collections = reader.collections

    async def census(self) -> Mapping[int, int]:
        """How much content lies under each data key."""
        found: Counter[int] = Counter()
        for name, counted in _COUNTED.items():
            groups = await self._collections.named(name).aggregate(
                [{"$match": counted}, {"$group": {"_id": "$sealedBy", "count": {"$sum": 1}}}]
            )
            async for each in groups:
                found[each["_id"] or 0] += each["count"]
        return dict(found)

    async def sweep(self) -> None:
        """Nothing: the engine writes over what it freed."""


class Anew(NamedTuple):
    """What one batch writes, each with the name of its collection."""

    writes: list[tuple[str, Write]]
    resealed: Resealed


async def reseal(reader: Reader, place: str, after: str, limit: int) -> Anew:
    """What seals under the active key what lies at the place beyond `after`: `limit` documents of
    it, or fewer where they are long. It is read in the reader's session."""
    batch, has_more = await _batch(reader, place, after, limit)
    writes: list[tuple[str, Write]] = []
    count, unreadable = 0, []
    for document in batch:
        if document.get("sealedBy") == reader.vault.active or document.get("method") == "DELETE":
            continue
        try:
            writes += await _ANEW[place](reader, document)
        except Unreadable as problem:
            unreadable.append(str(problem))
            continue
        count += 1
    last = str(batch[-1]["_id"]) if has_more else None
    return Anew(writes, Resealed(count, last, tuple(unreadable)))


async def _batch(reader: Reader, place: str, after: str, limit: int) -> tuple[list[Document], bool]:
    beyond: Document = {"_id": {"$gt": _position(place, after)}} if after else {}
    cursor = reader.collections.named(place).find(
        both(_COUNTED[place], beyond),
        sort=[("_id", 1)],
        limit=limit + 1,
        batch_size=_DOCUMENTS_AT_ONCE,
        session=reader.session,
    )
    batch: list[Document] = []
    size = 0
    async with cursor:
        async for document in cursor:
            if len(batch) == limit or size > BYTES_AT_ONCE:
                return batch, True
            batch.append(document)
            size += len(document.get(_CONTENT[place], b""))
    return batch, False


def _position(place: str, after: str) -> str | ObjectId:
    return ObjectId(after) if place == "journal" else after


async def _history(reader: Reader, document: Document) -> list[tuple[str, Write]]:
    """The version in history, the same where it is the current one, and a long body's pieces."""
    version = await whole(reader, document)
    sealed = body_in(reader.vault, version)
    past, key = records.past(sealed, document["written"]), str(version.key)
    fields = records.body_fields(sealed.body)
    unset = {"$unset": {"body": ""}} if "pieces" in fields else {}
    current = UpdateOne({"_id": key, "version": version.version}, {"$set": fields, **unset})
    pieces: list[tuple[str, Write]] = [
        ("bodies", ReplaceOne({"_id": piece["_id"]}, piece, upsert=True))
        for piece in records.pieces(sealed)
    ]
    return [
        ("history", ReplaceOne({"_id": past["_id"]}, past)),
        ("resources", current),
        *pieces,
    ]


async def _records(reader: Reader, document: Document) -> list[tuple[str, Write]]:
    kind, _, id_ = document["_id"].partition(SEPARATOR)
    place, value = record_place(kind, id_), document["value"]
    content = value.encode() if isinstance(value, str) else bytes(value)
    sealed = reader.vault.seal(place, await content_out(reader, place, content))
    same = {"_id": document["_id"], "revision": document["revision"]}
    fields = {"value": sealed, **records.sealed_by(sealed)}
    return [("records", UpdateOne(same, {"$set": fields}))]


async def _journal(reader: Reader, document: Document) -> list[tuple[str, Write]]:
    entry = await content_out(reader, JOURNAL, bytes(document["entry"]))
    sealed = reader.vault.seal(JOURNAL, entry)
    fields = {"entry": sealed, **records.sealed_by(sealed)}
    return [("journal", UpdateOne({"_id": document["_id"]}, {"$set": fields}))]


_ANEW: Mapping[str, Callable[[Reader, Document], Awaitable[list[tuple[str, Write]]]]] = {
    "history": _history,
    "records": _records,
    "journal": _journal,
}
