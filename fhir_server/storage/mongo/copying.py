"""The database as a whole: history copied ahead, then what changed meanwhile and everything else in
one short transaction, which shows one moment; and an empty database filled.

A transaction ends after a minute at the latest, a copy of everything may take hours. History is
only ever added to, so it is read ahead without one, round after round, until a round was quick;
what committed late is met by looking back over the feed's OVERLAP each time.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from pymongo.errors import BulkWriteError, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference

from fhir_server.storage.mongo import records, sealed
from fhir_server.storage.mongo.chains import Reader
from fhir_server.storage.mongo.connect import MAJORITY, Collection, Document
from fhir_server.storage.mongo.feed import OVERLAP
from fhir_server.storage.mongo.reading import whole
from fhir_server.storage.port import Record, StoreUnavailable
from fhir_server.storage.ring import KIND
from fhir_server.storage.snapshot import Cut, Loading, Snapshot, Version

ENGINE = "mongodb"
QUICK_SECONDS = 5.0
"""A round of copying ahead that took less is the last one."""
_AT_ONCE = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(milliseconds=1)
_DUPLICATE_KEY = 11000
_ABOUT_KEYS: Document = {
    "_id": {"$gte": records.record_id(KIND, ""), "$lt": records.record_id(KIND, "\U0010ffff")}
}


class MongoCopying:
    """Copies one database."""

    engine = ENGINE

    def __init__(self, reader: Reader, clock: Callable[[], datetime]) -> None:
        self._reader = reader
        self._clock = clock

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        """One session, whose transaction begins when history has been read ahead."""
        async with self._reader.collections.client.start_session() as session:
            snapshot = MongoSnapshot(replace(self._reader, session=session), self._clock)
            try:
                with _told():
                    yield snapshot
            finally:
                if session.in_transaction:
                    with suppress(PyMongoError):
                        await session.abort_transaction()

    async def is_empty(self) -> bool:
        """Whether there is nothing in the database but its keys."""
        places = self._reader.collections
        for each, where in (
            (places.history, {}),
            (places.journal, {}),
            (places.records, {"$nor": [_ABOUT_KEYS]}),
        ):
            if await each.find_one(where, {"_id": 1}) is not None:
                return False
        return True

    @asynccontextmanager
    async def loading(self, engine: str) -> AsyncIterator[Loading]:
        """Writes document by document, each acknowledged by a majority."""
        with _told():
            yield MongoLoading(self._reader, keeps_places=engine == ENGINE)


class MongoSnapshot:
    """Reads ahead, then in the session's transaction."""

    def __init__(self, reader: Reader, clock: Callable[[], datetime]) -> None:
        self._reader = reader
        self._ahead = replace(reader, session=None)
        self._clock = clock
        self._cut: Cut | None = None
        self._recent: dict[str, int] = {}
        """The versions of the last round that another one may meet again."""

    def cut(self) -> Cut:
        """The moment at which the transaction began to read."""
        if self._cut is None:
            raise RuntimeError("the versions were not read to their end")
        return self._cut

    async def versions(self, after: int) -> AsyncIterator[Version]:
        """By the time they were written, round by round."""
        since = after
        while True:
            began, started = _milliseconds(self._clock()), time.monotonic()
            async for each in self._round(self._ahead, since):
                yield each
            since = max(since, began)
            if time.monotonic() - started < QUICK_SECONDS:
                break
        await self._begin()
        async for each in self._round(self._reader, since):
            yield each
        newest = await self._reader.collections.history.find_one(
            {}, {"written": 1}, sort=[("written", -1), ("_id", -1)], session=self._reader.session
        )
        last = max(after, _milliseconds(newest["written"])) if newest else after
        moment = self._clock()
        self._cut = Cut(last, moment, _milliseconds(moment - OVERLAP))

    async def count(self, below: int) -> int:
        """Counted in the transaction."""
        where = {"written": {"$lt": _moment(below)}}
        return await self._reader.collections.history.count_documents(
            where, session=self._reader.session
        )

    async def records(self, beyond: Mapping[str, str]) -> AsyncIterator[Record]:
        """By kind and id."""
        now = self.cut().moment
        where: Document = {
            "$or": [{"expires": None}, {"expires": {"$gt": now}}],
            "$nor": [_ABOUT_KEYS, *(_until(kind, id_) for kind, id_ in beyond.items())],
        }
        async for document in self._reader.collections.records.find(
            where, sort=[("_id", 1)], session=self._reader.session
        ):
            record = await sealed.value_out(self._reader, document, now)
            if record is not None:
                yield record

    async def journal(self) -> AsyncIterator[bytes]:
        """By the order of their ids."""
        async for document in self._reader.collections.journal.find(
            {}, sort=[("_id", 1)], session=self._reader.session
        ):
            yield (await sealed.entry_out(self._reader, document)).entry

    async def _begin(self) -> None:
        session = self._reader.session
        if session is None:
            raise RuntimeError("a snapshot has a session")
        await session.start_transaction(
            read_concern=ReadConcern("snapshot"),
            write_concern=MAJORITY,
            read_preference=ReadPreference.PRIMARY,
        )

    async def _round(self, reader: Reader, since: int) -> AsyncIterator[Version]:
        start = max(0, since - OVERLAP // _TICK)
        met, self._recent = self._recent, {}
        keep = _milliseconds(self._clock() - OVERLAP - OVERLAP)
        cursor = reader.collections.history.find(
            {"written": {"$gte": _moment(start)}},
            sort=[("written", 1), ("_id", 1)],
            batch_size=_AT_ONCE,
            session=reader.session,
        )
        async with cursor:
            async for document in cursor:
                place = _milliseconds(document["written"])
                if place >= keep:
                    self._recent[document["_id"]] = place
                if document["_id"] not in met:
                    yield Version(place, await whole(reader, document))


class MongoLoading:
    """Writes into an empty database."""

    def __init__(self, reader: Reader, *, keeps_places: bool) -> None:
        self._reader = reader
        self._places = reader.collections
        self._keeps_places = keeps_places

    async def versions(self, versions: Sequence[Version]) -> None:
        """Add versions as written at their place, or when they were last updated where the place
        is no time."""
        pasts: list[Document] = []
        pieces: list[Document] = []
        for each in versions:
            content = sealed.body_in(self._reader.vault, each.stored)
            written = _moment(each.place) if self._keeps_places else each.stored.updated
            pasts.append(records.past(content, written))
            pieces += records.pieces(content)
        await _insert(self._places.bodies, pieces)
        await _insert(self._places.history, pasts)

    async def records(self, records: Sequence[Record]) -> None:
        """Add records."""
        vault = self._reader.vault
        documents = [sealed.value_in(vault, each, each.revision) for each in records]
        await _insert(self._places.records, documents)

    async def journal(self, entries: Sequence[bytes]) -> None:
        """Add entries, whose ids go up in their order."""
        await _insert(
            self._places.journal, [sealed.entry_in(self._reader.vault, each) for each in entries]
        )

    async def finish(self, cut: Cut) -> str:
        """The position is the time of the cut."""
        waiting: list[Document] = []
        last: Document | None = None
        async for document in self._places.history.find({}, sort=[("_id", 1)]):
            if last is not None and _key(last) != _key(document):
                waiting.append(_current(last))
            last = document
            if len(waiting) == _AT_ONCE:
                await _insert(self._places.resources, waiting)
                waiting = []
        await _insert(self._places.resources, [*waiting, *([_current(last)] if last else [])])
        return f"{cut.place if self._keeps_places else _milliseconds(cut.moment)}|"


async def _insert(collection: Collection, documents: Sequence[Document]) -> None:
    """Insert those that are not there yet."""
    for start in range(0, len(documents), _AT_ONCE):
        try:
            await collection.insert_many(documents[start : start + _AT_ONCE], ordered=False)
        except BulkWriteError as failure:
            errors = failure.details.get("writeErrors", ())
            if {each.get("code") for each in errors} != {_DUPLICATE_KEY}:
                raise
        await asyncio.sleep(0)


@contextmanager
def _told() -> Iterator[None]:
    """StoreUnavailable for what the driver raises: the work is done again from its beginning."""
    try:
        yield
    except PyMongoError as failure:
        raise StoreUnavailable(type(failure).__name__) from failure


def _key(document: Document) -> str:
    return str(document["_id"].rpartition("/")[0])


def _current(document: Document) -> Document:
    """The document of `resources` that goes with the last one of history; found by nothing yet."""
    left = {name: each for name, each in document.items() if name not in ("_id", "written", "type")}
    found_by = {"type": document["type"], "terms": [], "tuples": [], "sort": {}}
    return {"_id": _key(document), **left, **({} if left["method"] == "DELETE" else found_by)}


def _until(kind: str, id_: str) -> Document:
    return {"_id": {"$gte": records.record_id(kind, ""), "$lte": records.record_id(kind, id_)}}


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _TICK


def _moment(milliseconds: int) -> datetime:
    return _EPOCH + milliseconds * _TICK
