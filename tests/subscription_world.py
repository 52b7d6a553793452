"""Subscriptions on a real FHIR server: a follower and a deliverer that tests drive by the step."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from fhir_server.app import ITSELF
from fhir_server.audit.journal import AuditTrail
from fhir_server.search.live import Known
from fhir_server.search.plan import Scope
from fhir_server.security.endpoints import ANYWHERE, Endpoints
from fhir_server.security.rulebook import Rulebook
from fhir_server.storage.port import Change, Record, ResourceStore
from fhir_server.subscriptions.deliver import EVENT_HEADER, SUBSCRIPTION_HEADER, Deliverer, Pace
from fhir_server.subscriptions.notify import Follower
from fhir_server.subscriptions.owners import Owners
from fhir_server.subscriptions.state import DELIVERY, FollowerParts
from fhir_server.system import new_id
from tests.fhir_world import BASE, Json, World, extract, fhir_world, registry

ENDPOINT = "http://hook.example/told"
CRITERIA = "Task?code=analyse&status=requested"


class Killed(BaseException):
    """The end of a process, as far as a test can make one."""


class Seen:
    """A store as the follower or deliverer sees it: its feed ends at the version of `until`,
    its units are counted, and the process dies at unit `dies_at`, before or after its commit."""

    def __init__(
        self,
        store: ResourceStore,
        until: str | None = None,
        dies_at: int = 0,
        *,
        is_after_commit: bool = False,
    ) -> None:
        self._store = store
        self._until = until
        self._dies_at = dies_at
        self._is_after_commit = is_after_commit
        self.units = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def changes(self, after: str | None) -> AsyncIterator[Change]:
        """The real feed, up to the marker."""
        async for change in self._store.changes(after):
            yield change
            if str(change.stored.key) == self._until:
                return

    async def transaction(self, unit: Any) -> Any:
        """The real unit, unless the process dies first."""
        self.units += 1
        if self.units == self._dies_at and not self._is_after_commit:
            raise Killed
        result = await self._store.transaction(unit)
        if self.units == self._dies_at:
            raise Killed
        return result


@dataclass
class Hook:
    """The endpoint: what it was told, as (Subscription id, event number); `answer` is a status,
    or an exception that is raised instead."""

    told: list[tuple[str, int]] = field(default_factory=list)
    requests: list[httpx.Request] = field(default_factory=list)
    answer: int | Exception = 200
    hangs: str | None = None
    """The path whose callers wait in vain."""

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == self.hangs:
            await asyncio.Event().wait()
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer < 300:
            headers = request.headers
            self.told.append((headers[SUBSCRIPTION_HEADER], int(headers[EVENT_HEADER])))
        return httpx.Response(self.answer)

    @property
    def numbers(self) -> list[int]:
        """The event numbers in the order in which they came."""
        return [number for _, number in self.told]


@dataclass
class Subscribed:
    """A FHIR server, an endpoint, and what works between them."""

    world: World
    hook: Hook
    http: httpx.AsyncClient
    pace: Pace = field(default_factory=Pace)
    endpoints: Endpoints = ANYWHERE

    def parts(self, store: Any = None) -> FollowerParts:
        """What a follower is made of, over another view of the store if one is given."""
        clock = self.world.clock
        return FollowerParts(
            store=store or self.world.store,
            extract=extract(),
            scope=lambda: Scope(registry(), clock(), BASE),
            clock=clock,
            audit=AuditTrail(ITSELF, clock, new_id, BASE),
            owners=Owners(
                self.world.store,
                lambda: Known(registry(), extract(), registry()),
                Rulebook(self.world.store, clock),
            ),
            endpoints=self.endpoints,
        )

    async def follow(self, **death: Any) -> Seen:
        """A follower from the stored position to now."""
        marker = await self.world.create({"resourceType": "Basic", "code": {"text": "marker"}})
        seen = Seen(self.world.store, f"Basic/{marker}", **death)
        await Follower(self.parts(seen), lambda: None).follow()
        return seen

    async def deliver(self, **death: Any) -> int:
        """One round of a deliverer; how many got through."""
        seen = Seen(self.world.store, **death)
        return await Deliverer(self.parts(seen), lambda _: self.http, self.pace).deliver_once()

    async def waiting(self) -> list[Record]:
        """The deliveries that wait."""
        return list(await self.world.store.records(DELIVERY))

    async def subscribe(self, **changes: Any) -> str:
        """The id of a Subscription that is in force."""
        id_ = await self.world.create(subscription(**changes))
        await self.follow()
        assert (await self.read(id_))["status"] == "active"
        return id_

    async def read(self, id_: str) -> Json:
        """The Subscription as it is now."""
        found: Json = (await self.world.get(f"/Subscription/{id_}")).json()
        return found


@asynccontextmanager
async def subscribed(folder: Path) -> AsyncIterator[Subscribed]:
    """A world with an empty store in `folder`."""
    hook = Hook()
    async with (
        fhir_world(folder) as world,
        httpx.AsyncClient(transport=httpx.MockTransport(hook)) as http,
    ):
        yield Subscribed(world, hook, http)


def subscription(channel: Json | None = None, **changes: Any) -> Json:
    """A rest-hook Subscription that can be served."""
    return {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "test",
        "criteria": CRITERIA,
        "channel": {"type": "rest-hook", "endpoint": ENDPOINT, **(channel or {})},
    } | changes


def task(**changes: Any) -> Json:
    """A Task that CRITERIA ask for."""
    return {
        "resourceType": "Task",
        "status": "requested",
        "intent": "order",
        "code": {"coding": [{"system": "http://codes.example", "code": "analyse"}]},
    } | changes


async def eventually(test: Callable[[], Awaitable[bool] | bool], seconds: float = 30.0) -> None:
    """Wait until `test` holds."""
    async with asyncio.timeout(seconds):
        while True:
            found = test()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.02)
