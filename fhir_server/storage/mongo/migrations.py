"""The schema of the MongoDB store, from each version to the next.

The document `store` of the collection `schema` holds the version, the oldest schema whose programs
may still use the store, and how much of the step under way is done. Programs from before there was
such a document wrote what is called version 1 here. A batch changes only what still is as it was,
so several processes may do the same one: it is done, and counted, once.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog
from pymongo import UpdateOne
from pymongo.errors import DuplicateKeyError

from fhir_server.storage.mongo import indexes
from fhir_server.storage.mongo.connect import Collection, Collections, Document
from fhir_server.storage.schema import AT_ONCE, SchemaState, Show, Step, newer

SCHEMA_VERSION = 2
OLDEST = 2
"""The oldest schema whose programs may use a store of this one beside us. Those of version 1 write
past versions without their type, and histories of a type would lack these."""

_STORE = "store"
_log = structlog.get_logger("medsage.store")


@dataclass(frozen=True, slots=True)
class Fill:
    """Gives the documents of `history` that have not got `field` its value, computed from `_id`."""

    what: str
    field: str

    def value(self, id: str) -> str:
        """What the field of the document `Type/id/version` is to hold."""
        return id.partition("/")[0]


MIGRATIONS: Mapping[int, Fill] = {1: Fill("the type beside each past version", "type")}
"""Version → the step from it to the next. Every version that was ever written is here."""


async def prepare(collections: Collections, show: Show | None = None) -> None:
    """Make what an empty database lacks, bring an older one up to this program's schema;
    SchemaMismatch for a newer one that this program must not use."""
    found = await _begun(collections)
    if not found:
        await indexes.create(collections)
        # Whoever finds the document finds everything else made.
        found = await _begin(collections)
    _check(found)
    if found["version"] > SCHEMA_VERSION:
        return  # its indexes are the later program's
    await indexes.create(collections)
    tell = show or _logged
    while found["version"] < SCHEMA_VERSION:
        tell(await _advance(collections, found))
        found = await _begun(collections)


async def state(collections: Collections) -> SchemaState:
    """What is to be done, for whoever asks before it is; nothing is made."""
    found = await _begun(collections) or {"version": await _unmarked(collections)}
    if not found["version"]:
        return SchemaState(None, SCHEMA_VERSION)
    _check(found)
    steps = []
    for version in range(found["version"], SCHEMA_VERSION):
        work, is_first = MIGRATIONS[version], version == found["version"]
        done = int(found.get("done", 0)) if is_first else 0
        left = await collections.history.count_documents({work.field: None})
        steps.append(Step(version + 1, work.what, done, done + left))
    return SchemaState(found["version"], SCHEMA_VERSION, tuple(steps))


def _logged(step: Step) -> None:
    _log.warning("the store is brought up to date", step=str(step))


def _check(found: Mapping[str, Any]) -> None:
    if found["version"] > SCHEMA_VERSION and found["oldest"] > SCHEMA_VERSION:
        raise newer(found["version"], SCHEMA_VERSION)


async def _begun(collections: Collections) -> Document:
    """The document as it is; empty when there is none."""
    return await collections.schema.find_one({"_id": _STORE}) or {}


async def _begin(collections: Collections) -> Document:
    """The document, made from what the database holds."""
    version = await _unmarked(collections) or SCHEMA_VERSION
    document = {"_id": _STORE, "version": version, "oldest": min(version, OLDEST)}
    with suppress(DuplicateKeyError):  # of several that begin at once, the first one's word counts
        await collections.schema.insert_one(document)
    return await _begun(collections)


async def _unmarked(collections: Collections) -> int:
    """The version of a database without the document; 0 for one without content."""
    for each in (collections.history, collections.records):
        if await each.find_one({}, {"_id": 1}) is not None:
            return 1
    return 0


async def _advance(collections: Collections, found: Document) -> Step:
    """One batch of the step that leaves the version found."""
    version: int = found["version"]
    work = MIGRATIONS[version]
    if "total" not in found:
        total = await collections.history.count_documents({work.field: None})
        await collections.schema.update_one(
            {"_id": _STORE, "version": version}, {"$set": {"total": total, "done": 0}}
        )
        return Step(version + 1, work.what, 0, total)
    count = await _filled(collections.history, work)
    if count is None:
        change = {
            "$set": {"version": version + 1, "oldest": min(version + 1, OLDEST)},
            "$unset": {"total": "", "done": ""},
        }
        await collections.schema.update_one({"_id": _STORE, "version": version}, change)
        return Step(version + 1, work.what, found["total"], found["total"])
    await collections.schema.update_one(
        {"_id": _STORE, "version": version}, {"$inc": {"done": count}}
    )
    return Step(version + 1, work.what, found["done"] + count, found["total"])


async def _filled(history: Collection, work: Fill) -> int | None:
    """How many documents this batch has changed; None when none is left."""
    found = history.find({work.field: None}, {"_id": 1}, limit=AT_ONCE)
    writes = [
        UpdateOne(
            {"_id": each["_id"], work.field: None}, {"$set": {work.field: work.value(each["_id"])}}
        )
        async for each in found
    ]
    if not writes:
        return None
    return (await history.bulk_write(writes, ordered=False)).modified_count
