"""A store that says how long it takes, how it fails, and how many wait for it.

| pool | of the embedded store | of MongoDB |
|---|---|---|
| `read`, `write` | its reading threads, its one writer (whose commits are shared) | |
| `connections` | | the driver's connections to the primary |
"""

import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fhir_server import spans
from fhir_server.fhir.outcome import FhirError
from fhir_server.search.expression import Query
from fhir_server.storage.port import (
    Change,
    Explanation,
    HistoryPage,
    JournalEntry,
    Key,
    Page,
    Past,
    Record,
    Stored,
    StoreUnavailable,
    T,
    Unit,
    VersionConflict,
)
from fhir_server.storage.rotation import SealedStore
from fhir_server.tallies import Tally, Times

_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5, 30)
_CONNECTIONS = "connections"
_WRITES = frozenset({"transaction", "rehearse", "note", "check"})
OPERATIONS = _WRITES | {
    *("get", "get_many", "find", "count", "explain", "history", "current"),
    *("journal", "record", "records"),
}
_SPANS = {each: f"store {each}" for each in OPERATIONS}
_ATTRIBUTES = {each: {"db.operation.name": each} for each in OPERATIONS}
REASONS = frozenset({"conflict", "unavailable", "failed"})


class StoreMetrics(Collector):
    """What a process has asked of its store. `capacity` is how many of each pool work at once."""

    def __init__(self, registry: CollectorRegistry, capacity: Mapping[str, float]) -> None:
        self._capacity = dict(capacity)
        self._asked = dict.fromkeys(capacity, 0)
        self.seconds = Times(
            ("medsage_store_seconds", "Time of one operation of the store, waiting included"),
            ("operation",),
            _BUCKETS,
            registry,
        )
        self.failures = Tally(
            "medsage_store_failures",
            "Operations of the store that failed",
            ("operation", "reason"),
            registry,
        )
        for operation in OPERATIONS:
            # A rate needs the zero before the first failure.
            for reason in REASONS:
                self.failures.add((operation, reason), 0)
        registry.register(self)

    def begin(self, operation: str) -> str:
        """Somebody asks; the pool that is to answer."""
        pool = _CONNECTIONS
        if pool not in self._asked:
            pool = "write" if operation in _WRITES else "read"
        self._asked[pool] += 1
        return pool

    def end(self, pool: str) -> None:
        """They were answered."""
        self._asked[pool] -= 1

    def collect(self) -> Iterator[Metric]:
        """The pools as they are now."""
        limit = GaugeMetricFamily(
            "medsage_store_pool_limit", "So many work at once", labels=("pool",)
        )
        busy = GaugeMetricFamily("medsage_store_pool_busy", "So many work now", labels=("pool",))
        waiting = GaugeMetricFamily(
            "medsage_store_pool_waiting", "So many requests wait for one", labels=("pool",)
        )
        for pool, most in self._capacity.items():
            asked = self._asked[pool]
            limit.add_metric((pool,), most)
            busy.add_metric((pool,), min(asked, most))
            waiting.add_metric((pool,), max(0, asked - most))
        return iter((limit, busy, waiting))


class _Timed:
    """Times what is done within it, as a span of what asks; a refusal to the caller is no failure
    of the store."""

    __slots__ = ("_began", "_metrics", "_operation", "_pool", "_span")

    def __init__(self, metrics: StoreMetrics, operation: str) -> None:
        self._metrics = metrics
        self._operation = operation

    def __enter__(self) -> None:
        self._span = spans.within(
            _SPANS[self._operation], "client", attributes=_ATTRIBUTES[self._operation]
        )
        self._span.__enter__()
        self._pool = self._metrics.begin(self._operation)
        self._began = time.perf_counter()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._span.__exit__(kind, failure, trace)
        self._metrics.end(self._pool)
        self._metrics.seconds.observe((self._operation,), time.perf_counter() - self._began)
        if isinstance(failure, Exception) and not isinstance(failure, FhirError):
            self._metrics.failures.add((self._operation, _reason(failure)))


def _reason(failure: Exception) -> str:
    match failure:
        case VersionConflict():
            return "conflict"
        case StoreUnavailable() | TimeoutError():
            return "unavailable"
        case _:
            return "failed"


class MeasuredStore:
    """`SealedStore` over another one, whose operations are timed and counted."""

    def __init__(self, store: SealedStore, registry: CollectorRegistry) -> None:
        self._store = store
        self.capacity = store.capacity
        self.sealing = store.sealing
        self._metrics = StoreMetrics(registry, store.capacity)

    def _timed(self, operation: str) -> _Timed:
        return _Timed(self._metrics, operation)

    async def get(self, key: Key, version: int | None = None) -> Stored | None:
        with self._timed("get"):
            return await self._store.get(key, version)

    async def get_many(self, keys: Sequence[Key]) -> dict[Key, Stored]:
        with self._timed("get_many"):
            return await self._store.get_many(keys)

    async def find(self, query: Query) -> Page:
        with self._timed("find"):
            return await self._store.find(query)

    async def count(self, query: Query) -> int:
        with self._timed("count"):
            return await self._store.count(query)

    async def explain(self, query: Query) -> Explanation:
        with self._timed("explain"):
            return await self._store.explain(query)

    async def history(self, past: Past) -> HistoryPage:
        with self._timed("history"):
            return await self._store.history(past)

    async def current(
        self, after: Key | None, limit: int, since: datetime | None = None
    ) -> Sequence[Stored]:
        with self._timed("current"):
            return await self._store.current(after, limit, since)

    async def transaction(self, unit: Unit[T]) -> T:
        with self._timed("transaction"):
            return await self._store.transaction(unit)

    async def note(self, entry: bytes) -> None:
        with self._timed("note"):
            await self._store.note(entry)

    async def rehearse(self, unit: Unit[T]) -> T:
        with self._timed("rehearse"):
            return await self._store.rehearse(unit)

    def changes(self, after: str | None) -> AsyncIterator[Change]:
        # It waits for what comes, so that its time says nothing.
        return self._store.changes(after)

    async def journal(self, limit: int, *, newest_first: bool = False) -> Sequence[JournalEntry]:
        with self._timed("journal"):
            return await self._store.journal(limit, newest_first=newest_first)

    async def record(self, kind: str, id: str) -> Record | None:
        with self._timed("record"):
            return await self._store.record(kind, id)

    async def records(
        self, kind: str, prefix: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[Record]:
        with self._timed("records"):
            return await self._store.records(kind, prefix, after, limit)

    async def check(self) -> None:
        with self._timed("check"):
            await self._store.check()

    async def close(self) -> None:
        await self._store.close()
