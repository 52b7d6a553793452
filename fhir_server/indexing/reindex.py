"""Makes the terms of all resources anew, batch by batch, and says so in the store with each batch:
after a crash it goes on where it was. Of several processes that try, one does each batch."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import structlog

from fhir_server.fhir.codec import parse
from fhir_server.fhir.definitions import resource_types
from fhir_server.indexing.definitions import Definitions
from fhir_server.indexing.state import (
    INDEX,
    JOB,
    Job,
    Stage,
    put_job,
    put_mark,
    put_whole,
    read_job,
    read_whole,
)
from fhir_server.search.expression import Query
from fhir_server.search.fingerprint import digest, fingerprint
from fhir_server.search.live import LiveSearch
from fhir_server.storage.port import (
    Key,
    ResourceStore,
    Stored,
    Terms,
    Transaction,
    VersionConflict,
)

BATCH = 100
"""Resources in one commit."""

REST_SECONDS = 1.0
"""How often it looks for something to do."""

MARGIN = timedelta(seconds=120)
"""How long before the job began a write may have been stamped that was committed after it."""

_log = structlog.get_logger("medsage.indexing")


class Reindexer:
    """Does the job that the store holds, if it is for the definitions of `live`."""

    def __init__(
        self,
        store: ResourceStore,
        live: LiveSearch,
        definitions: Definitions,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._live = live
        self._definitions = definitions
        self._now = now

    async def run(self) -> None:
        """Do what there is to do until cancelled. After each batch it rests as long as the batch
        took, so that requests come first."""
        while True:
            started = time.monotonic()
            try:
                has_more = await self.step()
            except VersionConflict:
                has_more = True  # another process did this batch
            except Exception as failure:  # indexing must outlive any one failure
                _log.error("indexing failed", error=type(failure).__name__)
                has_more = False
            took = time.monotonic() - started
            await asyncio.sleep(took if has_more else REST_SECONDS)

    async def step(self) -> bool:
        """Do one batch; False when there is nothing to do now. VersionConflict when another
        process did it."""
        job, revision = await read_job(self._store)
        if job is None or self._now() < job.next_at:
            return False
        target = fingerprint(self._live.now)
        if job.target != digest(target):
            # This process has not noticed yet, or is of another version.
            return False
        if job.total is None and job.stage == Stage.FIRST:
            job = replace(job, total=await self._count())
        since = None if job.stage == Stage.FIRST else _moment(job.begins) - MARGIN
        after = None if job.after is None else Key(*job.after.split("/"))
        batch = await self._store.current(after, BATCH, since)
        if batch:
            await self._do(batch, job, revision)
        elif job.stage == Stage.FIRST:
            second = job.at_stage(Stage.SECOND)
            await self._store.transaction(lambda unit: put_job(unit, second, revision))
        elif job.stage == Stage.SECOND:
            await self._finish(target, job, revision)
        else:
            await self._store.transaction(lambda unit: _end(unit, revision))
        return True

    async def _do(self, batch: Sequence[Stored], job: Job, revision: int) -> None:
        terms = await asyncio.to_thread(self._extracted, batch)
        moved = job.moved(str(batch[-1].key), len(batch))

        async def unit(transaction: Transaction) -> None:
            await put_job(transaction, moved, revision)
            for stored, found in zip(batch, terms, strict=True):
                # A version that was written in between brought its own terms.
                await transaction.put_terms(stored.key, stored.version, found)

        await self._store.transaction(unit)
        self._live.progress.percent = moved.percent

    def _extracted(self, batch: Sequence[Stored]) -> list[Terms]:
        return [self._live.extract(parse(stored.body)) for stored in batch]

    async def _finish(self, target: dict[str, str], job: Job, revision: int) -> None:
        async def unit(transaction: Transaction) -> None:
            await put_job(transaction, job.at_stage(Stage.LAST), revision)
            _, expected = await read_whole(transaction)
            await put_whole(transaction, target, expected)
            await put_mark(transaction)

        await self._store.transaction(unit)
        _log.info("the search index is whole")
        await self._definitions.notice()

    async def _count(self) -> int:
        return sum([await self._store.count(Query(type_)) for type_ in sorted(resource_types())])


async def _end(unit: Transaction, revision: int) -> None:
    if (await read_job(unit))[1] != revision:
        raise VersionConflict("the job was changed")
    await unit.delete_record(INDEX, JOB)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
