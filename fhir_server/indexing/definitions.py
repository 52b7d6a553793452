"""The SearchParameters of the store, and whether their index is whole: read at start, and again
whenever one was written. Every process does so for itself."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from fhir_server.fhir.codec import parse
from fhir_server.indexing.state import (
    INDEX,
    JOB,
    MARK,
    Job,
    put_job,
    put_mark,
    put_whole,
    read_job,
    read_whole,
)
from fhir_server.search.custom import row_of, takes_effect
from fhir_server.search.expression import Query
from fhir_server.search.fingerprint import digest, fingerprint
from fhir_server.search.live import LiveSearch
from fhir_server.search.registry import Registry, Row, full_url
from fhir_server.storage.port import ResourceStore, Transaction, VersionConflict

NOTICED_SECONDS = 1.0
"""How often a process looks whether definitions were changed."""

GRACE_SECONDS = 5.0
"""After so long every process has noticed; then resources are indexed anew."""

_PAGE = 200
_log = structlog.get_logger("medsage.indexing")


@dataclass(frozen=True, slots=True)
class _Seen:
    mark: int
    job: int


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
        self._seen: _Seen | None = None

    async def run(self) -> None:
        """Notice changes until cancelled; a failure is logged and tried again."""
        while True:
            try:
                await self.notice()
            except Exception as failure:  # looking must outlive any one failure
                _log.error("reading the search parameters failed", error=type(failure).__name__)
            await asyncio.sleep(NOTICED_SECONDS)

    async def notice(self) -> None:
        """Look at the definitions again if something changed since the last time."""
        found = {each.id: each for each in await self._store.records(INDEX)}
        mark = found[MARK].revision if MARK in found else 0
        job = found[JOB].revision if JOB in found else 0
        seen = _Seen(mark, job)
        if self._seen is None or seen.mark != self._seen.mark:
            await self.refresh()
        if JOB in found:
            self._live.progress.percent = Job(**found[JOB].value).percent
        self._seen = seen

    async def refresh(self) -> None:
        """Read the definitions; begin the indexing of what is new or changed."""
        custom = await _custom(self._store)
        registry = self._live.now.with_custom(custom.values())
        target = fingerprint(registry)
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
                # What is gone is not kept up: if it comes back it is indexed anew.
                left = {url: each for url, each in whole.items() if url in target}
            if left != whole:
                await put_whole(transaction, left, revision)
            if left != target:
                await self._require_job(transaction, digest(target))
            return left

        try:
            return await self._store.transaction(unit)
        except VersionConflict:  # another process was first; see what it wrote
            return await self._store.transaction(unit)

    async def _require_job(self, transaction: Transaction, target: str) -> None:
        job, revision = await read_job(transaction)
        if job is None or job.target != target:
            await put_job(transaction, Job(target, self._now() + self._grace), revision)


async def forget(store: ResourceStore) -> None:
    """Let everything be indexed anew: every process notices, and refuses what is not whole."""

    async def unit(transaction: Transaction) -> None:
        _, revision = await read_whole(transaction)
        await put_whole(transaction, {}, revision)
        await transaction.delete_record(INDEX, JOB)
        await put_mark(transaction)

    await store.transaction(unit)


async def _custom(store: ResourceStore) -> dict[str, Row]:
    """The rows of the SearchParameters that take effect, by url. Of two that clash the one that
    was there first counts."""
    found: dict[str, Row] = {}
    registry = Registry()
    query: Query | None = Query("SearchParameter", limit=_PAGE)
    resources: list[dict[str, Any]] = []
    while query is not None:
        page = await store.find(query)
        resources.extend(parse(stored.body) for stored in page.matches)
        query = Query("SearchParameter", limit=_PAGE, after=page.next) if page.next else None
    for resource in resources:
        if takes_effect(resource, registry):
            row = row_of(resource)
            found[row["url"]] = row
            registry = registry.with_custom(found.values())
    return found
