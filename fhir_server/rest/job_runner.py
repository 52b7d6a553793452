"""Runs the jobs that the store holds. Whoever runs one has it for a time that is prolonged while it
goes on; when its process dies, that time passes, and another runs it again."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from http import HTTPStatus

import structlog

from fhir_server.fhir.codec import encode
from fhir_server.fhir.outcome import FhirError, error, login_required, too_large
from fhir_server.interactions.context import FhirResponse
from fhir_server.interactions.entries import join_entries, refusal_entry
from fhir_server.rest.jobs import JOB, WORK, Job, Jobs, pieces_of, put_pieces
from fhir_server.security.tokens import GRANT_KIND
from fhir_server.storage.port import Record, StoreUnavailable, Transaction, VersionConflict

CONCURRENT = 2
"""How many jobs one process runs at once."""
LEASE_SECONDS = 30.0
ATTEMPTS = 5
"""How often a job is begun whose process dies, or whose store can't be reached."""
IDLE_SECONDS = 1.0
LONGEST_WAIT = timedelta(days=7)
"""A job that nobody could run for so long is not begun any more."""

_log = structlog.get_logger("medsage.jobs")
_RETRIED = 503

Perform = Callable[[Job], Awaitable[FhirResponse]]


class JobRunner:
    """Runs jobs until cancelled; `perform` answers the request of one as its caller's."""

    def __init__(self, jobs: Jobs, perform: Perform) -> None:
        self._jobs = jobs
        self._perform = perform
        self._woken = asyncio.Event()
        self._running: set[str] = set()
        self._is_stopping = False
        jobs.wake = self._woken.set

    def stop(self) -> None:
        """Begin none any more; `run` returns when those under way have ended."""
        self._is_stopping = True
        self._woken.set()

    async def run(self) -> None:
        """Look for jobs whenever one was added or has ended, and now and then."""
        async with asyncio.TaskGroup() as group:
            while not self._is_stopping:
                self._woken.clear()
                try:
                    for work in await self._due():
                        self._running.add(work.id)
                        group.create_task(self._run_logged(work))
                except Exception as failure:  # the runner must outlive any one failure
                    _log.error("looking for jobs failed", error=type(failure).__name__)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), IDLE_SECONDS)

    async def run_once(self) -> int:
        """Run the jobs that nobody runs, some at once; how many those were."""
        return sum(await asyncio.gather(*map(self._serve, await self._due())))

    async def _due(self) -> list[Record]:
        """What nobody runs, as far as this process has room for it."""
        now = self._jobs.clock().timestamp()
        room = CONCURRENT - len(self._running)
        if room <= 0:
            return []
        waiting = await self._jobs.store.records(WORK, limit=100)
        due = [work for work in waiting if work.value["until"] <= now]
        return [work for work in due if work.id not in self._running][:room]

    async def _run_logged(self, work: Record) -> None:
        try:
            await self._serve(work)
        except Exception as failure:  # one job must not end the others
            _log.error("a job failed", job=work.id, error=type(failure).__name__)
        finally:
            self._running.discard(work.id)
            self._woken.set()

    async def _serve(self, work: Record) -> bool:
        """Run one job, unless another process was first."""
        try:
            held = await self._held(work, work.value["attempts"] + 1, LEASE_SECONDS)
        except VersionConflict:
            return False
        lease = _Lease(held)
        keeping = asyncio.ensure_future(self._keep(lease))
        running = asyncio.ensure_future(self._finish(lease))
        try:
            # Whoever loses the job, as it was cancelled or taken over, stops.
            await asyncio.wait({keeping, running}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
        except (VersionConflict, StoreUnavailable) as failure:
            _log.warning("a job was left", job=work.id, why=type(failure).__name__)
        except asyncio.CancelledError:
            # The process ends in good order: whoever is up may begin it at once.
            await _ended(keeping, running)
            with suppress(VersionConflict, StoreUnavailable):
                await self._held(lease.work, work.value["attempts"], 0.0)
            raise
        finally:
            await _ended(keeping, running)
        return True

    async def _held(self, work: Record, attempts: int, seconds: float) -> Record:
        until = self._jobs.clock().timestamp() + seconds
        value = {"until": until, "attempts": attempts}
        changed = replace(work, value=value, revision=work.revision + 1)

        async def unit(transaction: Transaction) -> None:
            await transaction.put_record(replace(work, value=value), work.revision)

        await self._jobs.store.transaction(unit)
        return changed

    async def _keep(self, lease: "_Lease") -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            async with lease.changing:
                try:
                    work = lease.work
                    lease.work = await self._held(work, work.value["attempts"], LEASE_SECONDS)
                except VersionConflict:
                    return

    async def _finish(self, lease: "_Lease") -> None:
        """Run the job and store its result; the lease is over then."""
        found = await self._jobs.read(lease.work.id)
        if found is None:
            return
        job, record = found
        # Before it is run: what the caller loses meanwhile must not be in what is shown.
        extent = await self._jobs.extent_of(job.principal)
        try:
            entry = await self._entry(job, lease.work.value["attempts"])
        except FhirError as refusal:
            if refusal.status == _RETRIED and lease.work.value["attempts"] < ATTEMPTS:
                return  # it is begun again when the lease has passed
            entry = refusal_entry(refusal)
        head = {"resourceType": "Bundle", "type": "batch-response"}
        pieces = pieces_of(join_entries(head, [entry]))
        expires = self._jobs.clock() + timedelta(hours=self._jobs.limits.hours)
        value = {**record.value, "out": len(pieces), "extent": extent}
        done = Record(JOB, record.id, value, expires=expires)

        async with lease.changing:

            async def unit(transaction: Transaction) -> None:
                work = await transaction.record(WORK, record.id)
                if work is None or work.revision != lease.work.revision:
                    raise VersionConflict("the job was cancelled, or taken over")
                await self._jobs.close(transaction, record)
                await transaction.put_record(done, record.revision)
                await put_pieces(transaction, record.id, "out", pieces, expires)

            await self._jobs.store.transaction(unit)

    async def _entry(self, job: Job, attempts: int) -> bytes:
        if attempts > ATTEMPTS:
            raise error(500, "exception", "the request was begun several times, and never ended")
        now = self._jobs.clock()
        if now - job.accepted > LONGEST_WAIT:
            raise error(500, "timeout", "the request has waited for too long")
        await self._require_standing(job, now, is_first=attempts == 1)
        response = await self._perform(job)
        return _entry_of(response, await self._body(response))

    async def _require_standing(self, job: Job, now: datetime, *, is_first: bool) -> None:
        """FhirError 401 when the caller's token ended before the job was begun."""
        who = job.principal
        if who is None:
            return
        if is_first and who.expires is not None and who.expires <= now.timestamp():
            raise login_required("the access token expired before the request was begun")
        if who.grant and await self._jobs.store.record(GRANT_KIND, who.grant) is None:
            raise login_required("the access token was revoked, or its session has ended")

    async def _body(self, response: FhirResponse) -> bytes:
        limit, parts, size = self._jobs.limits.result_bytes, [response.body], len(response.body)
        if response.chunks is not None:
            async for chunk in response.chunks:
                parts.append(chunk)
                size += len(chunk)
                if size > limit:
                    break
        if size > limit:
            raise too_large(f"the result is larger than {limit} bytes; ask for less")
        return b"".join(parts)


class _Lease:
    """The record that says who runs a job; it changes while the job runs."""

    def __init__(self, work: Record) -> None:
        self.work = work
        self.changing = asyncio.Lock()


async def _ended(*tasks: asyncio.Future[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _entry_of(response: FhirResponse, body: bytes) -> bytes:
    said = {"status": f"{response.status} {HTTPStatus(response.status).phrase}"}
    if "Location" in response.headers:
        said["location"] = response.headers["Location"]
    rest = encode({"response": said})
    return rest if not body else b'{"resource":' + body + b"," + rest[1:]
