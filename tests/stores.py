"""Both stores, opened empty: what the contract and agreement suites run on.

MongoDB is the replica set that `MEDSAGE_TEST_MONGODB_URI` names, or a server started once for
the whole run; tests that need it carry the marker `mongodb`.
"""

import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pymongo import AsyncMongoClient

from deploy.dev_mongodb import find, running
from fhir_server.storage.budget import SEARCH_SECONDS
from fhir_server.storage.master_keys import MasterKeys, master_keys
from fhir_server.storage.mongo.store import MongoStore
from fhir_server.storage.port import Draft, Key, ResourceStore, Stored, Terms, Transaction
from fhir_server.storage.sqlite.store import SqliteStore
from tests.availability import mongodb_uri

START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
SQLITE = "sqlite"
MONGODB = "mongodb"
BOTH = (SQLITE, pytest.param(MONGODB, marks=pytest.mark.mongodb))
SEALED = "sealed"
BOTH_WAYS = (
    *BOTH,
    f"{SQLITE} {SEALED}",
    pytest.param(f"{MONGODB} {SEALED}", marks=pytest.mark.mongodb),
)
"""Both stores, plain and encrypted."""
MASTER = "7Yk5v3m0Qb3pJ2hXo9Uq1l8aRzT6cWnE4sGdKfBxHy0="
"""A line of a key file."""


@dataclass
class Clock:
    """Stands still until it is moved."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Place:
    """An empty place for a store; `open` may be called again, as after a restart."""

    open: Callable[[float, Sequence[str]], Awaitable[ResourceStore]]
    clock: Clock
    kind: str
    address: tuple[str, ...]
    """What another process opens the same store with."""
    masters: Sequence[str] = ()
    """The lines of its key file, where it is encrypted."""
    opened: list[ResourceStore] = field(default_factory=list)

    async def store(
        self, search_seconds: float = SEARCH_SECONDS, masters: Sequence[str] | None = None
    ) -> ResourceStore:
        """The store, opened once more, by who has these master keys; closed with the place."""
        keys = self.masters if masters is None else masters
        store = await self.open(search_seconds, keys)
        self.opened.append(store)
        return store


def keys_of(lines: Sequence[str]) -> MasterKeys | None:
    """The master keys of these lines of a key file, if there are any."""
    return master_keys(lines) if lines else None


@asynccontextmanager
async def sqlite_place(folder: Path, masters: Sequence[str] = ()) -> AsyncIterator[Place]:
    """A file in the folder, encrypted where there are master keys."""
    clock, path = Clock(), folder / "store.sqlite"

    async def open_store(search_seconds: float, masters: Sequence[str]) -> ResourceStore:
        return SqliteStore.open(path, clock, search_seconds, keys_of(masters))

    place = Place(open_store, clock, SQLITE, (str(path), *masters), masters)
    yield place
    for store in place.opened:
        await store.close()


@asynccontextmanager
async def mongodb_place(uri: str, masters: Sequence[str] = ()) -> AsyncIterator[Place]:
    """A database of its own, dropped at the end; encrypted where there are master keys."""
    clock, database = Clock(), f"medsage_test_{uuid.uuid4().hex}"

    async def open_store(search_seconds: float, masters: Sequence[str]) -> ResourceStore:
        return await MongoStore.open(uri, database, clock, search_seconds, keys_of(masters))

    place = Place(open_store, clock, MONGODB, (uri, database, *masters), masters)
    yield place
    for store in place.opened:
        await store.close()
    async with AsyncMongoClient[dict[str, object]](uri) as client:
        await client.drop_database(database)


@asynccontextmanager
async def place_of(request: pytest.FixtureRequest, kind: str, folder: Path) -> AsyncIterator[Place]:
    """A place of this kind; asks for the server only when one is needed."""
    engine, _, sealed = kind.partition(" ")
    masters = (MASTER,) if sealed else ()
    opened = (
        sqlite_place(folder, masters)
        if engine == SQLITE
        else mongodb_place(request.getfixturevalue("mongodb_server"), masters)
    )
    async with opened as place:
        yield place


@pytest.fixture(scope="session")
def mongodb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of a replica set for tests."""
    uri = mongodb_uri()
    if uri is not None:
        yield uri
        return
    with running(find(os.environ), tmp_path_factory.mktemp("mongodb") / "files") as (uri, _):
        yield uri


@pytest.fixture(params=BOTH)
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """An empty place of each kind in turn."""
    async with place_of(request, request.param, tmp_path) as opened:
        yield opened


@pytest.fixture
async def store(place: Place) -> ResourceStore:
    """An empty store of each kind in turn."""
    return await place.store()


def version(
    text: str, number: int = 1, *, body: bytes | None = None, method: str = "PUT"
) -> Stored:
    """Version `number` of the resource `Type/id`."""
    type_, _, id_ = text.partition("/")
    content = b"" if method == "DELETE" else b'{"resourceType":"%s"}' % type_.encode()
    return Stored(Key(type_, id_), number, START, content if body is None else body, method)


def draft(text: str, number: int = 1, *terms: tuple[str, str], **sort: str) -> Draft:
    """A draft of `Type/id` that is found by its id and these terms (`code`, value), and sorted
    by these lowest and highest values."""
    type_, _, id_ = text.partition("/")
    return Draft(
        version(text, number),
        Terms(
            ((f"{type_}._id", id_), *((f"{type_}.{code}", value) for code, value in terms)),
            (),
            {f"{type_}.{code}": (value, value) for code, value in sort.items()},
        ),
    )


async def put(store: ResourceStore, *drafts: Draft) -> None:
    """Write these versions in one unit, each after the one before it."""

    async def unit(transaction: Transaction) -> None:
        for each in drafts:
            await transaction.put(each, each.stored.version - 1)

    await store.transaction(unit)
