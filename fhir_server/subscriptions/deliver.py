"""Delivery by rest-hook: an empty POST for each event, in order, at least once.

A failed attempt waits twice as long as the one before, up to `Pace.longest_wait_seconds`; when
the oldest event of a Subscription has failed for `give_up_seconds`, the Subscription is set to
`error` with the reason. Asking for it again (status `requested`) resumes where it stopped.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, replace

import httpx
import structlog

from fhir_server import spans
from fhir_server.fhir.codec import parse
from fhir_server.security.endpoints import OutOfReach
from fhir_server.storage.port import Key, Record, Stored, Transaction, VersionConflict
from fhir_server.subscriptions.criteria import UnusableSubscription, Watch, watch_of
from fhir_server.subscriptions.state import DELIVERY, STATE, FollowerParts, set_status

SUBSCRIPTION_HEADER = "X-Subscription"
EVENT_HEADER = "X-Event-Number"
_BATCH = 100
_PAGE = 1000
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
    """Sends what waits until cancelled; `wake` after deliveries were added. `ways` gives the client
    by which an endpoint is reached, which raises OutOfReach where nothing may be sent."""

    def __init__(
        self,
        parts: FollowerParts,
        ways: Callable[[str], httpx.AsyncClient],
        pace: Pace | None = None,
    ) -> None:
        self._parts = parts
        self._ways = ways
        self._pace = pace or Pace()
        self._woken = asyncio.Event()
        self._busy: set[str] = set()
        self._again: set[str] = set()

    def wake(self) -> None:
        """There may be something to send."""
        self._woken.set()

    async def run(self) -> None:
        """Each Subscription is served by itself, so that a slow endpoint delays no other."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._woken.clear()
                try:
                    async for id_ in self._subscriptions():
                        self._begin(group, id_)
                except Exception as failure:  # delivery must outlive any one failure
                    _log.error("delivery failed", error=type(failure).__name__)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), self._pace.idle_seconds)

    def _begin(self, group: asyncio.TaskGroup, id_: str) -> None:
        if id_ in self._busy:
            self._again.add(id_)
            return
        self._busy.add(id_)
        group.create_task(self._serve(id_))

    async def deliver_once(self) -> int:
        """Attempt every delivery that is due, once; how many got through."""
        found = [id_ async for id_ in self._subscriptions()]
        return sum(await asyncio.gather(*(self._deliver_in_order(id_) for id_ in found)))

    async def _subscriptions(self) -> AsyncIterator[str]:
        """The ids of the Subscriptions that ever had an event."""
        after: str | None = ""
        while after is not None:
            page = await self._parts.store.records(STATE, after=after, limit=_PAGE)
            for state in page:
                yield state.id
            after = page[-1].id if len(page) == _PAGE else None

    async def _serve(self, id_: str) -> None:
        sent = 0
        try:
            sent = await self._deliver_in_order(id_)
        except Exception as failure:
            _log.error("delivery failed", subscription=id_, error=type(failure).__name__)
        self._busy.discard(id_)
        if sent or id_ in self._again:
            self._again.discard(id_)
            self._woken.set()  # there may be more of the same

    async def _deliver_in_order(self, id_: str) -> int:
        """The events of one Subscription, oldest first, up to the first that has to wait."""
        stored = await self._parts.store.get(Key("Subscription", id_))
        if stored is None or stored.is_deleted:
            await self._forget(id_)
            return 0
        waiting = await self._parts.store.records(DELIVERY, f"{id_}/", limit=_BATCH)
        watch = self._watch(stored) if waiting else None
        if watch is None:
            return 0
        for sent, delivery in enumerate(waiting):
            if delivery.value["next"] > self._now():
                return sent
            problem = await self._attempt_if_seen(watch, delivery)
            if problem is not None:
                await self._postpone(stored, delivery, problem)
                return sent
            await self._drop(DELIVERY, delivery.id)
        return len(waiting)

    def _watch(self, stored: Stored) -> Watch | None:
        """The Subscription in force; None while it is off or in error."""
        resource = parse(stored.body)
        if resource.get("status") != "active":
            return None
        try:
            return watch_of(resource, self._parts.scope)
        except UnusableSubscription:
            return None

    async def _forget(self, id_: str) -> None:
        """What waits for a Subscription that was deleted is dropped."""
        while waiting := await self._parts.store.records(DELIVERY, f"{id_}/", limit=_BATCH):
            for delivery in waiting:
                await self._drop(DELIVERY, delivery.id)
        await self._drop(STATE, id_)

    async def _attempt_if_seen(self, watch: Watch, delivery: Record) -> str | None:
        """`_attempt`, unless its owner may not see any more what it is about."""
        type_, _, id_ = delivery.value["focus"].partition("/")
        if not await self._parts.owners.may_see_now(watch.id, Key(type_, id_)):
            return None
        with spans.span("subscription delivery", "producer") as span:
            problem = await self._attempt(watch, delivery.value["number"])
            span.note("medsage.delivered", problem is None)
        self._parts.metrics.attempted(problem)
        # What an older program left waiting does not say since when.
        if problem is None and "since" in delivery.value:
            self._parts.metrics.delivery_seconds.observe(self._now() - delivery.value["since"])
        return problem

    async def _attempt(self, watch: Watch, number: int) -> str | None:
        """Send one event; what went wrong, None when it was taken."""
        headers = {SUBSCRIPTION_HEADER: watch.id, EVENT_HEADER: str(number)}
        try:
            async with (
                asyncio.timeout(self._pace.attempt_seconds),
                # The answer's body is not read: it may be anything, and without an end.
                self._ways(watch.endpoint).stream(
                    "POST", watch.endpoint, headers={**watch.headers, **headers}
                ) as response,
            ):
                taken, status = response.is_success, response.status_code
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as failure:
            return type(failure).__name__
        except OutOfReach as refusal:
            return str(refusal)
        return None if taken else f"HTTP {status}"

    async def _drop(self, kind: str, id_: str) -> None:
        await self._parts.store.transaction(
            lambda transaction: transaction.delete_record(kind, id_)
        )

    async def _postpone(self, stored: Stored, delivery: Record, problem: str) -> None:
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

        try:
            await self._parts.store.transaction(unit)
        except VersionConflict:
            return  # another deliverer had it meanwhile
        id_, number = stored.key.id, value["number"]
        _log.warning("not delivered", subscription=id_, number=number, why=problem)
        if now - first >= self._pace.give_up_seconds:
            reason = f"event {number} could not be delivered: {problem}"
            await set_status(self._parts, stored, "error", reason)

    def _now(self) -> float:
        return self._parts.clock().timestamp()
