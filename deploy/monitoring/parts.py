"""Which processes there are: each one with the store leaves word of itself, which lapses unless it
is left again. The app has no store, and is asked where its browsers find it."""

import asyncio
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx
import structlog
from prometheus_client import CollectorRegistry

from deploy.health import Readiness
from fhir_server.storage.port import Record, ResourceStore

KIND = "process"
BEAT_SECONDS = 30.0
LAPSE_SECONDS = 3 * BEAT_SECONDS
BACKUP_SERIES = "medsage_backup_last_success_timestamp_seconds"
BACKUP_INTERVAL_SERIES = "medsage_backup_interval_seconds"
_ASK_SECONDS = 3.0
_log = structlog.get_logger("medsage.monitoring")


@dataclass(frozen=True)
class Part:
    """One process as it described itself: what in it does not work and why, when it began, and
    when the last good backup was made, where it knows (seconds since 1970); how often it makes
    one, where it does (seconds)."""

    role: str
    version: str
    host: str
    started: float
    seen: float
    problems: Mapping[str, str]
    backup: float | None = None
    backup_every: float | None = None


@dataclass(frozen=True)
class Beats:
    """Leaves word of this process in the store."""

    store: ResourceStore
    role: str
    version: str
    readiness: Readiness
    metrics: CollectorRegistry
    clock: Callable[[], datetime]
    started: datetime

    async def run(self) -> None:
        """Until cancelled; a failure is logged and tried again."""
        while True:
            try:
                await self.beat()
            except Exception as failure:  # the store may be away, and come back
                _log.warning("no word could be left", error=type(failure).__name__)
            await asyncio.sleep(BEAT_SECONDS)

    async def beat(self) -> None:
        """Once."""
        now, host = self.clock(), f"{socket.gethostname()}:{os.getpid()}"
        part = Part(
            self.role,
            self.version,
            host,
            self.started.timestamp(),
            now.timestamp(),
            dict(await self.readiness.problems()),
            self.metrics.get_sample_value(BACKUP_SERIES),
            self.metrics.get_sample_value(BACKUP_INTERVAL_SERIES),
        )
        expires = now + timedelta(seconds=LAPSE_SECONDS)
        word = Record(KIND, f"{self.role} {host}", asdict(part), expires=expires)
        await self.store.transaction(lambda transaction: transaction.put_record(word))


async def parts_of(store: ResourceStore) -> Sequence[Part]:
    """The processes that have left word of themselves lately, by role."""
    return [_part(record.value) for record in await store.records(KIND)]


def _part(value: Mapping[str, Any]) -> Part:
    return Part(**value)


async def app_problem(http: httpx.AsyncClient, base_url: str) -> str | None:
    """What is wrong with the app at its public address: the kind of failure, or its status."""
    try:
        answer = await http.get(f"{base_url}/app/jwks.json", timeout=_ASK_SECONDS)
    except httpx.HTTPError as failure:
        return type(failure).__name__
    return None if answer.is_success else f"HTTP {answer.status_code}"
