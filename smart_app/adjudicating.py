"""The queue of cases that two readers read differently, and the third reader's Observation.

The third reader sees the images and neither the AI result nor the other readings (blinded) until
their own is stored; it decides what the case teaches (fhir_server.fhir.double_reading), and changes
nothing in the signed report.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from fhir_server.fhir.assessment import FINDINGS
from fhir_server.fhir.double_reading import (
    ADJUDICATION_OF_REPORT,
    DoubleReading,
    double_reading,
    images_of,
    is_of_images,
)
from fhir_server.fhir.feedback import ADJUDICATED_READING, FIRST_READING
from fhir_server.fhir.reference import who_is
from fhir_server.fhir.report_status import SIGNED
from smart_app.fhir_client import Resource
from smart_app.notices import REPORT
from smart_app.page_by_page import every, in_time
from smart_app.presenters.history import is_signed
from smart_app.presenters.times import show_time
from smart_app.reading import adjudicated_reading, reading_key
from smart_app.visit import Visit

_CODES = f"{FINDINGS}|{FIRST_READING},{FINDINGS}|{ADJUDICATED_READING}"
_PAGE = "200"
_REPORTS = {
    "code": f"{FINDINGS}|{REPORT}",
    "status": ",".join(sorted(SIGNED)),
    "_sort": "-date",
    "_count": "50",
}
"""Before a report is signed, first readings are still being made."""
A_PAGEFUL = 40
"""So many cases are a page's worth; those of the same part of the list stand there too."""
_IMAGES_AT_ONCE = 50


@dataclass(frozen=True)
class CaseLine:
    """One case that waits for a third reader, since when (an instant), and so in words; `is_own`
    when the reader has read it before, and is not asked again."""

    report: str
    patient: str
    since: str
    when: str
    images: int
    is_own: bool


@dataclass(frozen=True)
class Queue:
    """Cases that wait, the longest first. The reports were looked through from the newest back to
    that of `back_to`; `following` is where older ones begin, empty when there are none."""

    lines: tuple[CaseLine, ...]
    back_to: str
    following: str


async def load_queue(visit: Visit, start: str) -> Queue:
    """A page's worth of the signed cases that wait, from `start` (a `following`, empty for the
    newest) on; fewer when the list ends or the time is up before."""
    found: dict[tuple[str, frozenset[str]], CaseLine] = {}
    back_to = following = ""
    async for part in in_time(visit, "DiagnosticReport", _REPORTS, start):
        found |= await _waiting(visit, [each for each in part.matches if _may_wait(each)])
        following = part.following
        back_to = next((_made(each) for each in reversed(part.matches)), back_to)
        if len(found) >= A_PAGEFUL:
            break
    lines = sorted(found.values(), key=lambda line: line.since)
    return Queue(tuple(lines), show_time(back_to) if back_to else "", following)


async def _waiting(
    visit: Visit, reports: Sequence[Resource]
) -> dict[tuple[str, frozenset[str]], CaseLine]:
    """The cases of these reports that wait, by patient and images: who read the images once more
    in another report has read the same case."""
    images = sorted(set[str]().union(*(images_of(report) for report in reports)))
    readings: list[Resource] = []
    for at in range(0, len(images), _IMAGES_AT_ONCE):
        some = ",".join(images[at : at + _IMAGES_AT_ONCE])
        query = {"derived-from": some, "code": _CODES, "_count": _PAGE}
        readings += await every(visit, "Observation", query)
    by_images: dict[tuple[str, frozenset[str]], dict[str, Resource]] = defaultdict(dict)
    for reading in readings:
        sources = frozenset(str(e.get("reference")) for e in reading.get("derivedFrom", ()))
        # One of several images is found with each of them.
        by_images[_subject(reading), sources][reading["id"]] = reading
    found = {}
    for report in reports:
        key = _subject(report), images_of(report)
        line = _line(visit, report, list(by_images[key].values())) if key[1] else None
        if line is not None:
            found[key] = line
    return found


def _line(visit: Visit, report: Resource, readings: list[Resource]) -> CaseLine | None:
    """The line of a report whose readings these are; None when it does not wait."""
    case = double_reading(readings, visit.fhir.fhir_base)
    if not case.waits_for_third:
        return None
    since = max(str(reading.get("effectiveDateTime", "")) for reading in readings)
    return CaseLine(
        report=report["id"],
        patient=visit.fhir.key(_subject(report))[1],
        since=since,
        when=show_time(since),
        images=len(images_of(report)),
        is_own=has_read(visit, case),
    )


def _may_wait(report: Resource) -> bool:
    return is_signed(report) and _subject(report).startswith("Patient/")


def _subject(resource: Resource) -> str:
    return str(resource.get("subject", {}).get("reference", ""))


def _made(report: Resource) -> str:
    return str(report.get("effectiveDateTime") or report.get("issued", ""))


async def load_case(visit: Visit, report: Resource) -> tuple[DoubleReading, list[Resource]]:
    """How a report of this chart was read, and the Observations that say so."""
    query = {"patient": visit.patient, "code": _CODES, "_count": _PAGE}
    images = images_of(report)
    found = await visit.fhir.search("Observation", query)
    readings = [reading for reading in found if is_of_images(reading, images)]
    return double_reading(readings, visit.fhir.fhir_base), readings


def has_read(visit: Visit, case: DoubleReading) -> bool:
    """Whether who is signed in has read the case, or opened the AI's result instead."""
    reader = visit.session.fhir_user
    return reader is not None and who_is(reader, visit.fhir.fhir_base) in case.readers


async def store(visit: Visit, report: Resource, answer: str, when: str) -> None:
    """Store the reader's adjudication, once for each reader and report."""
    reader = str(visit.session.fhir_user)
    observation = adjudicated_reading(report, reader, answer, when)
    key = reading_key(report, reader)
    condition = f"identifier={ADJUDICATION_OF_REPORT}|{key}"
    await visit.fhir.create(observation, if_none_exist=condition)
