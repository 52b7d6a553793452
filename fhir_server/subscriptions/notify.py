"""From the change feed to deliveries that wait, numbered for each Subscription.

The position in the feed is stored with what a change caused, so a crash repeats a step and
loses none. Of several followers the first to store a step wins; the others begin again there.
"""

import asyncio
from collections.abc import Callable

import structlog

from fhir_server.fhir.codec import parse
from fhir_server.search.expression import Query
from fhir_server.search.registry import Registry
from fhir_server.security.endpoints import OutOfReach
from fhir_server.storage.port import (
    Change,
    Key,
    Record,
    Stored,
    Transaction,
    VersionConflict,
)
from fhir_server.subscriptions.criteria import UnusableSubscription, Watch, watch_of
from fhir_server.subscriptions.owners import NOT_KNOWN
from fhir_server.subscriptions.state import (
    DELIVERY,
    NOT_TRIED,
    STATE,
    FollowerParts,
    activate,
    delivery_id,
    set_status,
)

POSITION, FOLLOWER = "position", "subscriptions"
QUIET_CHANGES = 200
"""After so many changes that nobody is told of, the position is stored all the same."""

_PAGE = 200
_REST_SECONDS = 1.0
_log = structlog.get_logger("medsage.subscriptions")


class Follower:
    """Follows the feed; `on_delivery` is called after deliveries were added."""

    def __init__(self, parts: FollowerParts, on_delivery: Callable[[], None]) -> None:
        self._parts = parts
        self._on_delivery = on_delivery
        self._watches: dict[str, Watch] = {}
        self._registry: Registry | None = None
        self._revision = 0
        self._unstored = 0

    async def run(self) -> None:
        """Follow until cancelled; a failure is logged and the feed resumed."""
        while True:
            try:
                await self.follow()
            except VersionConflict:
                _log.info("another follower was first")
            except Exception as failure:  # the feed must outlive any one failure
                self._parts.metrics.follow_failures.inc()
                _log.error("following the feed failed", error=type(failure).__name__)
            await asyncio.sleep(_REST_SECONDS)

    async def follow(self) -> None:
        """Follow from the stored position until something fails; VersionConflict when another
        follower was first."""
        store = self._parts.store
        position = await store.record(POSITION, FOLLOWER)
        self._revision = position.revision if position else 0
        self._unstored = 0
        await self._load()
        async for change in store.changes(position.value["after"] if position else None):
            await self._step(change)

    async def _load(self) -> None:
        """The Subscriptions of now: the ones in force, and the ones that wait to be."""
        self._watches.clear()
        self._registry = self._parts.scope().registry
        query: Query | None = Query("Subscription", limit=_PAGE)
        while query is not None:
            page = await self._parts.store.find(query)
            for stored in page.matches:
                await self._meet(stored)
            query = Query("Subscription", limit=_PAGE, after=page.next) if page.next else None

    async def _step(self, change: Change) -> None:
        stored = change.stored
        if self._parts.scope().registry is not self._registry:
            # What criteria mean has changed.
            await self._load()
        if stored.key.type == "Subscription":
            current = await self._parts.store.get(stored.key)
            if current is not None:
                await self._meet(current)
        await self._retire_ended()
        matching = await self._matching(stored)
        self._unstored += 1
        if matching or self._unstored >= QUIET_CHANGES:
            await self._store_step(change, matching)
        self._parts.metrics.followed(stored.updated)

    async def _matching(self, stored: Stored) -> list[Watch]:
        """The watches that a version passes and whose owners may see it. Deletions are not told:
        R4 has no such event."""
        watches = [watch for watch in self._watches.values() if watch.type == stored.key.type]
        if not watches or stored.is_deleted:
            return []
        terms = self._parts.extract(parse(stored.body))
        matching = [watch for watch in watches if watch.matches(terms)]
        owners = self._parts.owners
        return [watch for watch in matching if await owners.may_see(watch.id, stored)]

    async def _retire_ended(self) -> None:
        """R4: a Subscription is turned off when its `end` is reached."""
        now = self._parts.clock()
        for watch in [each for each in self._watches.values() if each.has_ended(now)]:
            current = await self._parts.store.get(Key("Subscription", watch.id))
            if current is not None:
                await self._meet(current)

    async def _store_step(self, change: Change, matching: list[Watch]) -> None:
        """The position and the numbered deliveries, in one commit."""

        async def unit(transaction: Transaction) -> None:
            step = Record(POSITION, FOLLOWER, {"after": change.position})
            await transaction.put_record(step, self._revision)
            for watch in matching:
                await _add_delivery(transaction, watch, change.stored)

        await self._parts.store.transaction(unit)
        self._revision += 1
        self._unstored = 0
        if matching:
            self._on_delivery()

    async def _meet(self, stored: Stored) -> None:
        """Take a Subscription's current version into account: activate it when requested."""
        self._watches.pop(stored.key.id, None)
        if stored.is_deleted:
            return
        resource = parse(stored.body)
        if resource.get("status") not in ("requested", "active"):
            return
        try:
            watch = watch_of(resource, self._parts.scope)
            if resource["status"] == "requested":
                await self._parts.endpoints.require(watch.endpoint)
        except (UnusableSubscription, OutOfReach) as reason:
            await set_status(self._parts, stored, "error", str(reason))
            return
        if watch.has_ended(self._parts.clock()):
            await set_status(self._parts, stored, "off")
            return
        if not await self._parts.owners.is_known(watch.id):
            await set_status(self._parts, stored, "error", NOT_KNOWN)
            return
        self._watches[watch.id] = watch
        if resource["status"] == "requested":
            await activate(self._parts, stored)


async def _add_delivery(transaction: Transaction, watch: Watch, stored: Stored) -> None:
    state = await transaction.record(STATE, watch.id)
    number = (state.value["events"] if state else 0) + 1
    await transaction.put_record(Record(STATE, watch.id, {"events": number}))
    delivery = {
        "subscription": watch.id,
        "number": number,
        "focus": str(stored.key),
        "version": stored.version,
        "since": stored.updated.timestamp(),
        **NOT_TRIED,
    }
    await transaction.put_record(Record(DELIVERY, delivery_id(watch.id, number), delivery), 0)
