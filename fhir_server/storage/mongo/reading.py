"""Reads, alike for the store and for a transaction's session."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from pymongo.errors import ExecutionTimeout

from fhir_server.search.expression import Query
from fhir_server.storage.budget import search_too_slow
from fhir_server.storage.mongo import records
from fhir_server.storage.mongo.chains import Reader, both, condition
from fhir_server.storage.mongo.connect import Collection, Document
from fhir_server.storage.mongo.order import Phase, fields, phases, place
from fhir_server.storage.mongo.sealed import opened
from fhir_server.storage.port import Key, Page, Stored
from fhir_server.storage.vault import Unreadable

_IDS_AT_ONCE = 1000


async def get(reader: Reader, key: Key, version: int | None) -> Stored | None:
    """The current version, or the given one."""
    if version is None:
        place_of, id_ = reader.collections.resources, str(key)
    else:
        place_of, id_ = reader.collections.history, records.history_id(key, version)
    document = await place_of.find_one({"_id": id_}, records.CURRENT, session=reader.session)
    return None if document is None else await whole(reader, document)


async def ask(reader: Reader) -> None:
    """The least that can be asked of what nearly every request reads."""
    await reader.collections.resources.find_one({"_id": ""}, {"_id": True})


async def get_many(reader: Reader, keys: Sequence[Key]) -> dict[Key, Stored]:
    """The current versions of those that exist."""
    ids = [str(key) for key in dict.fromkeys(keys)]
    found: dict[Key, Stored] = {}
    for start in range(0, len(ids), _IDS_AT_ONCE):
        wanted = {"_id": {"$in": ids[start : start + _IDS_AT_ONCE]}}
        async for document in reader.collections.resources.find(
            wanted, records.CURRENT, session=reader.session
        ):
            stored = await whole(reader, document)
            found[stored.key] = stored
    return found


async def current(
    reader: Reader, after: Key | None, limit: int, since: datetime | None
) -> list[Stored]:
    """Current versions that are not deleted, by the text `Type/id`."""
    where: Document = {"_id": {"$gt": str(after) if after else ""}, "type": {"$gt": ""}}
    if since is not None:
        where["updated"] = {"$gte": since}
    cursor = reader.collections.resources.find(
        where, records.CURRENT, sort=[("_id", 1)], limit=limit
    )
    return [await whole(reader, document) async for document in cursor]


async def find(reader: Reader, query: Query) -> Page:
    """One page of matches; FhirError too-costly when it takes longer than a search may."""
    try:
        where = await condition(reader, query.type, query.where)
        documents = await _ordered(reader, query, where)
    except ExecutionTimeout:
        raise search_too_slow(reader.seconds) from None
    page = documents[: query.limit]
    places = tuple(place(query, document) for document in page)
    more = places[-1] if len(documents) > query.limit and page else None
    return Page(tuple([await whole(reader, document) for document in page]), more, places)


async def _ordered(reader: Reader, query: Query, where: Document) -> list[Document]:
    """Matches in order, one more than the page has room for."""
    wanted = query.limit + 1
    projection = {**records.CURRENT, **dict.fromkeys(fields(query), 1)}
    found: list[Document] = []
    for phase in phases(query):
        room = wanted - len(found)
        if room > 0:
            wholly = both(where, phase.where)
            found.extend([each async for each in _part(reader, wholly, phase, room, projection)])
    return found


async def _part(
    reader: Reader, where: Document, phase: Phase, room: int, projection: dict[str, Any]
) -> AsyncIterator[Document]:
    resources = reader.collections.resources
    if phase.computed:
        cursor = await resources.aggregate(
            [
                {"$match": where},
                {"$set": phase.computed},
                {"$sort": phase.order},
                {"$limit": room},
                {"$project": projection},
            ],
            session=reader.session,
            maxTimeMS=reader.milliseconds,
        )
        async for document in cursor:
            yield document
        return
    async for document in resources.find(
        where,
        projection,
        session=reader.session,
        sort=list(phase.order.items()),
        limit=room,
        max_time_ms=reader.milliseconds,
    ):
        yield document


async def count(reader: Reader, query: Query) -> int:
    """The exact number of matches."""
    try:
        where = await condition(reader, query.type, query.where)
        return await reader.collections.resources.count_documents(
            where, session=reader.session, maxTimeMS=reader.milliseconds
        )
    except ExecutionTimeout:
        raise search_too_slow(reader.seconds) from None


async def whole(reader: Reader, document: Document) -> Stored:
    """The version that a document holds, its body put together when it lies in pieces."""
    count = document.get("pieces")
    if not count:
        return await opened(reader, records.stored(document))
    type_, id_, *_ = document["_id"].split("/")
    start = records.history_id(Key(type_, id_), document["version"])
    try:
        body = await _body(reader.collections.bodies, reader, start, count)
        return await opened(reader, records.stored(document, body))
    except (LookupError, Unreadable):
        # The pieces may have been sealed anew since the document was read.
        again = await reader.collections.history.find_one({"_id": start}, session=reader.session)
        if again is None or again.get("sealedBy") == document.get("sealedBy"):
            raise
        return await whole(reader, again)


async def _body(bodies: Collection, reader: Reader, start: str, count: int) -> bytes:
    cursor = bodies.find(
        {"_id": {"$gt": f"{start}/", "$lt": f"{start}0"}},
        sort=[("_id", 1)],
        session=reader.session,
    )
    pieces = [bytes(document["body"]) async for document in cursor]
    if len(pieces) != count:
        raise LookupError(f"{start} has {len(pieces)} of {count} pieces of its body")
    return b"".join(pieces)
