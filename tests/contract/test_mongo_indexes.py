"""Index specifications and sizes against MongoDB's own rules, which engines that stand in for it
do not all check."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from pymongo import AsyncMongoClient

from fhir_server.search.terms import KEY_LENGTH, bounded, joined
from fhir_server.storage.mongo import records, units
from fhir_server.storage.mongo.connect import NAMES, SOCKET_MILLISECONDS
from fhir_server.storage.mongo.indexes import INDEXES, RESERVATION_SECONDS, Index
from fhir_server.storage.port import Draft, Terms, TupleOfTerms
from tests.stores import MONGODB, draft, mongodb_place, put, version

DOCUMENT_BYTES = 16 * 1024 * 1024
EVENT_ROOM = 1024 * 1024
TRANSACTION_SECONDS = 60
MOST_INDEXES = 64
MOST_FIELDS = 32

FULL = Draft(
    version("Observation/a"),
    Terms(
        (("Observation.code", "x"), ("Observation.code", "y")),
        (TupleOfTerms("Observation.pair", (("Observation.code", "x"),)),),
        {"Observation.date": ("1", "2"), "Observation._lastUpdated": ("1", "1")},
    ),
)
DOCUMENTS: dict[str, dict[str, Any]] = {
    "resources": records.current(FULL),
    "history": records.past(FULL.stored, datetime(2026, 11, 24, tzinfo=UTC)),
}


def arrays(document: Any, path: str = "") -> set[str]:
    """The paths of a document that are arrays."""
    if isinstance(document, list):
        return {path}
    if not isinstance(document, dict):
        return set()
    return {
        found
        for name, value in document.items()
        for found in arrays(value, f"{path}.{name}" if path else name)
    }


def test_a_document_has_the_arrays_that_these_rules_speak_of() -> None:
    assert arrays(DOCUMENTS["resources"]) == {"terms", "tuples"}


@pytest.mark.parametrize("index", INDEXES, ids=lambda index: ",".join(dict(index.keys)))
def test_an_index_keeps_mongodbs_rules(index: Index) -> None:
    names = [name for name, _ in index.keys]
    among = arrays(DOCUMENTS.get(index.collection, {}))
    assert index.collection in NAMES
    assert sum(any(f"{name}.".startswith(f"{each}.") for each in among) for name in names) <= 1
    assert {kind for _, kind in index.keys} <= {1, -1}
    assert len(names) == len(set(names)) <= MOST_FIELDS
    assert all(name and not name.startswith("$") for name in names)
    if index.expire_seconds is not None:
        assert len(names) == 1
        assert names != ["_id"]
        assert index.expire_seconds > TRANSACTION_SECONDS


def test_no_collection_has_too_many_indexes_or_one_twice() -> None:
    counts = Counter(index.collection for index in INDEXES)
    assert max(counts.values()) + 1 <= MOST_INDEXES
    assert len({(index.collection, index.keys) for index in INDEXES}) == len(INDEXES)


def test_a_transaction_ends_before_mongodb_ends_it() -> None:
    assert units.PATIENCE_SECONDS + units.COMMIT_MILLISECONDS / 1000 < TRANSACTION_SECONDS
    assert SOCKET_MILLISECONDS / 1000 > TRANSACTION_SECONDS
    assert RESERVATION_SECONDS > TRANSACTION_SECONDS


@pytest.mark.parametrize("size", [0, records.LONGEST_INLINE_BODY, 40 * 1024 * 1024])
def test_no_document_grows_beyond_mongodbs_limit(size: int) -> None:
    stored = version("Binary/x", body=b"x" * size)
    now = datetime(2026, 11, 24, tzinfo=UTC)
    documents = [
        records.current(Draft(stored)),
        records.past(stored, now),
        *records.pieces(stored),
    ]
    assert all(len(bson.encode(each)) + EVENT_ROOM < DOCUMENT_BYTES for each in documents)


def test_terms_are_bounded() -> None:
    # Since MongoDB 4.2 an index key may be longer; others end at 2 KB to 8 KB.
    assert len(bounded("東" * 5000)) < KEY_LENGTH + 100
    assert len(joined("a" * 900, "b" * 900)) <= 1801


@pytest.mark.mongodb
async def test_the_indexes_are_those_of_the_table(mongodb_server: str) -> None:
    async with mongodb_place(mongodb_server) as place:
        store = await place.store()
        await put(store, draft("Patient/a"))
        async with AsyncMongoClient[dict[str, Any]](mongodb_server) as client:
            database = client[place.address[1]]
            for name in NAMES:
                found = await database[name].index_information()
                keys = {tuple(each["key"]) for each in found.values()} - {(("_id", 1),)}
                assert keys == {each.keys for each in INDEXES if each.collection == name}
    assert place.kind == MONGODB
