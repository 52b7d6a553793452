"""Clients that registered themselves work only when an administrator has approved them.

The decisions are pure; `approve_client` and `reject_client` carry one out inside the caller's
unit, who writes the audit record in the same unit. The revision that the administrator looked at
is compared, so that nothing is approved that was changed in between.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from fhir_server.security.authorization.clients import (
    KIND,
    Client,
    client_from,
    every_client,
    record_of,
)
from fhir_server.security.authorization.consents import Consent
from fhir_server.security.authorization.records import Grant
from fhir_server.security.scopes import parse_scopes
from fhir_server.storage.port import Record, ResourceStore, Transaction

_PAGE = 500


class NotDecidable(ValueError):
    """The client is not there, not waiting, or has changed; the text says which."""


@dataclass(frozen=True)
class Waiting:
    """A client that waits, and the revision of its record: what is approved is what was seen."""

    client: Client
    revision: int


async def pending_clients(store: ResourceStore) -> list[Waiting]:
    """The clients that wait for a decision, those that registered first before the others."""
    waiting = [Waiting(client, revision) for client, revision in await every_client(store)]
    found = [one for one in waiting if one.client.status == "pending"]
    return sorted(found, key=lambda one: (one.client.registered or 0.0, one.client.id))


def approved(client: Client, scopes: str | None = None, tenant: str | None = None) -> Client:
    """The client as one that works; with `scopes` it may be granted no more than these, with
    `tenant` it serves that one. NotDecidable when it doesn't wait, or the scopes are not some of
    those that it asked for."""
    if client.status == "active":
        raise NotDecidable(f"{client.id} is approved already")
    client = client if tenant is None else replace(client, tenant=tenant)
    if scopes is None:
        return replace(client, status="active")
    narrowed = parse_scopes(scopes)
    if narrowed.refused or not parse_scopes(client.scopes).contains(narrowed):
        raise NotDecidable("the scopes must be some of those that the client asked for")
    return replace(client, status="active", scopes=str(narrowed))


def rejected(client: Client) -> Client:
    """The client as one that never works. NotDecidable when it doesn't wait."""
    if client.status != "pending":
        raise NotDecidable(f"{client.id} does not wait for approval")
    return replace(client, status="rejected")


async def approve_client(
    tx: Transaction,
    client_id: str,
    *,
    revision: int | None = None,
    scopes: str | None = None,
    tenant: str | None = None,
) -> Client:
    """Let a pending (or rejected) client work. NotDecidable when that can't be done."""
    return await _decide(tx, client_id, revision, lambda one: approved(one, scopes, tenant))


async def reject_client(tx: Transaction, client_id: str, *, revision: int | None = None) -> Client:
    """Refuse a pending client; it is told so when it reads its registration. NotDecidable when
    that can't be done."""
    return await _decide(tx, client_id, revision, rejected)


async def remove_client(tx: Transaction, client_id: str) -> Client:
    """Take a client out of the register; NotDecidable when there is none. What it was granted
    before ends with `end_grants`, after the commit."""
    record = await tx.record(KIND, client_id)
    if record is None:
        raise NotDecidable(f"no client {client_id} is registered")
    await tx.delete_record(KIND, client_id)
    return client_from(record)


async def end_grants(store: ResourceStore, client_id: str) -> int:
    """End everything that users granted to the client, and with it every token made from it, and
    forget that they did; how many grants that were."""
    await _delete_its(store, Consent.KIND, client_id)
    return await _delete_its(store, Grant.KIND, client_id)


async def _delete_its(store: ResourceStore, kind: str, client_id: str) -> int:
    ended, after = 0, ""
    while page := await store.records(kind, after=after, limit=_PAGE):
        after = page[-1].id
        its = [record.id for record in page if record.value["client_id"] == client_id]
        await store.transaction(partial(_delete, kind, its))
        ended += len(its)
    return ended


async def _delete(kind: str, ids: list[str], tx: Transaction) -> None:
    for id in ids:
        await tx.delete_record(kind, id)


async def _decide(
    tx: Transaction, client_id: str, revision: int | None, decision: Callable[[Client], Client]
) -> Client:
    record = await tx.record(KIND, client_id)
    if record is None:
        raise NotDecidable(f"no client {client_id} is registered")
    if revision is not None and record.revision != revision:
        raise NotDecidable(f"{client_id} was changed in between; look at it again")
    decided = decision(client_from(record))
    await tx.put_record(_kept(record, decided), record.revision)
    return decided


def _kept(record: Record, client: Client) -> Record:
    """An approved client has no end; one that was refused goes when its request would have."""
    expires = None if client.is_active else record.expires
    made = record_of(client)
    return Record(made.kind, made.id, made.value, expires=expires)
