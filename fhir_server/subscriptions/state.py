"""The status of Subscriptions as the server sets it, and the records that are kept for each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from fhir_server.audit.journal import AuditTrail
from fhir_server.fhir.codec import encode, parse
from fhir_server.interactions.write import Submission, draft, put
from fhir_server.search.plan import Scope
from fhir_server.security.endpoints import ANYWHERE, Endpoints
from fhir_server.storage.port import ResourceStore, Stored, Terms, Transaction
from fhir_server.subscriptions.metrics import SubscriptionMetrics
from fhir_server.subscriptions.owners import Owners

Resource = dict[str, Any]

DELIVERY, STATE = "delivery", "subscription-state"
NOT_TRIED: Mapping[str, Any] = {"attempts": 0, "first": None, "next": 0.0}
"""What a delivery record says before its first attempt: attempts so far, the time of the first,
and the time from which the next may be made (seconds since 1970)."""


@dataclass(frozen=True)
class FollowerParts:
    """What the follower and the deliverer are made of; `scope()` is what criteria are planned
    in, `audit` records what the server does to Subscriptions in its own name, `owners` know who
    may be told what, `endpoints` where."""

    store: ResourceStore
    extract: Callable[[Resource], Terms]
    scope: Callable[[], Scope]
    clock: Callable[[], datetime]
    audit: AuditTrail
    owners: Owners
    tenant: None = None
    writer: None = None
    metrics: SubscriptionMetrics = field(default_factory=SubscriptionMetrics)
    endpoints: Endpoints = ANYWHERE


def delivery_id(subscription: str, number: int) -> str:
    """Record ids that sort by number within a Subscription."""
    return f"{subscription}/{number:012d}"


async def set_status(
    parts: FollowerParts, judged: Stored, status: str, error: str | None = None
) -> None:
    """The server's own update of a Subscription, with its audit record. Nothing happens when
    `judged` is no longer the current version: the newer one is judged by itself."""

    async def unit(transaction: Transaction) -> None:
        await _update(parts, transaction, judged, _with_status(judged, status, error))

    await parts.store.transaction(unit)


async def activate(parts: FollowerParts, requested: Stored) -> None:
    """Set a requested Subscription to `active`; what waits for it since before is tried at once
    and has its whole time again."""
    waiting = await parts.store.records(DELIVERY, f"{requested.key.id}/", limit=1)

    async def unit(transaction: Transaction) -> None:
        # Deliveries go out in order, so that none but the oldest was ever tried.
        for oldest in waiting:
            again = replace(oldest, value={**oldest.value, **NOT_TRIED})
            await transaction.put_record(again, oldest.revision)
        await _update(parts, transaction, requested, _with_status(requested, "active", None))

    await parts.store.transaction(unit)


def _with_status(judged: Stored, status: str, error: str | None) -> Resource:
    others = {name: value for name, value in parse(judged.body).items() if name != "error"}
    return others | {"status": status} | ({"error": error} if error else {})


async def _update(
    parts: FollowerParts, transaction: Transaction, judged: Stored, wanted: Resource
) -> None:
    current = await transaction.get(judged.key)
    if current is None or current.version != judged.version:
        return
    submission = Submission(judged.key, wanted, encode(wanted), "PUT")
    made = draft(parts, submission, current)
    await put(transaction, made)
    entry = parts.audit.entry(
        interaction="update",
        outcome="success",
        status=200,
        key=judged.key,
        version=made.stored.version,
    )
    await transaction.journal(entry)
