"""The queue of cases that two readers read differently, and the third reader's Observation.

The third reader sees the images and neither the AI result nor the other readings (blinded) until
their own is stored; it decides what the case teaches (fhir_server.fhir.double_reading), and changes
nothing in the signed report.
"""

from collections import defaultdict
from collections.abc import Iterable
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
from smart_app.fhir_client import Resource
from smart_app.presenters.history import is_signed
from smart_app.presenters.times import show_time
from smart_app.reading import READING_OF_REPORT, adjudicated_reading, reading_key
from smart_app.visit import Visit

_CODES = f"{FINDINGS}|{FIRST_READING},{FINDINGS}|{ADJUDICATED_READING}"
_PAGE = "200"
MOST_CASES = 40
"""So many are listed at a time."""


@dataclass(frozen=True)
class CaseLine:
    """One case that waits for a third reader; `is_own` when the reader has read it before, and is
    not asked again."""

    report: str
    patient: str
    when: str
    images: int
    is_own: bool


async def load_queue(visit: Visit) -> tuple[list[CaseLine], bool]:
    """The signed cases that wait, the longest first, and whether all could be looked through.
    Before a report is signed, first readings are still being made."""
    query = {"code": _CODES, "_sort": "-date", "_count": _PAGE}
    readings, is_all = await visit.fhir.listing("Observation", query)
    lines = case_lines(visit, readings)
    asked = lines[:MOST_CASES]
    if not asked:
        return [], is_all
    wanted = {"_id": ",".join(line.report for line in asked)}
    reports = await visit.fhir.search("DiagnosticReport", wanted)
    signed = {report["id"] for report in reports if is_signed(report)}
    return [each for each in asked if each.report in signed], is_all and len(asked) == len(lines)


def case_lines(visit: Visit, readings: Iterable[Resource]) -> list[CaseLine]:
    """The cases among these readings that wait for a third reader."""
    cases: dict[tuple[str, frozenset[str]], list[Resource]] = defaultdict(list)
    for reading in readings:
        sources = frozenset(str(e.get("reference")) for e in reading.get("derivedFrom", ()))
        if sources and "subject" in reading:
            cases[str(reading["subject"]["reference"]), sources].append(reading)
    found = []
    for (patient, images), each in cases.items():
        case, report = double_reading(each), _report_in(each)
        if case.waits_for_third and report is not None:
            since = max(str(reading.get("effectiveDateTime", "")) for reading in each)
            is_own = visit.session.fhir_user in case.readers
            patient_id = visit.fhir.key(patient)[1]
            line = CaseLine(report, patient_id, show_time(since), len(images), is_own)
            found.append((since, line))
    return [line for _since, line in sorted(found, key=lambda each: each[0])]


async def load_case(visit: Visit, report: Resource) -> tuple[DoubleReading, list[Resource]]:
    """How a report of this chart was read, and the Observations that say so."""
    query = {"patient": visit.patient, "code": _CODES, "_count": _PAGE}
    images = images_of(report)
    found = await visit.fhir.search("Observation", query)
    readings = [reading for reading in found if is_of_images(reading, images)]
    return double_reading(readings), readings


async def store(visit: Visit, report: Resource, answer: str, when: str) -> None:
    """Store the reader's adjudication, once for each reader and report."""
    reader = str(visit.session.fhir_user)
    observation = adjudicated_reading(report, reader, answer, when)
    key = reading_key(report, reader)
    condition = f"identifier={ADJUDICATION_OF_REPORT}|{key}"
    await visit.fhir.create(observation, if_none_exist=condition)


def _report_in(readings: Iterable[Resource]) -> str | None:
    """The report that first readings are of, by their business identifier."""
    for reading in readings:
        reader = str(reading["performer"][0]["reference"]).rpartition("/")[2]
        for name in reading.get("identifier", ()):
            value = str(name.get("value", ""))
            if name.get("system") == READING_OF_REPORT and value.endswith(f".{reader}"):
                return value.removesuffix(f".{reader}")
    return None
