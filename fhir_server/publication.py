"""What the server itself defines, published as resources on it: at start, and only what changed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fhir_server.audit.journal import AuditTrail
from fhir_server.fhir.codec import encode, parse
from fhir_server.interactions.write import Submission, draft, put
from fhir_server.security.principal import Principal
from fhir_server.storage.port import (
    Key,
    ResourceStore,
    Stored,
    Terms,
    Transaction,
    VersionConflict,
)

Resource = dict[str, Any]

SERVER = Principal(
    subject="medsage",
    client_id="medsage",
    name="MedSAGE",
    roles=frozenset({"service"}),
    fhir_user=None,
    scopes="",
    patient=None,
    encounter=None,
    session=None,
)
"""Who the audit trail names for what the server does by itself."""


@dataclass(frozen=True)
class Publisher:
    """What publishing takes: the store, and what versions and audit records are made with."""

    store: ResourceStore
    extract: Callable[[Resource], Terms]
    clock: Callable[[], datetime]
    new_id: Callable[[], str]
    base_url: str
    tenant: None = None
    writer: None = None


async def publish(publisher: Publisher, resources: Sequence[Resource]) -> int:
    """Write those of `resources`, which are valid and have ids, that are absent or differ from
    what is stored; how many that were. One unit, and an audit record for each."""
    keys = [_key(resource) for resource in resources]
    stored = await publisher.store.get_many(keys)
    if all(_says(stored.get(_key(resource)), resource) for resource in resources):
        return 0

    async def unit(transaction: Transaction) -> int:
        written = [await _write(publisher, transaction, resource) for resource in resources]
        return sum(written)

    try:
        return await publisher.store.transaction(unit)
    except VersionConflict:
        # Another process that starts now was first; what it wrote is seen this time.
        return await publisher.store.transaction(unit)


async def _write(publisher: Publisher, transaction: Transaction, resource: Resource) -> bool:
    key = _key(resource)
    current = await transaction.get(key)
    if _says(current, resource):
        return False
    made = draft(publisher, Submission(key, resource, encode(resource), "PUT"), current)
    await put(transaction, made)
    trail = AuditTrail(SERVER, publisher.clock, publisher.new_id, publisher.base_url)
    is_created = current is None or current.is_deleted
    record = trail.entry(
        interaction="update",
        outcome="success",
        status=201 if is_created else 200,
        key=key,
        version=made.stored.version,
    )
    await transaction.journal(record)
    return True


def _key(resource: Resource) -> Key:
    return Key(resource["resourceType"], resource["id"])


def _says(stored: Stored | None, resource: Resource) -> bool:
    """Whether the stored version has just this content."""
    if stored is None or stored.is_deleted:
        return False
    return {name: value for name, value in parse(stored.body).items() if name != "meta"} == resource
