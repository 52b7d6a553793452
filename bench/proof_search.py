"""Random searches over random resources: the evaluator and every store must answer the same.

`prove` draws small collections, writes each over the one before it (so that updates and
deletions are tried as well), and asks each store for random searches, page by page. The first
difference is reduced to a small example and raised.
"""

import asyncio
import importlib
import json
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from pymongo import AsyncMongoClient

from deploy import dev_mongodb
from fhir_server.search.evaluate import evaluate
from fhir_server.search.expression import Query, SortKey, Terms
from fhir_server.search.extract import Extractor
from fhir_server.search.plan import Scope, plan_search
from fhir_server.search.registry import Registry
from fhir_server.storage.mongo.store import MongoStore
from fhir_server.storage.port import Draft, Key, ResourceStore, Stored, Transaction
from fhir_server.storage.sqlite.store import SqliteStore

ROOT = Path(__file__).parents[1]
BASE = "http://fhir.example/fhir"
NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
SEARCHES_EACH = 12
"""Searches asked of one collection before it is replaced."""

Resource = dict[str, Any]
_MOST_PAGES = 100


class Disagreement(AssertionError):
    """A store answered otherwise than the evaluator; the text says which, and to what."""


@dataclass
class Proof:
    """What was compared so far."""

    seed: int
    searches: int = 0
    matches: int = 0
    collections: int = 0
    seconds: float = 0.0
    stores: list[str] = field(default_factory=list)


class Shelf:
    """The terms of a collection by reference: what the evaluator answers from."""

    def __init__(self, extract: Extractor, resources: Sequence[Resource]) -> None:
        self.terms = {
            f"{each['resourceType']}/{each['id']}": extract(_with_meta(each)) for each in resources
        }

    def resource(self, reference: str) -> Terms | None:
        """See `evaluate.Follow`."""
        return self.terms.get(reference)

    def resources(self, type_: str) -> list[Terms]:
        """See `evaluate.Follow`."""
        return [terms for name, terms in self.terms.items() if name.startswith(type_ + "/")]

    def answer(self, query: Query) -> list[str]:
        """The ids that match, in the query's order."""
        found = [
            name.partition("/")[2]
            for name, terms in self.terms.items()
            if name.startswith(query.type + "/") and evaluate(query.where, terms, self)
        ]
        found.sort()
        for key in reversed(query.sort):
            self._order(found, query.type, key)
        return found

    def _order(self, ids: list[str], type_: str, key: SortKey) -> None:
        bounds = {id_: self.terms[f"{type_}/{id_}"].sort.get(key.param) for id_ in ids}
        present = [id_ for id_ in ids if bounds[id_] is not None]
        missing = [id_ for id_ in ids if bounds[id_] is None]
        side = 1 if key.is_descending else 0
        # A stable sort that is reversed keeps equal ones in order.
        present.sort(key=lambda id_: (bounds[id_] or ("", ""))[side], reverse=key.is_descending)
        ids[:] = [*present, *missing]


class Proving:
    """The stores under proof, and which version each resource has in them."""

    def __init__(self, stores: Mapping[str, ResourceStore], proof: Proof) -> None:
        self._stores = stores
        self._proof = proof
        self._registry = Registry()
        self._extract = Extractor(self._registry, BASE)
        self._make = _generators()
        self._versions: dict[Key, int] = {}
        self._living: set[Key] = set()
        proof.stores = list(stores)

    async def example(self, random: Random) -> None:
        """Make a collection and searches on it, and compare all answers."""
        resources: list[Resource] = self._make.random_collection(random)
        shelf = await self._write(resources)
        self._proof.collections += 1
        known = list(shelf.terms.values())
        for number in range(SEARCHES_EACH):
            if number % 3:
                type_, pairs = self._make.random_search(random)
                query = plan_search(Scope(self._registry, NOW, BASE), type_, pairs).query
            else:
                query = self._make.random_query(random, known)
            expected = shelf.answer(query)
            difference = await self._difference(query, expected)
            if difference:
                raise Disagreement(await self._smallest(resources, query))
            self._proof.searches += 1
            self._proof.matches += len(expected)

    async def _smallest(self, resources: Sequence[Resource], query: Query) -> str:
        """What is said of the fewest of these resources that still show a difference."""
        left = list(resources)
        for each in resources:
            fewer = [other for other in left if other is not each]
            shelf = await self._write(fewer)
            if await self._difference(query, shelf.answer(query)):
                left = fewer
        shelf = await self._write(left)
        difference = await self._difference(query, shelf.answer(query))
        return f"{difference}\nquery: {query}\nresources: {json.dumps(left, default=str)}"

    async def _write(self, resources: Sequence[Resource]) -> Shelf:
        """Replace what the stores hold by these resources."""
        shelf = Shelf(self._extract, resources)
        wanted = {Key(each["resourceType"], each["id"]): each for each in resources}
        drafts = []
        for key in [*wanted, *sorted(self._living - wanted.keys())]:
            self._versions[key] = version = self._versions.get(key, 0) + 1
            if key in wanted:
                body = json.dumps(wanted[key], default=str).encode()
                drafts.append(Draft(Stored(key, version, NOW, body), shelf.terms[str(key)]))
            else:
                drafts.append(Draft(Stored(key, version, NOW, b"", "DELETE")))
        self._living = set(wanted)

        async def unit(transaction: Transaction) -> None:
            for draft in drafts:
                await transaction.put(draft, draft.stored.version - 1)

        for store in self._stores.values():
            await store.transaction(unit)
        return shelf

    async def _difference(self, query: Query, expected: list[str]) -> str | None:
        """How a store's answer differs from the evaluator's, None when all agree."""
        for name, store in self._stores.items():
            found = await _pages(store, query)
            if found != expected:
                return f"{name} finds {found}, the evaluator {expected}"
            counted = await store.count(query)
            if counted != len(expected):
                return f"{name} counts {counted}, the evaluator {len(expected)}"
        return None


async def prove(stores: Mapping[str, ResourceStore], *, count: int, start: int = 0) -> Proof:
    """Compare at least `count` searches on stores that are empty; collection number n is made
    from the seed `start` + n. Raises Disagreement with a small example."""
    proof = Proof(start)
    proving = Proving(stores, proof)
    began = time.monotonic()
    while proof.searches < count:
        await proving.example(Random(start + proof.collections))
    proof.seconds = round(time.monotonic() - began, 1)
    return proof


async def _pages(store: ResourceStore, query: Query) -> list[str]:
    """All ids in order, page by page."""
    found: list[str] = []
    after = query.after
    for _ in range(_MOST_PAGES):
        page = await store.find(Query(query.type, query.where, query.sort, query.limit, after))
        found.extend(each.key.id for each in page.matches)
        after = page.next
        if after is None:
            return found
    raise Disagreement(f"the pages never end: {query}")


def run(options: Mapping[str, str]) -> dict[str, Any]:
    """`medsage bench proof-search`: `count` searches from the seed `seed`; `store` both
    (default: the embedded store and MongoDB), or sqlite."""
    unknown = {*options} - {"count", "seed", "store"}
    wanted = options.get("store", "both")
    if unknown or wanted not in {"both", "sqlite"}:
        raise ValueError(f"not an option of this proof: {unknown or wanted}")
    count, start = int(options.get("count", "1000")), int(options.get("seed", "0"))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        uri = os.environ.get("MEDSAGE_TEST_MONGODB_URI")
        if wanted == "both" and not uri:
            server = dev_mongodb.running(dev_mongodb.find(os.environ), Path(folder) / "mongodb")
            uri, _ = stack.enter_context(server)
        asked = uri if wanted == "both" else None
        proof = asyncio.run(_proved(Path(folder), asked, count=count, start=start))
    return {"bench": "proof-search", **asdict(proof)}


async def _proved(folder: Path, uri: str | None, *, count: int, start: int) -> Proof:
    stores: dict[str, ResourceStore] = {"sqlite": SqliteStore.open(folder / "proof.sqlite")}
    database = f"medsage_proof_{uuid.uuid4().hex}"
    if uri is not None:
        stores["mongodb"] = await MongoStore.open(uri, database)
    try:
        return await prove(stores, count=count, start=start)
    finally:
        for store in stores.values():
            await store.close()
        if uri is not None:
            async with AsyncMongoClient[dict[str, Any]](uri) as client:
                await client.drop_database(database)


def _with_meta(resource: Resource) -> Resource:
    meta = {**resource.get("meta", {}), "versionId": "1", "lastUpdated": "2026-11-24T02:00:00Z"}
    return {**resource, "meta": meta}


def _generators() -> Any:
    """The generators, which lie with the tests: a proof is run from a checkout."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    return importlib.import_module("tests.agreement.strategies")
