"""Carries out recalls: marks what a recalled version made, says why, and opens a Task for each
report (ADR 0024).

The recall stands on the version's Device, and so does the place it has come to. A batch is one
transaction: the marks, a DetectedIssue and a Task for each report, one Provenance, and the new
place. Each report's DetectedIssue and Task have an identifier made of recall and report, so a batch
that is done again does nothing new; of two workers that do the same batch one is refused whole.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from fhir_server.fhir.codec import instant
from fhir_server.fhir.recalls import (
    MARK_OF_RECALL,
    OPEN,
    RECALL_TAGS,
    Recall,
    is_recalled,
    marked_recalled,
    recalls_of,
    with_recall,
    worked_off,
)
from models.fhir_client import FhirClient, FhirFailure
from models.recall_notice import Notice, detected_issue, mark_provenance, review_task, signer_of
from models.worker_device import worker_device

Resource = dict[str, Any]

_log = structlog.get_logger("medsage.recall")
_STALE_TRIES = 5
_UNMARKED = frozenset({"Basic", "Binary"})


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _new_uuid() -> str:
    return str(uuid.uuid4())


@dataclass
class Recaller:
    """`run()` until cancelled. `batch` bounds how many Provenances one transaction works off. A
    recall stays open for `settle`, so that a result that was being written meanwhile is found."""

    fhir: FhirClient
    clock: Callable[[], datetime] = _utc_now
    new_uuid: Callable[[], str] = _new_uuid
    batch: int = 20
    settle: timedelta = timedelta(seconds=90)
    poll_seconds: float = 10.0
    _worker: str | None = field(default=None, init=False)

    async def run(self) -> None:
        """Looks for open recalls again and again; what fails is tried with the next look."""
        while True:
            try:
                await self.run_once()
            except FhirFailure as failure:
                _log.warning("a recall could not go on", status=failure.status)
            await asyncio.sleep(self.poll_seconds)

    async def run_once(self) -> int:
        """Works off what is open now, and says how many reports were newly marked."""
        query = {"_tag": f"{RECALL_TAGS}|{OPEN['code']}"}
        devices = [device async for device in self.fhir.search("Device", query)]
        marked = 0
        for device in devices:
            for recall in recalls_of(device):
                if recall.status == "open":
                    marked += await self._carry_out(f"Device/{device['id']}", recall)
        return marked

    async def _carry_out(self, device: str, recall: Recall) -> int:
        marked = 0
        async for traces in self._batches(device, recall):
            marked += await self._again_if_stale(device, recall, traces)
        if self.clock() >= datetime.fromisoformat(recall.requested) + self.settle:
            await self._again_if_stale(device, recall, None)
        _log.info("recall", device=device, recall=recall.id, marked=marked)
        return marked

    async def _batches(self, device: str, recall: Recall) -> AsyncIterator[list[Resource]]:
        """The Provenances that name the version, from the recall's place on, oldest first."""
        since = recall.position or recall.start
        query = [("agent", device), ("_sort", "recorded"), ("_count", str(self.batch))]
        query += [("recorded", f"ge{since}")] if since else []
        query += [("recorded", f"le{recall.end}")] if recall.end else []
        waiting: list[Resource] = []
        async for trace in self.fhir.search("Provenance", query):
            waiting.append(trace)
            if len(waiting) == self.batch:
                yield waiting
                waiting = []
        if waiting:
            yield waiting

    async def _again_if_stale(
        self, device: str, recall: Recall, traces: Sequence[Resource] | None
    ) -> int:
        """A batch, or (None) the end; read anew and tried again while somebody else writes."""
        for _ in range(_STALE_TRIES):
            try:
                return await self._step(device, recall, traces)
            except FhirFailure as failure:
                if not failure.is_stale:
                    raise
        raise FhirFailure(503, "what is recalled is being changed all the time")

    async def _step(self, device: str, recall: Recall, traces: Sequence[Resource] | None) -> int:
        current = await self.fhir.read(device)
        now = next(each for each in recalls_of(current) if each.id == recall.id)
        if now.status != "open":
            return 0
        unit = _Unit(self.new_uuid)
        marked = 0
        if traces is None:
            now = replace(now, status="done")
        else:
            counts = await self._marks(unit, device, now, traces)
            marked = counts[0]
            now = worked_off(now, traces[-1]["recorded"], counts)
        unit.put(with_recall(current, now), current["meta"]["versionId"])
        await self.fhir.transaction(unit.bundle())
        return marked

    async def _marks(
        self, unit: "_Unit", device: str, recall: Recall, traces: Sequence[Resource]
    ) -> tuple[int, int, int]:
        """The entries that mark one batch; how many reports, how many of them signed, how many
        Tasks."""
        if self._worker is None:
            self._worker = await worker_device(self.fhir)
        targets = [each for each in [await self._read(r) for r in _targets(traces)] if each]
        reports = [each for each in targets if each["resourceType"] == "DiagnosticReport"]
        told = await self._told(recall, reports)
        new = [each for each in reports if each["id"] not in told]
        notice = Notice(recall, device, self._worker, instant(self.clock()))
        unmarked = [each for each in targets if not is_recalled(each)]
        for each in unmarked:
            unit.put(marked_recalled(each), each["meta"]["versionId"])
        for report in new:
            issue = unit.post(detected_issue(notice, report))
            unit.post(review_task(notice, report, issue, await self._owner(report)))
        touched = {f"{each['resourceType']}/{each['id']}": None for each in (*unmarked, *new)}
        if touched:
            unit.post(mark_provenance(notice, list(touched)))
        signed = sum(each["status"] != "preliminary" for each in new)
        return len(new), signed, len(new)

    async def _told(self, recall: Recall, reports: Sequence[Resource]) -> set[str]:
        """The reports that this recall has reached before."""
        if not reports:
            return set()
        names = [f"{MARK_OF_RECALL}|{recall.id}.{each['id']}" for each in reports]
        found = self.fhir.search("DetectedIssue", {"identifier": ",".join(names)})
        prefix = f"{recall.id}."
        return {each["identifier"][0]["value"].removeprefix(prefix) async for each in found}

    async def _owner(self, report: Resource) -> str | None:
        """Who signed the report; before that, who asked for it."""
        signer = signer_of(report)
        if signer is not None:
            return signer
        asked = report.get("identifier", ({},))[0].get("value")
        task = await self._read(f"Task/{asked}") if asked else None
        requester = (task or {}).get("requester", {}).get("reference")
        return requester if isinstance(requester, str) else None

    async def _read(self, reference: str) -> Resource | None:
        """The resource; None when it is gone."""
        try:
            return await self.fhir.read(reference)
        except FhirFailure as failure:
            if failure.status in (404, 410):
                return None
            raise


@dataclass
class _Unit:
    """A transaction in the making."""

    new_uuid: Callable[[], str]
    entries: list[Resource] = field(default_factory=list)

    def post(self, resource: Resource) -> str:
        """Adds a create; one with an identifier only unless it is there already."""
        full_url = f"urn:uuid:{self.new_uuid()}"
        request = {"method": "POST", "url": resource["resourceType"]}
        if "identifier" in resource:
            name = resource["identifier"][0]
            request["ifNoneExist"] = f"identifier={name['system']}|{name['value']}"
        self.entries.append({"fullUrl": full_url, "resource": resource, "request": request})
        return full_url

    def put(self, resource: Resource, version: str) -> None:
        """Adds an update that is refused when the resource has changed since."""
        url = f"{resource['resourceType']}/{resource['id']}"
        request = {"method": "PUT", "url": url, "ifMatch": f'W/"{version}"'}
        self.entries.append({"fullUrl": url, "resource": resource, "request": request})

    def bundle(self) -> Resource:
        return {"resourceType": "Bundle", "type": "transaction", "entry": self.entries}


def _targets(traces: Sequence[Resource]) -> list[str]:
    """What the Provenances name and a mark is for, each once, whichever version. What a version
    said in the shadow (Basic) nobody reads and the worker may not; the bytes of a drawing (Binary)
    bear no mark of their own, since the worker may not change them, but their Media does."""
    references = (each.get("reference", "") for trace in traces for each in trace["target"])
    named = dict.fromkeys(each.split("/_history")[0] for each in references if each)
    return [each for each in named if each.split("/")[0] not in _UNMARKED]
