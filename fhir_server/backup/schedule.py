"""Backups by themselves: made at an interval behind the requests, counted, and taken away when they
are old enough."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from fhir_server.backup.catalogue import Catalogue, catalogue
from fhir_server.backup.create import Source, create, identity
from fhir_server.backup.manifest import Manifest
from fhir_server.backup.problems import BackupFailed
from fhir_server.backup.prune import Retention, prune
from fhir_server.backup.seals import SealKeys
from fhir_server.backup.target import Target
from fhir_server.storage.port import Record, Transaction, VersionConflict
from fhir_server.storage.snapshot import OWN

TURN = "turn"
TURN_TIME = timedelta(hours=1)
"""So long no other worker begins a backup, should this one die in the middle of it."""
RETRY_SECONDS = 60.0
ALLOWED_SKEW = timedelta(minutes=1)
"""So far the clocks of two workers may be apart."""
LOOK_SECONDS = 600.0
"""So often the target is looked at for backups that others made."""
_log = structlog.get_logger("medsage.backup")


class BackupMetrics:
    """What Prometheus is told; nothing of it is about a patient."""

    def __init__(self, registry: CollectorRegistry, every: timedelta) -> None:
        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"medsage_backup_{name}", text, registry=registry)

        self._time = gauge("last_success_timestamp_seconds", "Moment of the last good backup")
        self._bytes = gauge("last_bytes", "Size of the last good backup")
        self._seconds = gauge("last_seconds", "Time that the last good backup took")
        self._failures = Counter(
            "medsage_backup_failures", "Backups that were not made", registry=registry
        )
        gauge("interval_seconds", "Time between two backups as set").set(every.total_seconds())

    def made(self, manifest: Manifest) -> None:
        """Note the newest backup."""
        self._time.set(manifest.cut.moment.timestamp())
        self._bytes.set(manifest.bytes)
        self._seconds.set(manifest.seconds)

    def failed(self) -> None:
        """Count one that was not made."""
        self._failures.inc()


@dataclass(frozen=True)
class Plan:
    """A backup `every` so often, a full one `full_after` the last, and which of them are kept."""

    every: timedelta
    full_after: timedelta
    retention: Retention


@dataclass(frozen=True)
class Schedule:
    """Makes the backups of one store. `noted` writes into the audit trail that one was made."""

    source: Source
    target: Target
    keys: SealKeys
    plan: Plan
    metrics: BackupMetrics
    noted: Callable[[Manifest], Awaitable[None]]

    async def run(self) -> None:
        """Make backups until cancelled; a failure is logged, counted and tried again."""
        while True:
            try:
                rest = await self.step()
            except Exception as failure:  # backups must outlive any one failure
                self.metrics.failed()
                reason = str(failure) if isinstance(failure, BackupFailed) else None
                _log.error("no backup was made", error=type(failure).__name__, reason=reason)
                rest = RETRY_SECONDS
            await asyncio.sleep(min(rest, LOOK_SECONDS))

    async def step(self) -> float:
        """Make a backup if it is time; how many seconds are left until the next."""
        store = await identity(self.source.store)
        due = self._due(await catalogue(self.target, self.keys), store)
        if due > 0:
            return due
        if not await self._has_turn():
            return RETRY_SECONDS
        started = time.monotonic()
        try:
            made = await create(
                self.source, self.target, self.keys, full_after=self.plan.full_after
            )
        finally:
            await self._end_turn()
        self.metrics.made(made.manifest)
        await self.noted(made.manifest)
        took = round(time.monotonic() - started, 1)
        _log.info("a backup was made", backup=made.manifest.backup, seconds=took)
        await self._prune()
        return self.plan.every.total_seconds()

    async def _prune(self) -> None:
        """Take older ones away; that it can't be done is no failure of the backup."""
        try:
            found = await catalogue(self.target, self.keys)
            gone = await prune(self.target, found, self.plan.retention, self.source.clock())
        except BackupFailed as problem:
            _log.warning("older backups were not taken away", reason=str(problem))
            return
        if gone:
            _log.info("older backups were taken away", count=len(gone))

    def _due(self, found: Catalogue, store: str) -> float:
        chain = found.last_whole(store)
        if not chain:
            return 0
        newest = chain[-1].manifest
        self.metrics.made(newest)
        age = self.source.clock() - newest.cut.moment
        if age < -ALLOWED_SKEW:
            return 0  # the clock was put back: that one tells nothing of how old it is
        return (self.plan.every - age).total_seconds()

    async def _has_turn(self) -> bool:
        """Of several workers one makes a backup."""
        ends = self.source.clock().astimezone(UTC) + TURN_TIME

        async def unit(transaction: Transaction) -> None:
            await transaction.put_record(Record(OWN, TURN, {}, expires=_whole(ends)), 0)

        try:
            await self.source.store.transaction(unit)
        except VersionConflict:
            return False
        return True

    async def _end_turn(self) -> None:
        await self.source.store.transaction(lambda unit: unit.delete_record(OWN, TURN))


def _whole(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)
