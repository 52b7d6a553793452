"""The past: versions of one resource, of types, or of all, newest first."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

from pymongo.errors import ExecutionTimeout

from fhir_server.storage.budget import history_too_slow
from fhir_server.storage.mongo import records
from fhir_server.storage.mongo.chains import Reader, both
from fhir_server.storage.mongo.connect import Document
from fhir_server.storage.mongo.reading import whole
from fhir_server.storage.port import HistoryPage, Key, Past

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(milliseconds=1)
_BATCH = 200
"""How many versions are asked for at once where some of them are passed over."""


async def history(reader: Reader, past: Past) -> HistoryPage:
    """One page of versions, and the places after each; FhirError too-costly when it takes longer
    than a search may."""
    try:
        documents = await _documents(reader, past)
    except ExecutionTimeout:
        raise history_too_slow(reader.seconds) from None
    page = documents[: past.limit]
    places = tuple(_place(past, document) for document in page)
    more = places[-1] if len(documents) > past.limit and page else None
    return HistoryPage(tuple([await whole(reader, each) for each in page]), more, places)


async def _documents(reader: Reader, past: Past) -> list[Document]:
    """One version more than the page has room for."""
    wanted = past.limit + 1
    if past.at is None:
        return [each async for each in _candidates(reader, past, wanted)]
    found: list[Document] = []
    batch: list[Document] = []
    async for document in _candidates(reader, past):
        batch.append(document)
        if len(batch) == _BATCH:
            found += await _current_at(reader, batch, past.at[0])
            batch = []
        if len(found) >= wanted:
            return found[:wanted]
    found += await _current_at(reader, batch, past.at[0])
    return found[:wanted]


async def _candidates(reader: Reader, past: Past, limit: int = 0) -> AsyncIterator[Document]:
    """The versions in scope and time, newest first; those of before `at` may be superseded."""
    by_id, by_time = [("_id", -1)], [("updated", -1), ("_id", -1)]
    async for document in reader.collections.history.find(
        both(_scope(past), _times(past), _beyond(past)),
        records.CURRENT,
        session=reader.session,
        sort=by_time if past.key is None else by_id,
        limit=limit,
        max_time_ms=reader.milliseconds,
    ):
        yield document


async def _current_at(
    reader: Reader, documents: Sequence[Document], moment: datetime
) -> list[Document]:
    """Those that no later version had followed at the moment."""
    followers = [_follower(document) for document in documents if document["updated"] <= moment]
    past_over = {"_id": {"$in": followers}, "updated": {"$lte": _floor(moment)}}
    found = reader.collections.history.find(past_over, {"_id": 1}, session=reader.session)
    superseding = {document["_id"] async for document in found} if followers else set()
    return [each for each in documents if _follower(each) not in superseding]


def _follower(document: Document) -> str:
    type_, id_, version = document["_id"].split("/")
    return records.history_id(Key(type_, id_), int(version) + 1)


def _scope(past: Past) -> Document:
    if past.key is not None:
        return {"_id": {"$gt": f"{past.key}/", "$lt": f"{past.key}0"}}
    if past.types is None:
        return {}
    return {"type": past.types[0] if len(past.types) == 1 else {"$in": list(past.types)}}


def _times(past: Past) -> Document:
    bounds = {}
    if past.since is not None:
        bounds["$gte"] = _ceiling(past.since)
    if past.at is not None:
        bounds["$lt"] = _ceiling(past.at[1])
    return {"updated": bounds} if bounds else {}


def _place(past: Past, document: Document) -> str:
    if past.key is not None:
        return str(document["version"])
    return f"{(document['updated'] - _EPOCH) // _TICK}.{document['_id']}"


def _beyond(past: Past) -> Document:
    if past.before is None:
        return {}
    if past.key is not None:
        return {"_id": {"$lt": records.history_id(past.key, int(past.before))}}
    count, _, id_ = past.before.partition(".")
    moment = _EPOCH + int(count) * _TICK
    earlier, same = {"updated": {"$lt": moment}}, {"updated": moment, "_id": {"$lt": id_}}
    return {"updated": {"$lte": moment}, "$or": [earlier, same]}


def _floor(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _ceiling(moment: datetime) -> datetime:
    floor = _floor(moment)
    return floor if floor == moment else floor + _TICK
