"""The SearchParameters of the store, and whether their index is whole: read at start, and again
whenever one was written. Every process does so for itself."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import structlog

from fhir_server.indexing.judged import all_definitions
from fhir_server.indexing.state import (
    INDEX,
    JOB,
    MARK,
    Job,
    Stage,
    forget,
    put_job,
    put_whole,
    read_job,
    read_whole,
)
from fhir_server.search.custom import in_effect
from fhir_server.search.fingerprint import digest, fingerprint
from fhir_server.search.live import LiveSearch
from fhir_server.search.registry import Row, full_url
from fhir_server.storage.port import ResourceStore, Transaction, VersionConflict

NOTICED_SECONDS = 1.0
"""How often a process looks whether definitions were changed."""

GRACE_SECONDS = 5.0
"""After so long every process has noticed; then resources are indexed anew."""

_log = structlog.get_logger("medsage.indexing")


@dataclass(frozen=True, slots=True)
class Status:
    """Whether the index is whole, and how far it has come; `pending` are the urls of the
    parameters that can't be searched by yet."""

    percent: int
    pending: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        return not self.pending


class Definitions:
    """Keeps `live` as the store says."""

    def __init__(
        self,
        store: ResourceStore,
        live: LiveSearch,
        now: Callable[[], float] = time.time,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._store = store
        self._live = live
        self._now = now
        self._grace = grace_seconds
        self._official = live.now.with_custom(())
        self._seen: int | None = None
        self._looking = asyncio.Lock()

    async def run(self) -> None:
        """Notice changes until cancelled; a failure is logged and tried again."""
        while True:
            await self.look()
            await asyncio.sleep(NOTICED_SECONDS)

    async def look(self) -> None:
        """`notice`, with a failure logged: the next look makes up for it."""
        try:
            await self.notice()
        except Exception as failure:  # looking must outlive any one failure
            _log.error("reading the search parameters failed", error=type(failure).__name__)

    async def notice(self) -> None:
        """Look at the definitions again if something changed since the last time."""
        async with self._looking:
            found = {each.id: each for each in await self._store.records(INDEX)}
            mark = found[MARK].revision if MARK in found else 0
            if self._seen != mark:
                await self._read()
            job = found.get(JOB)
            self._live.progress.percent = Job(**job.value).percent if job else 0
            self._seen = mark

    async def refresh(self) -> None:
        """Read the definitions; begin the indexing of what is new or changed."""
        async with self._looking:
            await self._read()

    async def status(self) -> Status:
        """How the index is now, as far as the store says."""
        await self.notice()
        return Status(self._live.progress.percent, tuple(sorted(self._live.now.pending)))

    async def behind(self) -> Status:
        """How the index is by the definitions of this program; nothing is begun, unlike with
        `refresh`."""
        _, target = await self._defined()
        whole, _ = await read_whole(self._store)
        job, _ = await read_job(self._store)
        pending = {full_url(url) for url in target if (whole or {}).get(url) != target[url]}
        return Status(job.percent if job else 0, tuple(sorted(pending)))

    async def forget(self, entry: bytes) -> Status:
        """Let everything be indexed anew, with the audit record of who wanted it."""

        async def unit(transaction: Transaction) -> None:
            await forget(transaction)
            await transaction.journal(entry)

        await self._store.transaction(unit)
        return await self.status()

    async def _defined(self) -> tuple[Mapping[str, Row], dict[str, str]]:
        """The SearchParameters of the store that are in effect, and the hashes of all."""
        resources = await all_definitions(self._store.find)
        custom = (await asyncio.to_thread(in_effect, resources, self._official)).rows
        return custom, fingerprint(self._official.with_custom(custom.values()))

    async def _read(self) -> None:
        custom, target = await self._defined()
        whole = await self._agreed(target)
        pending = {full_url(url) for url in target if whole.get(url) != target[url]}
        self._live.replace(custom, frozenset(pending))

    async def _agreed(self, target: Mapping[str, str]) -> dict[str, str]:
        """What is indexed; when that is not all, there is a job for the rest afterwards."""
        known, _ = await read_whole(self._store)
        is_empty = known is None and not await self._store.current(None, 1)

        async def unit(transaction: Transaction) -> dict[str, str]:
            whole, revision = await read_whole(transaction)
            if whole is None:
                left = dict(target) if is_empty else {}
            else:
                # What is gone or changed is not kept up: if it comes back it is indexed anew.
                left = {url: each for url, each in whole.items() if target.get(url) == each}
            if left != whole:
                await put_whole(transaction, left, revision)
            await self._require_job(transaction, digest(target), is_whole=left == target)
            return left

        try:
            return await self._store.transaction(unit)
        except VersionConflict:  # another process was first; see what it wrote
            return await self._store.transaction(unit)

    async def _require_job(self, unit: Transaction, target: str, *, is_whole: bool) -> None:
        job, revision = await read_job(unit)
        if job is not None and job.target == target and is_whole == (job.stage == Stage.LAST):
            return
        if not is_whole:
            await put_job(unit, Job(target, self._now() + self._grace), revision)
        elif job is not None and job.stage == Stage.LAST:
            # Other definitions, all of them indexed: what is left to look at is the same.
            await put_job(unit, replace(job, target=target), revision)
        elif job is not None:
            await unit.delete_record(INDEX, JOB)
