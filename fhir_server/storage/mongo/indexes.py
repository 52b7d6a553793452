"""Every index of the MongoDB store, in one table.

A resource has one array of terms, so one multikey index answers every kind of search; the
others serve sort orders, the feed and expiry. MongoDB's own rules (one array field in a
compound index, 64 indexes a collection) are checked by a test, because not every
wire-compatible engine checks them.
"""

from dataclasses import dataclass

from pymongo import ASCENDING, DESCENDING
from pymongo.errors import OperationFailure

from fhir_server.storage.mongo.connect import NAMES, Collections

_NAMESPACE_EXISTS = 48

EXPIRED_RECORD_SECONDS = 3600
"""An expired record is absent by comparison; only then, much later, is it swept away."""

RESERVATION_SECONDS = 3600
"""A reservation forces conflicts among transactions, none of which lives longer than a minute."""


@dataclass(frozen=True, slots=True)
class Index:
    """One index: the collection, its keys in order, and for a TTL index the seconds that a
    document outlives its date."""

    collection: str
    keys: tuple[tuple[str, int], ...]
    expire_seconds: int | None = None


INDEXES = (
    Index("resources", (("terms", ASCENDING),)),
    Index("resources", (("type", ASCENDING), ("_id", ASCENDING))),
    Index(
        "resources",
        (("type", ASCENDING), ("sort._lastUpdated.low", ASCENDING), ("_id", ASCENDING)),
    ),
    Index(
        "resources",
        (("type", ASCENDING), ("sort._lastUpdated.high", DESCENDING), ("_id", ASCENDING)),
    ),
    Index("resources", (("type", ASCENDING), ("sort.date.low", ASCENDING), ("_id", ASCENDING))),
    Index("resources", (("type", ASCENDING), ("sort.date.high", DESCENDING), ("_id", ASCENDING))),
    Index("history", (("written", ASCENDING), ("_id", ASCENDING))),
    Index("history", (("updated", ASCENDING), ("_id", ASCENDING))),
    Index("history", (("type", ASCENDING), ("updated", ASCENDING), ("_id", ASCENDING))),
    Index("records", (("expires", ASCENDING),), EXPIRED_RECORD_SECONDS),
    Index("reservations", (("at", ASCENDING),), RESERVATION_SECONDS),
)


async def create(collections: Collections) -> None:
    """Create the collections and indexes that are missing."""
    database = collections.resources.database
    present = set(await database.list_collection_names())
    for name in (each for each in NAMES if each not in present):
        try:
            await database.create_collection(name, check_exists=False)
        except OperationFailure as failure:
            if failure.code != _NAMESPACE_EXISTS:
                raise
    for index in INDEXES:
        collection, keys = collections.named(index.collection), list(index.keys)
        if index.expire_seconds is None:
            await collection.create_index(keys)
        else:
            await collection.create_index(keys, expireAfterSeconds=index.expire_seconds)
