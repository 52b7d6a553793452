"""The table of commands: within MongoDB's floor, used, and able to tell what is outside it."""

from typing import Any

import pytest

from fhir_server.storage.mongo.commands import COMMANDS, EVERY_COMMAND, FLOOR, OPERATORS
from fhir_server.storage.mongo.store import MongoStore
from fhir_server.storage.port import Record
from tests.mongo_commands import listen, outside
from tests.stores import MONGODB, draft, mongodb_place, put


def number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def test_nothing_is_newer_than_the_oldest_mongodb_supported() -> None:
    tables = [EVERY_COMMAND, OPERATORS, *COMMANDS.values()]
    versions = {version for table in tables for version in table.values()}
    assert max(map(number, versions)) <= number(FLOOR)


@pytest.mark.parametrize(
    ("name", "command", "found"),
    [
        ("mapReduce", {"mapReduce": "x"}, ["command mapReduce"]),
        ("find", {"find": "x", "filter": {}, "collation": {}}, ["find: option collation"]),
        ("find", {"find": "x", "filter": {"a": {"$size": 1}}}, ["find: operator $size"]),
        (
            "find",
            {"find": "x", "filter": {"a": {"$elemMatch": {"$or": [{"b": 1}]}}}},
            [
                "find: operator $elemMatch that begins with $or",
                "find: operator $or inside $elemMatch",
            ],
        ),
        (
            "update",
            {"update": "x", "updates": [{"q": {}, "u": {}, "arrayFilters": []}]},
            ["update: updates.arrayFilters"],
        ),
        (
            "createIndexes",
            {"createIndexes": "x", "indexes": [{"key": {"a": "text"}, "name": "a"}]},
            ["index kind text"],
        ),
        (
            "aggregate",
            {"aggregate": "x", "pipeline": [{"$lookup": {}}], "cursor": {}},
            ["aggregate: operator $lookup"],
        ),
        ("insert", {"insert": "x", "documents": [{"a": {"$odd": 1}}]}, []),
    ],
)  # fmt: skip
def test_what_is_outside_the_table_is_told(
    name: str, command: dict[str, Any], found: list[str]
) -> None:
    assert list(outside(name, command)) == found


@pytest.mark.mongodb
async def test_the_ear_hears_what_a_store_sends(mongodb_server: str) -> None:
    listener = listen()
    listener.seen.clear()
    async with mongodb_place(mongodb_server) as place:
        store = await place.store()
        assert place.kind == MONGODB
        assert isinstance(store, MongoStore)
        await put(store, draft("Patient/a"), draft("Patient/b"))
        await put(store, draft("Patient/a", 2))
        await store.transaction(lambda transaction: transaction.put_record(Record("k", "i", {})))
    assert listener.seen >= {"createIndexes", "insert", "update", "find", "commitTransaction"}
    assert not listener.outside
