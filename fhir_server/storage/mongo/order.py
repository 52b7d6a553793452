"""Sort orders and keyset paging: missing values last both ways, the id breaks ties.

MongoDB puts missing values first when it ascends. One sort key is therefore read in two
phases, those that have it and those that lack it, each in the order of an index. Several keys
are sorted by computed fields in which a missing value compares as last.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fhir_server.search.expression import Query, SortKey
from fhir_server.storage.mongo.connect import Document
from fhir_server.storage.mongo.records import sort_field

_AFTER_ALL_STRINGS = True
"""Booleans come after strings in BSON's order."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One part of an ordered answer: a further condition, its order, and the fields that have
    to be computed to sort by."""

    where: Document
    order: dict[str, int]
    computed: Document = field(default_factory=dict)


def phases(query: Query) -> tuple[Phase, ...]:
    """The parts of the answer in order, all of them beyond `query.after`."""
    after = query.after
    if not query.sort:
        first = {"_id": {"$gt": f"{query.type}/", "$lt": f"{query.type}0"}}
        return (Phase({**first, **_beyond_id(query, after)}, {"_id": 1}),)
    if len(query.sort) == 1:
        return _one_key(query, query.sort[0])
    return (_several_keys(query),)


def place(query: Query, document: Document) -> tuple[str | None, ...]:
    """The `after` of the page that follows this document."""
    values: list[str | None] = []
    for key in query.sort:
        found: Any = document
        for name in _field(key).split("."):
            found = (found or {}).get(name)
        values.append(found)
    return (*values, document["_id"].partition("/")[2])


def fields(query: Query) -> list[str]:
    """The fields that `place` reads."""
    return [_field(key) for key in query.sort]


def _field(key: SortKey) -> str:
    return sort_field(key.param, is_descending=key.is_descending)


def _beyond_id(query: Query, after: Sequence[str | None] | None) -> Document:
    if after is None:
        return {}
    return {"_id": {"$gt": f"{query.type}/{after[-1]}", "$lt": f"{query.type}0"}}


def _one_key(query: Query, key: SortKey) -> tuple[Phase, ...]:
    name = _field(key)
    order = {name: -1 if key.is_descending else 1, "_id": 1}
    missing: Document = {name: None}
    if query.after is None:
        return (Phase({name: {"$gte": ""}}, order), Phase(missing, {"_id": 1}))
    value, beyond_id = query.after[0], _beyond_id(query, query.after)
    if value is None:
        return (Phase({**missing, **beyond_id}, {"_id": 1}),)
    beyond, bound = ("$lt", "$lte") if key.is_descending else ("$gt", "$gte")
    present: Document = {
        name: {bound: value},
        "$or": [{name: {beyond: value}}, {name: value, **beyond_id}],
    }
    return (Phase(present, order), Phase(missing, {"_id": 1}))


def _several_keys(query: Query) -> Phase:
    computed = {
        f"key{index}": {
            "$ifNull": [f"${_field(key)}", None if key.is_descending else _AFTER_ALL_STRINGS]
        }
        for index, key in enumerate(query.sort)
    }
    order = {f"key{index}": -1 if key.is_descending else 1 for index, key in enumerate(query.sort)}
    where = {} if query.after is None else _beyond(query, query.after)
    return Phase(where, {**order, "_id": 1}, computed)


def _beyond(query: Query, after: Sequence[str | None]) -> Document:
    """What comes after `after`: equal in the first keys, beyond in the next one."""
    alternatives: list[Document] = []
    equal: list[Document] = []
    for key, value in zip(query.sort, after, strict=False):
        name = _field(key)
        if value is not None:
            beyond = {name: {"$lt" if key.is_descending else "$gt": value}}
            alternatives.append({"$and": [*equal, {"$or": [beyond, {name: None}]}]})
        equal.append({name: value})
    alternatives.append({"$and": [*equal, _beyond_id(query, after)]})
    return {"$or": alternatives}
