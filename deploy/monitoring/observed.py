"""What waits in the store: audit records, notifications, analyses, reports on their way, jobs.

Every process with the store tells the same figures, so that they are there when one of them is
not; whoever adds them up takes the largest.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fhir_server.audit.event import audit_event
from fhir_server.fhir.assessment import ASSESSMENT, TASK_CODES
from fhir_server.rest.jobs import WORK
from fhir_server.search.conditional import parse_condition
from fhir_server.search.expression import Query, SortKey
from fhir_server.search.plan import Scope
from fhir_server.storage.port import Past, ResourceStore
from fhir_server.subscriptions.state import DELIVERY
from smart_app.launch.own_scopes import SENDING

JOBS: Mapping[str, str] = {"analysis": ASSESSMENT["code"], "report-to-ehr": SENDING}
"""What a Task asks for, as metrics call it → its code."""
STATUSES = ("requested", "in-progress")
COUNTED_TO = 1000
"""Records are counted up to this many."""
LOOK_SECONDS = 10.0
_PATIENCE_SECONDS = 5.0
_log = structlog.get_logger("medsage.monitoring")


@dataclass(frozen=True)
class Waiting:
    """How many wait, and how long the oldest has (0.0 when none waits)."""

    count: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Observed:
    """The store as it was `at` a moment; `newest` is when its latest version was committed."""

    at: datetime
    newest: datetime | None
    audit: Waiting
    deliveries: Waiting
    jobs: Waiting
    tasks: Mapping[tuple[str, str], Waiting]


@dataclass(eq=False)
class StoreObserver(Collector):
    """Looks at most every LOOK_SECONDS, and never twice at a time; `last` is None while the store
    can't be asked."""

    store: ResourceStore
    scope: Callable[[], Scope]
    clock: Callable[[], datetime]
    last: Observed | None = field(default=None, init=False)
    _looked: datetime | None = field(default=None, init=False)
    _looking: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def refresh(self) -> None:
        """Look again, unless that was done a moment ago; a failure is logged and shows as such."""
        async with self._looking:
            now = self.clock()
            if self._looked is not None and now - self._looked < timedelta(seconds=LOOK_SECONDS):
                return
            self._looked = now
            try:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    self.last = await self._observe(now)
            except Exception as failure:  # whatever it is, nothing is known now
                self.last = None
                _log.warning("the store could not be observed", error=type(failure).__name__)

    async def _observe(self, now: datetime) -> Observed:
        newest = (await self.store.history(Past(limit=1))).versions
        return Observed(
            at=now,
            newest=newest[0].updated if newest else None,
            audit=await self._audit(now),
            deliveries=await self._deliveries(now),
            jobs=Waiting(len(await self.store.records(WORK, limit=COUNTED_TO))),
            tasks={
                (job, status): await self._tasks(code, status, now)
                for job, code in JOBS.items()
                for status in STATUSES
            },
        )

    async def _audit(self, now: datetime) -> Waiting:
        waiting = await self.store.journal(COUNTED_TO)
        if not waiting:
            return Waiting()
        recorded = datetime.fromisoformat(audit_event(waiting[0].entry)["recorded"])
        return Waiting(len(waiting), _seconds(now, recorded))

    async def _deliveries(self, now: datetime) -> Waiting:
        waiting = await self.store.records(DELIVERY, limit=COUNTED_TO)
        # What an older program left waiting does not say since when.
        since = min((each.value.get("since", now.timestamp()) for each in waiting), default=None)
        age = 0.0 if since is None else max(0.0, now.timestamp() - since)
        return Waiting(len(waiting), age)

    async def _tasks(self, code: str, status: str, now: datetime) -> Waiting:
        criteria = [("code", f"{TASK_CODES}|{code}"), ("status", status)]
        test = parse_condition(self.scope(), "Task", criteria).where
        count = await self.store.count(Query("Task", test))
        if not count:
            return Waiting()
        oldest = Query("Task", test, sort=(SortKey("Task._lastUpdated"),), limit=1)
        matches = (await self.store.find(oldest)).matches
        return Waiting(count, _seconds(now, matches[0].updated) if matches else 0.0)

    def collect(self) -> Iterator[Metric]:
        """What was seen; while nothing is known, that alone."""
        known = GaugeMetricFamily(
            "medsage_store_observed", "Whether the store could be asked what waits in it"
        )
        known.add_metric((), float(self.last is not None))
        yield known
        if self.last is not None:
            yield from _families(self.last)


def _families(seen: Observed) -> Iterator[Metric]:
    if seen.newest is not None:
        yield GaugeMetricFamily(
            "medsage_store_newest_timestamp_seconds",
            "When the newest version in the store was committed",
            seen.newest.timestamp(),
        )
    for name, what, waiting in (
        ("audit", "audit records that are not sealed", seen.audit),
        ("subscription", "notifications that are not delivered", seen.deliveries),
    ):
        yield GaugeMetricFamily(f"medsage_{name}_waiting", f"Number of {what}", waiting.count)
        yield GaugeMetricFamily(
            f"medsage_{name}_waiting_seconds", f"Age of the oldest of {what}", waiting.seconds
        )
    yield GaugeMetricFamily(
        "medsage_async_jobs_waiting", "Requests to be answered later", seen.jobs.count
    )
    count = GaugeMetricFamily(
        "medsage_tasks_waiting", "Tasks that are not ended", labels=("job", "status")
    )
    age = GaugeMetricFamily(
        "medsage_tasks_waiting_seconds",
        "Time since the oldest of them took its status",
        labels=("job", "status"),
    )
    for labels, waiting in seen.tasks.items():
        count.add_metric(labels, waiting.count)
        age.add_metric(labels, waiting.seconds)
    yield count
    yield age


def _seconds(now: datetime, since: datetime) -> float:
    return max(0.0, (now - since).total_seconds())
