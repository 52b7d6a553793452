"""What must be said at the top of a report, on its page, in print and in its PDF: that its AI
result was recalled (ADR 0024), and that a newer analysis has read the same images (ADR 0034). Only
a signed report takes the place of another; one that nobody has signed yet is being redone.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass

from fhir_server.fhir.assessment import FINDINGS
from fhir_server.fhir.dates import time_range
from fhir_server.fhir.double_reading import images_of
from fhir_server.fhir.recalls import is_recalled
from fhir_server.fhir.withdrawn import is_withdrawn
from smart_app.charts import LoadedReport
from smart_app.fhir_client import FhirFailure, Resource, first_version
from smart_app.language import gettext as _
from smart_app.presenters.history import is_signed, report_status
from smart_app.presenters.times import show_time
from smart_app.recalls import RecallLine, recall_lines, recalls_of_chart
from smart_app.visit import Visit

REPORT = "malaria-assessment-ai"
AT_ONCE = 3
"""So many of the newer reports are looked at together, the newest first: the addresses of all
their images go into one query."""
_Place = tuple[int, int, str]
_WITHDRAWN = frozenset({"entered-in-error", "cancelled"})


@dataclass(frozen=True)
class NewerReport:
    """A newer report that has read some of the same images."""

    id: str
    when: str
    status: str


@dataclass(frozen=True)
class Notices:
    """What is said of one report: the newest signed one that has read its images (`newer`), and a
    still newer one that is not signed (`redone`). `is_known` False when it could not be found out
    whether there are such."""

    is_recalled: bool
    recalls: tuple[RecallLine, ...]
    newer: NewerReport | None
    redone: NewerReport | None
    is_known: bool

    @property
    def texts(self) -> tuple[str, ...]:
        """The same for paper, where nothing can be opened."""
        said = []
        if self.is_recalled:
            reasons = "; ".join(dict.fromkeys(line.reason for line in self.recalls if line.reason))
            said.append(
                _("RECALLED: do not rely on the AI result in this report.")
                + (f" {_('Reason:')} {reasons}" if reasons else "")
            )
        if self.newer is not None:
            text = _(
                "SUPERSEDED: a newer analysis of %(when)s (%(status)s, report %(id)s) has read "
                "these images. Use that one."
            )
            said.append(text % _words(self.newer))
        if self.redone is not None:
            text = _(
                "BEING REDONE: a newer analysis of %(when)s (report %(id)s) has read these images "
                "and is not signed yet. Nothing in it may be relied on before it is."
            )
            said.append(text % _words(self.redone))
        if not self.is_known:
            said.append(_("Whether a newer analysis has read these images could not be found out."))
        return tuple(said)


async def load_notices(visit: Visit, loaded: LoadedReport) -> Notices:
    """What is said of a report of this chart."""
    is_recalled = loaded.view.is_recalled
    lines: tuple[RecallLine, ...] = ()
    if is_recalled:
        tasks = (await recalls_of_chart(visit)).items
        lines = tuple(line for line in recall_lines(visit, tasks) if line.report == loaded.view.id)
    newer = redone = None
    is_known = True
    try:
        newer, redone = await _newer(visit, loaded.resource)
    except FhirFailure as failure:
        if failure.status == 0:
            raise
        is_known = False
    return Notices(is_recalled, lines, newer, redone, is_known)


def _words(report: NewerReport) -> Mapping[str, str]:
    return {"when": report.when, "status": report.status, "id": report.id}


async def _newer(visit: Visit, report: Resource) -> tuple[NewerReport | None, NewerReport | None]:
    """The newest signed report of these images, and the newest unsigned one that is newer still."""
    unsigned = None
    async for each in _of_same_images(visit, report):
        found = NewerReport(each["id"], show_time(each.get("issued")), report_status(each))
        if is_signed(each):
            return found, unsigned
        unsigned = unsigned or found
    return None, unsigned


async def _of_same_images(visit: Visit, report: Resource) -> AsyncIterator[Resource]:
    """The newer reports that have read some of the images of a report, the newest first."""
    own = images_of(report)
    if not own:
        return
    query = {"patient": visit.patient, "code": f"{FINDINGS}|{REPORT}", "_sort": "-date"}
    reports = await visit.fhir.search("DiagnosticReport", query)
    usable = [each for each in reports if _is_usable(each, report) and images_of(each)]
    order = await _order(visit, [report, *usable])
    later = [each for each in usable if order[each["id"]] > order[report["id"]]]
    candidates = sorted(later, key=lambda each: order[each["id"]], reverse=True)
    for start in range(0, len(candidates), AT_ONCE):
        some = candidates[start : start + AT_ONCE]
        prints = await _prints(visit, own.union(*(images_of(each) for each in some)))
        for each in some:
            if _printed(own, prints) & _printed(images_of(each), prints):
                yield each


async def _prints(visit: Visit, images: Iterable[str]) -> Mapping[str, str]:
    """By image: the checksum of its content. An image that was sent again is another Media."""
    ids = sorted({visit.fhir.key(each)[1] for each in images})
    query = {"_id": ",".join(ids), "patient": visit.patient, "_count": "200"}
    found = await visit.fhir.search("Media", query)
    return {f"Media/{m['id']}": str(m.get("content", {}).get("hash", "")) for m in found}


def _printed(images: Iterable[str], prints: Mapping[str, str]) -> set[str]:
    """What tells the images: their checksum, else the very Media."""
    return {prints.get(each) or each for each in images}


def _is_usable(other: Resource, report: Resource) -> bool:
    """Whether it may be used in the place of the report: nobody is led to one that was recalled,
    or that the patient does not permit any more."""
    is_gone = other.get("status") in _WITHDRAWN or is_recalled(other) or is_withdrawn(other)
    return other["id"] != report["id"] and not is_gone and _made(other) >= _made(report)


async def _order(visit: Visit, reports: Sequence[Resource]) -> Mapping[str, _Place]:
    """By id: when its analysis was asked for; of those of one second, when it was first stored;
    where that is forgotten, the id. So of any two one is the later, and the same for everybody."""
    seconds = Counter(_made(each) for each in reports)
    alike = [each["id"] for each in reports if seconds[_made(each)] > 1]
    stored = await asyncio.gather(*(_first_stored(visit, id) for id in alike))
    known = dict(zip(alike, stored, strict=True))
    return {each["id"]: (_made(each), known.get(each["id"], 0), each["id"]) for each in reports}


async def _first_stored(visit: Visit, id: str) -> int:
    """When the first version was stored, in microseconds; 0 where the store has forgotten it."""
    try:
        first = await first_version(visit.fhir, "DiagnosticReport", id)
    except FhirFailure as failure:
        if failure.status not in (404, 410):
            raise
        return 0
    return time_range(first["meta"]["lastUpdated"]).low


def _made(report: Resource) -> int:
    """When its analysis was asked for, in microseconds: signing changes `issued`, and not this."""
    when = report.get("effectiveDateTime") or report.get("issued")
    return time_range(when).low if when else 0
