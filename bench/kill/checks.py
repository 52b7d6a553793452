"""What must hold when everything runs again: asked of the server as any client would."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from bench.kill.clients import Sent, identifier_of
from fhir_server.fhir.assessment import OUTPUT_REPORT, REPORT_OF_TASK, parts
from models.fhir_client import FhirClient, FhirFailure

Resource = dict[str, Any]
T = TypeVar("T")

TYPES = (
    "Media", "Observation", "QuestionnaireResponse", "Task", "DiagnosticReport", "Provenance",
    "Device", "Subscription",
)  # fmt: skip
ENDED = ("completed", "failed")
_AT_ONCE = 4
_MOST_EXAMPLES = 5


@dataclass
class Findings:
    """Numbers, and what is wrong: a kind of fault with its number and a few examples."""

    counts: dict[str, Any] = field(default_factory=dict)
    faults: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def fault(self, kind: str, about: object) -> None:
        """Note a fault of this kind."""
        self.faults[kind].append(str(about))

    def as_json(self) -> dict[str, Any]:
        """The numbers, and the faults by kind; `passed` when there are none."""
        faults = {
            kind: {"count": len(found), "examples": found[:_MOST_EXAMPLES]}
            for kind, found in self.faults.items()
        }
        return {**self.counts, "faults": faults, "passed": not faults}


@dataclass(frozen=True)
class Stored:
    """What the server holds, by type and reference."""

    resources: dict[str, dict[str, Resource]]

    def of(self, type_: str) -> list[Resource]:
        """All current resources of a type."""
        return list(self.resources[type_].values())

    def has(self, reference: str) -> bool:
        """Whether a current resource of one of TYPES has this reference."""
        return reference in self.resources.get(reference.partition("/")[0], {})


async def stored_on(fhir: FhirClient) -> Stored:
    """Everything of TYPES, page after page."""
    found = {}
    for type_ in TYPES:
        pages = fhir.search(type_, {"_count": "200"})
        found[type_] = {f"{type_}/{each['id']}": each async for each in pages}
    return Stored(found)


async def unfinished(fhir: FhirClient) -> int:
    """How many Tasks have not ended."""
    query = {"status": "requested,in-progress", "_count": "200"}
    return len([each async for each in fhir.search("Task", query)])


async def settled(fhir: FhirClient, seconds: float, pause: float) -> None:
    """Return when every Task has ended, asking with such pauses; TimeoutError when that takes
    longer."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                if not await unfinished(fhir):
                    return
            except FhirFailure as failure:
                if not failure.is_transient:
                    raise
            await asyncio.sleep(pause)


async def check_writes(
    fhir: FhirClient, sent: Sequence[Sent], stored: Stored, found: Findings
) -> None:
    """Every acknowledged version is there as it was acknowledged, and each transaction is there
    whole and once, or not at all."""
    written: Counter[str] = Counter()
    for type_ in TYPES:
        written.update(filter(None, map(identifier_of, stored.of(type_))))
    states: Counter[str] = Counter()
    for each in sent:
        names = each.identifiers
        present = {name for name in names if written[name]}
        if present and present != names:
            found.fault("half transactions", each.number)
        if any(written[name] > 1 for name in names):
            found.fault("transactions written twice", each.number)
        if each.is_acknowledged and not present:
            found.fault("lost transactions", each.number)
        kind = "acknowledged" if each.is_acknowledged else "cut off"
        states[kind if each.is_acknowledged else f"{kind}, {'' if present else 'not '}written"] += 1
        if each.is_acknowledged and each.is_cut_off:
            states["acknowledged after being cut off"] += 1
    found.counts["submissions"] = dict(sorted(states.items()))
    answers = [answer for each in sent for answer in each.answers]
    found.counts["acknowledged_versions"] = len(answers)
    await _each(answers, lambda answer: _is_kept(fhir, answer, found))
    await _each(stored.of("Media"), lambda media: _has_image(fhir, media, found))


async def _is_kept(fhir: FhirClient, answer: Resource, found: Findings) -> None:
    reference = f"{answer['resourceType']}/{answer['id']}/_history/{answer['meta']['versionId']}"
    try:
        if await fhir.read(reference) != answer:
            found.fault("acknowledged versions that differ", reference)
    except FhirFailure as failure:
        found.fault("lost versions", f"{reference}: {failure}")


async def _has_image(fhir: FhirClient, media: Resource, found: Findings) -> None:
    try:
        await fhir.read(media["content"]["url"])
    except FhirFailure as failure:
        found.fault("half transactions", f"Media/{media['id']}: {failure}")


def check_results(stored: Stored, found: Findings) -> None:
    """Each Task ended with one report, one Provenance for each system that spoke, or a reason."""
    reports: defaultdict[str, list[Resource]] = defaultdict(list)
    for report in stored.of("DiagnosticReport"):
        task_ids = [i["value"] for i in report["identifier"] if i["system"] == REPORT_OF_TASK]
        reports[task_ids[0]].append(report)
    traces: Counter[str] = Counter(
        target["reference"] for each in stored.of("Provenance") for target in each["target"]
    )
    for task in stored.of("Task"):
        _check_task(task, reports.pop(task["id"], []), found)
    for task_id in reports:
        found.fault("reports without a Task", task_id)
    for report in stored.of("DiagnosticReport"):
        results = [result["reference"] for result in report["result"]]
        for reference in results:
            if not stored.has(reference):
                found.fault("half results", f"{report['id']} lacks {reference}")
        if traces[f"DiagnosticReport/{report['id']}"] != len(results):
            found.fault("reports without their one set of Provenance", report["id"])
    found.counts["tasks"] = dict(Counter(task["status"] for task in stored.of("Task")))
    reasons = [task.get("statusReason", {}).get("text") for task in stored.of("Task")]
    found.counts["failed_because"] = dict(Counter(filter(None, reasons)))
    found.counts["reports"] = len(stored.of("DiagnosticReport"))
    found.counts["provenances"] = len(stored.of("Provenance"))
    _check_singles(stored, found)


def _check_task(task: Resource, reports: Sequence[Resource], found: Findings) -> None:
    named = parts(task.get("output", ()), OUTPUT_REPORT)
    match task["status"]:
        case "completed":
            if [f"DiagnosticReport/{report['id']}" for report in reports] != named:
                found.fault("Tasks without exactly one report", f"{task['id']}: {len(reports)}")
        case "failed":
            if reports or not task.get("statusReason", {}).get("text"):
                found.fault("Tasks that failed without a reason", task["id"])
        case status:
            found.fault("Tasks that did not end", f"{task['id']}: {status}")


def _check_singles(stored: Stored, found: Findings) -> None:
    """What is created once for all Tasks is there once."""
    keys = Counter(
        f"{i['system']}|{i['value']}"
        for device in stored.of("Device")
        for i in device.get("identifier", ())
    )
    for key, count in keys.items():
        if count > 1:
            found.fault("Devices made twice", key)
    states = [each["status"] for each in stored.of("Subscription")]
    if states != ["active"]:
        found.fault("the worker's Subscription", states)


async def _each(things: Iterable[T], check: Callable[[T], Awaitable[None]]) -> None:
    """The checks, a few at once."""
    slots = asyncio.Semaphore(_AT_ONCE)

    async def one(thing: T) -> None:
        async with slots:
            await check(thing)

    await asyncio.gather(*map(one, things))
