"""The one place where content goes into the documents and comes out of them: sealed, where the
store is encrypted. Nothing else here knows."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId
from pymongo.errors import DuplicateKeyError

from fhir_server.storage.master_keys import MasterKeys
from fhir_server.storage.mongo.chains import Reader
from fhir_server.storage.mongo.connect import Collections, Document
from fhir_server.storage.mongo.records import (
    is_live,
    record_document,
    record_id,
    record_of,
    sealed_by,
)
from fhir_server.storage.port import JournalEntry, Record, Stored
from fhir_server.storage.ring import KIND, RING, new_ring, wrapped
from fhir_server.storage.vault import JOURNAL, Vault, is_about_keys, place_of, record_place


async def begin(collections: Collections, masters: MasterKeys | None) -> Vault:
    """The vault of the database, with its ring, which is made where there are master keys and
    none yet. UnusableKeys when the store is sealed by other keys, or no keys are given."""
    vault = Vault(masters)
    if masters is not None and await _ring(collections) is None:
        ring = new_ring(datetime.now(UTC), takes_plain=await _has_content(collections))
        try:
            value = wrapped(ring, masters)
            await collections.records.insert_one(record_document(Record(KIND, RING, value), 1))
        except DuplicateKeyError:
            pass  # of several processes that begin at once, the first one's ring counts
    vault.adopt(await _ring(collections))
    return vault


async def refresh(reader: Reader) -> None:
    """Look for a new data key, when it is time."""
    if reader.vault.is_due:
        reader.vault.renew(await _ring(reader.collections))


def body_in(vault: Vault, version: Stored) -> Stored:
    """The version as it is written. A deletion has no body."""
    if version.is_deleted or vault.ring is None:
        return version
    return replace(version, body=vault.seal(place_of(version), version.body))


async def opened(reader: Reader, version: Stored) -> Stored:
    """The version as it was written, from what was read; Unreadable when it can't be had."""
    if version.is_deleted:
        return version
    body = await content_out(reader, place_of(version), version.body)
    return version if body is version.body else replace(version, body=body)


def value_in(vault: Vault, record: Record, revision: int) -> Document:
    """The document of a record as it is written."""
    document = record_document(record, revision)
    if is_about_keys(record.kind) or vault.ring is None:
        return document
    place = record_place(record.kind, record.id)
    value = vault.seal(place, document["value"].encode())
    return {**document, "value": value, **sealed_by(value)}


async def value_out(
    reader: Reader, document: Mapping[str, Any] | None, now: datetime
) -> Record | None:
    """The record of a document that was read, None when there is none or it has expired."""
    if document is None or not is_live(document, now):
        return None
    record = record_of(document, {})
    value = document["value"]
    content = value.encode() if isinstance(value, str) else bytes(value)
    if not is_about_keys(record.kind):
        content = await content_out(reader, record_place(record.kind, record.id), content)
    return record_of(document, json.loads(content))


def entry_in(vault: Vault, entry: bytes) -> Document:
    """The document of an audit record as it is written into the journal."""
    sealed = vault.seal(JOURNAL, entry)
    return {"_id": ObjectId(), "entry": sealed, **sealed_by(sealed)}


async def entry_out(reader: Reader, document: Document) -> JournalEntry:
    """The audit record of a document that was read."""
    entry = await content_out(reader, JOURNAL, bytes(document["entry"]))
    return JournalEntry(str(document["_id"]), entry)


async def content_out(reader: Reader, place: str, content: bytes) -> bytes:
    """What lies at the place, opened; a key that is new here is looked for."""
    if not reader.vault.knows(content):
        reader.vault.renew(await _ring(reader.collections))
    return reader.vault.open(place, content)


async def _ring(collections: Collections) -> dict[str, Any] | None:
    document = await collections.records.find_one({"_id": record_id(KIND, RING)})
    return None if document is None else json.loads(document["value"])


async def _has_content(collections: Collections) -> bool:
    for each in (collections.history, collections.records, collections.journal):
        if await each.find_one({}, {"_id": 1}) is not None:
            return True
    return False
