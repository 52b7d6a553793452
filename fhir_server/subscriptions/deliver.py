"""Delivery by rest-hook: an empty POST for each event, in order, at least once.

A failed attempt waits twice as long as the one before, up to `Pace.longest_wait_seconds`; when
the oldest event of a Subscription has failed for `give_up_seconds`, the Subscription is set to
`error` with the reason. Asking for it again (status `requested`) resumes where it stopped.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby

import httpx
import structlog

from fhir_server.fhir.codec import parse
from fhir_server.storage.port import Key, Record, Transaction, VersionConflict
from fhir_server.subscriptions.criteria import UnusableSubscription, Watch, watch_of
from fhir_server.subscriptions.notify import DELIVERY, FollowerParts, set_status

SUBSCRIPTION_HEADER = "X-Subscription"
EVENT_HEADER = "X-Event-Number"
_log = structlog.get_logger("medsage.subscriptions")


@dataclass(frozen=True)
class Pace:
    """How long an attempt may take, how long failures are retried, in seconds."""

    attempt_seconds: float = 10.0
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 900.0
    give_up_seconds: float = 24 * 3600.0
    idle_seconds: float = 2.0


class Deliverer:
    """Sends what waits until cancelled; `wake` after deliveries were added."""

    def __init__(
        self, parts: FollowerParts, http: httpx.AsyncClient, pace: Pace | None = None
    ) -> None:
        self._parts = parts
        self._http = http
        self._pace = pace or Pace()
        self._woken = asyncio.Event()

    def wake(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        while True:
            self._woken.clear()
            try:
                sent = await self.deliver_once()
            except Exception as failure:  # delivery must outlive any one failure
                _log.error("delivery failed", error=type(failure).__name__)
                sent = 0
            if not sent:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), self._pace.idle_seconds)

    async def deliver_once(self) -> int:
        """Attempt every delivery that is due, Subscriptions side by side; how many got through."""
        waiting = await self._parts.store.records(DELIVERY)
        groups = [
            list(group)
            for _, group in groupby(waiting, key=lambda each: each.value["subscription"])
        ]
        return sum(await asyncio.gather(*(self._deliver_in_order(group) for group in groups)))

    async def _deliver_in_order(self, deliveries: Sequence[Record]) -> int:
        """The events of one Subscription, oldest first, up to the first that has to wait."""
        watch = await self._watch(deliveries[0].value["subscription"])
        if watch is None:
            return 0
        for sent, delivery in enumerate(deliveries):
            if delivery.value["next"] > self._now() or not await self._attempt(watch, delivery):
                return sent
        return len(deliveries)

    async def _watch(self, id_: str) -> Watch | None:
        """The Subscription in force; None while it is off or in error. What waits for one that
        was deleted is dropped."""
        stored = await self._parts.store.get(Key("Subscription", id_))
        if stored is None or stored.is_deleted:
            for delivery in await self._parts.store.records(DELIVERY, f"{id_}/"):
                await self._drop(delivery)
            return None
        resource = parse(stored.body)
        if resource["status"] != "active":
            return None
        try:
            return watch_of(resource, self._parts.scope)
        except UnusableSubscription:
            return None

    async def _attempt(self, watch: Watch, delivery: Record) -> bool:
        number = {SUBSCRIPTION_HEADER: watch.id, EVENT_HEADER: str(delivery.value["number"])}
        try:
            response = await self._http.post(
                watch.endpoint,
                headers={**watch.headers, **number},
                timeout=self._pace.attempt_seconds,
            )
            problem = None if response.is_success else f"HTTP {response.status_code}"
        except httpx.HTTPError as failure:
            problem = type(failure).__name__
        if problem is None:
            await self._drop(delivery)
            return True
        await self._postpone(watch, delivery, problem)
        return False

    async def _drop(self, delivery: Record) -> None:
        await self._parts.store.transaction(
            lambda transaction: transaction.delete_record(DELIVERY, delivery.id)
        )

    async def _postpone(self, watch: Watch, delivery: Record, problem: str) -> None:
        now = self._now()
        value = delivery.value
        first = value["first"] or now
        wait = min(
            self._pace.first_wait_seconds * 2 ** min(value["attempts"], 30),
            self._pace.longest_wait_seconds,
        )
        later = replace(
            delivery,
            value={**value, "attempts": value["attempts"] + 1, "first": first, "next": now + wait},
        )

        async def unit(transaction: Transaction) -> None:
            await transaction.put_record(later, delivery.revision)

        with suppress(VersionConflict):  # another deliverer had it meanwhile
            await self._parts.store.transaction(unit)
        _log.warning("not delivered", subscription=watch.id, event=value["number"], why=problem)
        if now - first >= self._pace.give_up_seconds:
            reason = f"event {value['number']} could not be delivered: {problem}"
            await set_status(self._parts, Key("Subscription", watch.id), "error", reason)

    def _now(self) -> float:
        return self._parts.clock().timestamp()
