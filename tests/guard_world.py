"""Small wards for the guard's tests: stores with given resources, and guarded views of them."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fhir_server.fhir.codec import encode, instant
from fhir_server.search.expression import Query
from fhir_server.search.extract import Extractor
from fhir_server.search.plan import Scope, plan_search
from fhir_server.search.registry import Registry
from fhir_server.security.access import Access, access_for
from fhir_server.security.circumstances import PLAIN
from fhir_server.security.guard_terms import with_guard_terms
from fhir_server.security.guarded_store import GuardedStore
from fhir_server.security.principal import Principal
from fhir_server.storage.port import Draft, Key, ResourceStore, Stored, Transaction
from fhir_server.storage.sqlite.store import SqliteStore

Resource = dict[str, Any]

BASE = "https://ward.example/fhir"
AT = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
REGISTRY = Registry()
EXTRACT = with_guard_terms(Extractor(REGISTRY, BASE), BASE)


def access(scopes: str, role: str = "doctor", patient: str | None = "x") -> Access:
    principal = Principal(
        subject="somebody",
        client_id="client",
        name="Somebody",
        roles=frozenset({role}),
        fhir_user=None,
        scopes=scopes,
        patient=patient,
        encounter=None,
        session=None,
    )
    return access_for(principal, REGISTRY, PLAIN)


def guard(store: ResourceStore, scopes: str, patient: str | None = "x") -> GuardedStore:
    return GuardedStore(store, access(scopes, patient=patient), EXTRACT)


def draft(resource: Resource, version: int = 1, method: str = "PUT") -> Draft:
    meta = {"versionId": str(version), "lastUpdated": instant(AT)}
    full = {**resource, "meta": {**resource.get("meta", {}), **meta}}
    key = Key(resource["resourceType"], resource["id"])
    return Draft(Stored(key, version, AT, encode(full), method), EXTRACT(full))


def deletion(key: Key, version: int) -> Draft:
    return Draft(Stored(key, version, AT, b"", "DELETE"))


async def fill(store: ResourceStore, resources: Iterable[Resource]) -> None:
    async def unit(transaction: Transaction) -> None:
        for resource in resources:
            await transaction.put(draft(resource), 0)

    await store.transaction(unit)


async def write(store: ResourceStore, made: Draft, expected: int | None = None) -> None:
    replaced = made.stored.version - 1 if expected is None else expected
    await store.transaction(lambda transaction: transaction.put(made, replaced))


async def opened(path: Path, resources: Iterable[Resource]) -> SqliteStore:
    store = SqliteStore.open(path)
    await fill(store, resources)
    return store


def query(text: str, limit: int = 50) -> Query:
    """The query of `Type?name=value&…`."""
    type_, _, rest = text.partition("?")
    pairs = [tuple(pair.split("=", 1)) for pair in rest.split("&") if pair]
    planned = plan_search(Scope(REGISTRY, AT, BASE), type_, pairs).query  # type: ignore[arg-type]
    return Query(planned.type, planned.where, planned.sort, limit)


async def found(store: ResourceStore, asked: Query) -> list[str]:
    """The ids of all matches in order, page by page."""
    ids: list[str] = []
    after = None
    while True:
        page = await store.find(Query(asked.type, asked.where, asked.sort, asked.limit, after))
        ids += [stored.key.id for stored in page.matches]
        after = page.next
        if after is None:
            return ids
        assert len(page.matches) == asked.limit, "a page that is not the last is full"
