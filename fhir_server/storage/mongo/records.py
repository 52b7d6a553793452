"""Values of the port ↔ MongoDB documents.

| collection | `_id` | content |
|---|---|---|
| resources | `Type/id` | current version; with `type`, `terms`, `tuples`, `sort` unless deleted |
| history | `Type/id/0000000001` | every version; `type`; `written` for the feed's catch-up |
| bodies | `Type/id/0000000001/00` | pieces of a body too long to stand in its documents |
| records | `kind␟id` | value as JSON text, revision, expires |
| journal | ObjectId | one audit record that waits for the sealer |

What is sealed names its data key in `sealedBy`, because binary content can't be asked for it.
A term is `parameter␟value`. A deleted resource stays as a document without `type`, so that no
search, which always names the type, can find it.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fhir_server.search.terms import SEPARATOR
from fhir_server.storage.mongo.connect import Document
from fhir_server.storage.port import Draft, Key, Record, Stored, Terms
from fhir_server.storage.vault import key_of

LONGEST_INLINE_BODY = 4 * 1024 * 1024
"""A document ends at 16 MB, and the event of a change stream carries a whole one."""

PIECE = 8 * 1024 * 1024

CURRENT = {"_id": 1, "version": 1, "updated": 1, "method": 1, "body": 1, "pieces": 1, "sealedBy": 1}
"""The fields of a document that make a Stored."""


def term(param: str, value: str) -> str:
    """The string that stands in `terms`."""
    return f"{param}{SEPARATOR}{value}"


def history_id(key: Key, version: int) -> str:
    """Padded, so that the order of ids is the order of versions."""
    return f"{key}/{version:010d}"


def before(key: Key, version: int) -> Document:
    """The documents of `history`, and of `bodies`, of the versions before this one."""
    return {"_id": {"$gt": f"{key}/", "$lt": history_id(key, version)}}


def sort_field(param: str, *, is_descending: bool) -> str:
    """Where the sort value of a parameter key stands."""
    _, _, code = param.partition(".")
    if not code.replace("-", "").replace("_", "").isalnum():
        raise ValueError(f"not a sortable parameter: {param}")
    return f"sort.{code}.{'high' if is_descending else 'low'}"


def current(draft: Draft) -> Document:
    """The document of `resources`."""
    document = _version(draft.stored)
    document["_id"] = str(draft.stored.key)
    if not draft.stored.is_deleted:
        document |= {"type": draft.stored.key.type, **found_by(draft.terms)}
    return document


def past(stored: Stored, written: datetime) -> Document:
    """The document of `history`."""
    return {
        "_id": history_id(stored.key, stored.version),
        **_version(stored),
        "type": stored.key.type,
        "written": written,
    }


def pieces(stored: Stored) -> list[Document]:
    """The documents of `bodies`; none when the body stands in its own documents."""
    start = history_id(stored.key, stored.version)
    return [
        {"_id": f"{start}/{number:02d}", "body": stored.body[number * PIECE : (number + 1) * PIECE]}
        for number in range(_count(stored.body))
    ]


def _count(body: bytes) -> int:
    return 0 if len(body) <= LONGEST_INLINE_BODY else -(-len(body) // PIECE)


def _version(stored: Stored) -> Document:
    return {
        "version": stored.version,
        "updated": stored.updated,
        "method": stored.method,
        **body_fields(stored.body),
    }


def body_fields(body: bytes) -> Document:
    """The fields of a version that hold its body, or say that it lies in pieces."""
    count = _count(body)
    return {**({"pieces": count} if count else {"body": body}), **sealed_by(body)}


def sealed_by(content: bytes) -> Document:
    """The field that names the data key of sealed content."""
    key = key_of(content)
    return {"sealedBy": key} if key else {}


def found_by(terms: Terms) -> Document:
    """The fields of a document of `resources` that searches look at."""
    return {
        "terms": list(dict.fromkeys(term(*each) for each in terms.terms)),
        "tuples": [
            {"param": each.param, "terms": [term(*member) for member in each.terms]}
            for each in terms.tuples
        ],
        "sort": {
            param.partition(".")[2]: {"low": low, "high": high}
            for param, (low, high) in terms.sort.items()
        },
    }


def stored(document: Mapping[str, Any], body: bytes | None = None) -> Stored:
    """The version that a document of `resources` or `history` holds; `body` when its pieces
    were read."""
    type_, id_, *_ = document["_id"].split("/")
    return Stored(
        Key(type_, id_),
        document["version"],
        document["updated"],
        document["body"] if body is None else body,
        document["method"],
    )


def record_id(kind: str, id: str) -> str:
    """The `_id` of a record's document; ids of one kind lie together."""
    return f"{kind}{SEPARATOR}{id}"


def record_document(record: Record, revision: int) -> Document:
    """The document of `records`. The value is JSON text, as exact as the other store's."""
    return {
        "_id": record_id(record.kind, record.id),
        "value": json.dumps(record.value),
        "revision": revision,
        "expires": record.expires,
    }


def is_live(document: Mapping[str, Any], now: datetime) -> bool:
    """Whether the record of a document has not expired."""
    return document["expires"] is None or document["expires"] > now


def record_of(document: Mapping[str, Any], value: dict[str, Any]) -> Record:
    """The record of a document and of its value, read."""
    kind, _, id_ = document["_id"].partition(SEPARATOR)
    return Record(kind, id_, value, document["revision"], document["expires"])
