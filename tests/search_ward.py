"""A few resources to search: by the reference evaluator and by the embedded store at once."""

import json
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from fhir_server.fhir.codec import parse
from fhir_server.search.evaluate import evaluate
from fhir_server.search.expression import Query, Terms
from fhir_server.search.extract import Extractor
from fhir_server.search.plan import Plan, Scope, plan_search
from fhir_server.search.registry import Registry
from fhir_server.storage.port import Draft, Key, ResourceStore, Stored, Transaction
from fhir_server.storage.sqlite.store import SqliteStore

Resource = dict[str, Any]

BASE = "http://fhir.example/fhir"
NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
UPDATED = "2026-11-24T02:00:00.000Z"

registry = cache(Registry)


@cache
def extractor() -> Extractor:
    """One extractor for all tests, so that a type is compiled once."""
    return Extractor(registry(), BASE)


def scope() -> Scope:
    """The meaning of queries in these tests."""
    return Scope(registry(), NOW, BASE)


def plan(text: str) -> Plan:
    """The plan of `Type?name=value&…`, percent-encoded as in a URL but for `+`."""
    type_, _, query = text.partition("?")
    pairs = parse_qsl(query.replace("+", "%2B"), keep_blank_values=True)
    return plan_search(scope(), type_, pairs)


def complete(resource: Resource) -> Resource:
    """The resource as the write path would have it: parsed from JSON, with its meta."""
    meta = {**resource.get("meta", {}), "versionId": "1", "lastUpdated": UPDATED}
    whole: Resource = parse(json.dumps({**resource, "meta": meta}).encode())
    return whole


def extracted(resource: Resource) -> Terms:
    """The terms of a resource."""
    return extractor()(complete(resource))


class Shelf:
    """Terms by reference: what the evaluator follows chains with."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self._terms = {
            f"{each['resourceType']}/{each['id']}": extracted(each) for each in resources
        }

    def resource(self, reference: str) -> Terms | None:
        return self._terms.get(reference)

    def resources(self, type_: str) -> Iterator[Terms]:
        for reference, terms in self._terms.items():
            if reference.startswith(type_ + "/"):
                yield terms

    def matching(self, query: Query) -> set[str]:
        """The ids of the resources that match, by the evaluator."""
        return {
            reference.partition("/")[2]
            for reference, terms in self._terms.items()
            if reference.startswith(query.type + "/") and evaluate(query.where, terms, self)
        }


async def fill(store: ResourceStore, resources: Iterable[Resource]) -> None:
    """Write the resources as first versions, in one unit."""
    drafts = []
    for resource in resources:
        body = json.dumps(complete(resource), default=str).encode()
        key = Key(resource["resourceType"], resource["id"])
        drafts.append(Draft(Stored(key, 1, NOW, body, "PUT"), extracted(resource)))

    async def unit(transaction: Transaction) -> None:
        for draft in drafts:
            await transaction.put(draft, 0)

    await store.transaction(unit)


@dataclass(frozen=True)
class Ward:
    """The same resources in an embedded store and on the evaluator's shelf."""

    store: SqliteStore
    shelf: Shelf

    async def ids(self, text: str) -> set[str]:
        """The ids that a search finds; evaluator and store must agree."""
        query = plan(text).query
        page = await self.store.find(query)
        found = {stored.key.id for stored in page.matches}
        assert found == self.shelf.matching(query), text
        assert await self.store.count(query) == len(found), text
        return found


@asynccontextmanager
async def ward(folder: Path, resources: list[Resource]) -> AsyncIterator[Ward]:
    """A ward with these resources."""
    store = SqliteStore.open(folder / "ward.sqlite")
    await fill(store, resources)
    yield Ward(store, Shelf(resources))
    await store.close()
