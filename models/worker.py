"""The AI worker: finds open analysis Tasks, claims, analyses, and ends each in one transaction.

It is woken by a Subscription's notification, whose content is never read, and by a slow poll.
A claim is an update under If-Match, so of several workers one gets the Task; a worker that dies
leaves a claim whose lease runs out. Nothing about a patient is logged.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import structlog

from fhir_server import spans
from fhir_server.fhir.assessment import ASSESSMENT, trace_of
from fhir_server.fhir.codec import instant
from fhir_server.fhir.outcome import Issue
from models import tasks
from models.analysis import Analyses
from models.fhir_client import FhirClient, FhirFailure
from models.metrics import ModelMetrics, ending_of
from models.monitoring.holding import analysed
from models.monitoring.site import site_of, with_site
from models.refusals import is_for_consent, refused
from models.report import failure_transaction, result_transaction
from models.submission import UnusableTask, read_inputs
from models.withheld import standing, withheld_issues
from models.worker_device import worker_device

Resource = dict[str, Any]
T = TypeVar("T")

_log = structlog.get_logger("medsage.worker")
_BATCH = 20


@dataclass(frozen=True)
class Pace:
    """How much at once, how long a claim holds, how often a Task is tried."""

    concurrency: int = 2
    lease: timedelta = timedelta(seconds=60)
    poll_seconds: float = 15.0
    # A Task that kills its worker must end; one whose server was restarted often must not.
    most_attempts: int = 10
    retry_delays_seconds: Sequence[float] = (0.2, 1.0, 3.0)


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _new_uuid() -> str:
    return str(uuid.uuid4())


@dataclass
class Worker:
    """`run()` until `stop()`; `wake()` when there may be something to do."""

    fhir: FhirClient
    analysts: Analyses
    pace: Pace = field(default_factory=Pace)
    clock: Callable[[], datetime] = _utc_now
    new_uuid: Callable[[], str] = _new_uuid
    metrics: ModelMetrics = field(default_factory=ModelMetrics)
    _woken: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _is_stopping: bool = field(default=False, init=False)
    _busy: set[str] = field(default_factory=set, init=False)
    # Tasks that failed here rest for a lease, so that one of them can't make a hot loop.
    _resting: dict[str, datetime] = field(default_factory=dict, init=False)
    _owner: str | None = field(default=None, init=False)

    def wake(self) -> None:
        """There may be an open Task; cheap, and harmless when there is none."""
        self._woken.set()

    def stop(self) -> None:
        """Claims nothing more; `run` returns when what was claimed is done."""
        self._is_stopping = True
        self._woken.set()

    async def run(self) -> None:
        """Works until stopped. A cancelled run gives its claims back, or leaves them to their
        leases where the server does not take that."""
        slots = asyncio.Semaphore(self.pace.concurrency)
        async with asyncio.TaskGroup() as group:
            while not self._is_stopping:
                self._woken.clear()
                if not await self._round(group, slots):
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._woken.wait(), self.pace.poll_seconds)

    async def run_once(self) -> int:
        """Works off what is open now, and says how many Tasks that was."""
        slots = asyncio.Semaphore(self.pace.concurrency)
        async with asyncio.TaskGroup() as group:
            return await self._round(group, slots)

    async def _round(self, group: asyncio.TaskGroup, slots: asyncio.Semaphore) -> int:
        """Starts work on the open Tasks, oldest first, as slots come free."""
        try:
            waiting = await self._open_tasks()
        except FhirFailure as failure:
            _log.warning("search failed", status=failure.status)
            return 0
        started = 0
        for task in waiting:
            await slots.acquire()
            if self._is_stopping:
                slots.release()
                break
            self._busy.add(task["id"])
            group.create_task(self._in_slot(task, slots))
            started += 1
        return started

    async def _open_tasks(self) -> list[Resource]:
        """Requested Tasks and those whose lease ran out, together by the time they were asked."""
        code = f"{ASSESSMENT['system']}|{ASSESSMENT['code']}"
        expired = instant(self.clock() - self.pace.lease)
        queries = (
            [("status", "requested")],
            [("status", "in-progress"), ("_lastUpdated", f"lt{expired}")],
        )
        self._resting = {id: end for id, end in self._resting.items() if end > self.clock()}
        passed_over = self._busy | self._resting.keys()
        found: list[Resource] = []
        for criteria in queries:
            paging = [("_sort", "authored-on"), ("_count", str(_BATCH))]
            matches = 0
            async for task in self.fhir.search("Task", [("code", code), *criteria, *paging]):
                matches += 1
                if task["id"] not in passed_over:
                    found.append(task)
                if matches >= _BATCH + len(passed_over):
                    break
        return sorted(found, key=lambda task: (str(task.get("authoredOn", "")), task["id"]))

    async def _in_slot(self, task: Resource, slots: asyncio.Semaphore) -> None:
        """One Task from claim to end; no failure of it reaches another."""
        try:
            with spans.span("analysis", "consumer", parent=trace_of(task)):
                await self._work(task)
        except FhirFailure as failure:
            self._rest(task)
            _log.warning("task left to its lease", task=task["id"], status=failure.status)
        except Exception as failure:
            # Whatever a model does, the worker goes on; the claim counts the attempt, and the
            # Task is failed after the last. The text could hold patient data: only its kind.
            self._rest(task)
            _log.error("task left to its lease", task=task["id"], error=type(failure).__name__)
        finally:
            self._busy.discard(task["id"])
            slots.release()
            self._woken.set()

    def _rest(self, task: Resource) -> None:
        self.metrics.ended(task, "left", self.clock())
        self._resting[task["id"]] = self.clock() + self.pace.lease

    async def _work(self, task: Resource) -> None:
        claimed = await self._claim(task)
        if claimed is None:
            return
        try:
            await self._analyse(claimed)
        except asyncio.CancelledError:
            await self._give_back(claimed)
            raise

    async def _give_back(self, claimed: Resource) -> None:
        """Whoever is up may claim it at once. What was ended meanwhile is not as we claimed it."""
        try:
            back = tasks.given_back(claimed, self.clock())
            await self.fhir.update(back, claimed["meta"]["versionId"])
        except FhirFailure as failure:
            _log.warning("task left to its lease", task=claimed["id"], status=failure.status)
        else:
            _log.info("given back", task=claimed["id"])

    async def _analyse(self, claimed: Resource) -> None:
        """Ends the Task: with an answer, or with the reason why there is none."""
        if tasks.attempts(claimed) > self.pace.most_attempts:
            text = f"The analysis did not come to an end in {self.pace.most_attempts} attempts"
            await self._end(claimed, self._failure(claimed, [Issue("error", "exception", text)]))
            return
        try:
            await self._answer(claimed)
        except FhirFailure as refusal:
            if refusal.status not in (403, 404):
                raise
            if not is_for_consent(refusal) and tasks.attempts(claimed) < self.pace.most_attempts:
                raise  # the rights of this client may be given back
            await self._end(claimed, self._failure(claimed, [refused(refusal)]))

    async def _answer(self, claimed: Resource) -> None:
        """Reads, computes, and ends the Task with what was found."""
        try:
            inputs = await self._retried(
                lambda: read_inputs(self.fhir, claimed, tasks.begun(claimed).date())
            )
            # Consent may have been withdrawn since: then the Task is not there for us any more.
            await self._retried(lambda: self.fhir.read(f"Task/{claimed['id']}"))
            said = await self._retried(lambda: analysed(self.fhir, self.analysts.analyse, inputs))
        except UnusableTask as unusable:
            await self._end(claimed, self._failure(claimed, unusable.issues))
            return
        results = await self._retried(
            lambda: standing(self.fhir, said, lambda: self.analysts.instead(inputs))
        )
        if results.is_empty:
            ending = self._failure(claimed, withheld_issues(results))
        elif results.is_refused_only:
            ending = self._failure(claimed, results.refusals)
        else:
            ending = result_transaction(
                inputs.submission, results, now=self.clock(), new_uuid=self.new_uuid
            )
        await self._end(claimed, ending)
        self.analysts.ended(inputs)

    async def _claim(self, task: Resource) -> Resource | None:
        """The Task as ours, or None when it is not open any more."""
        now = self.clock()
        if not tasks.is_open(task, now, self.pace.lease):
            return None
        if self._owner is None:
            self._owner = await worker_device(self.fhir)
        task = with_site(task, await site_of(self.fhir, task))
        try:
            return await self.fhir.update(
                tasks.claimed(task, self._owner, now), task["meta"]["versionId"]
            )
        except FhirFailure as failure:
            if failure.is_stale or failure.status in (404, 410):
                return None
            raise

    async def _end(self, claimed: Resource, ending: Resource) -> None:
        """Sends the transaction. One that is refused as stale although the Task is still as we
        claimed it lost a race elsewhere (a Device made twice at once) and is sent again."""

        async def send() -> str:
            try:
                await self.fhir.transaction(ending)
            except FhirFailure as failure:
                if not failure.is_stale:
                    raise
                now = await self.fhir.read(f"Task/{claimed['id']}")
                if now["meta"]["versionId"] == claimed["meta"]["versionId"]:
                    raise FhirFailure(503, failure.text) from failure
                return "ended by another"
            return "ended"

        outcome = await self._retried(send)
        is_ours = outcome == "ended"
        self.metrics.ended(claimed, ending_of(ending) if is_ours else "by-another", self.clock())
        _log.info(outcome, task=claimed["id"], attempt=tasks.attempts(claimed))

    def _failure(self, claimed: Resource, issues: Sequence[Issue]) -> Resource:
        return failure_transaction(claimed, issues, now=self.clock(), new_uuid=self.new_uuid)

    async def _retried(self, call: Callable[[], Awaitable[T]]) -> T:
        """`call`, again after each delay while the failure may pass."""
        for delay in self.pace.retry_delays_seconds:
            try:
                return await call()
            except FhirFailure as failure:
                if not failure.is_transient:
                    raise
                await asyncio.sleep(delay)
        return await call()
