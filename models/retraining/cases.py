"""Which signed reports may teach a model, and what they teach: the rules, on resources in hand.

The clinician's final answer is no ground truth: it was given with the AI's in view. What counts are
first readings, made before the AI was shown: two readers who agree, or a third who adjudicates.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from fhir_server.fhir.assessment import FINDINGS
from fhir_server.fhir.feedback import ADJUDICATED_READING, FIRST_READING, reasons_in
from models.retraining.consents import permits_training

Resource = dict[str, Any]

LABELS = {"parasites-seen": 1, "parasites-not-seen": 0}
"""Readings that say something of a smear, and the class that they mean."""
SPOILT = frozenset({"poor-image", "artefact", "wrong-slide"})
"""Reasons of feedback after which images teach nothing true."""


class Lack(StrEnum):
    """Why a case teaches nothing."""

    CONSENT = "no consent to training"
    IMAGES = "no image"
    SECOND_READER = "read by fewer than two"
    DISAGREEMENT = "read differently and not adjudicated"
    SPOILT = "poor image, artefact or wrong slide"
    UNREADABLE = "no cell that may be labelled"


@dataclass(frozen=True, slots=True)
class Record:
    """A signed report with what is needed to judge it."""

    report: Resource
    readings: Sequence[Resource]
    """Observations of the report's first and adjudicated readings."""
    feedback: Sequence[Resource]
    consents: Sequence[Resource]


@dataclass(frozen=True, slots=True)
class Case:
    """A case that may teach: its patient, images (references), class (1: parasites seen), and the
    readings that say so."""

    report: str
    patient: str
    images: tuple[str, ...]
    label: int
    readings: tuple[str, ...]


def judged(record: Record, now: datetime) -> Case | Lack:
    """What a record teaches, or why nothing."""
    report = record.report
    if not permits_training(record.consents, now):
        return Lack.CONSENT
    images = tuple(sorted(each["link"]["reference"] for each in report.get("media", ())))
    if not images:
        return Lack.IMAGES
    if any(SPOILT & set(reasons_in(each)) for each in record.feedback):
        return Lack.SPOILT
    found = _label(record.readings)
    if isinstance(found, Lack):
        return found
    label, readings = found
    reference = f"DiagnosticReport/{report['id']}"
    return Case(reference, report["subject"]["reference"], images, label, readings)


def _label(readings: Sequence[Resource]) -> tuple[int, tuple[str, ...]] | Lack:
    """The class of a double-read case with the readings behind it."""
    first = _said(readings, FIRST_READING)
    readers = {reader for reader, _, _ in first}
    if len(readers) < 2:
        return Lack.SECOND_READER
    classes = {label for _, label, _ in first}
    references = tuple(sorted(reference for _, _, reference in first))
    if len(classes) == 1 and None not in classes:
        return int(str(classes.pop())), references
    # A third reader decides: who read before is not asked again.
    third = [each for each in _said(readings, ADJUDICATED_READING) if each[0] not in readers]
    decided = {label for _, label, _ in third}
    if len(decided) != 1 or None in decided:
        return Lack.DISAGREEMENT
    return int(str(decided.pop())), (*references, *sorted(reference for _, _, reference in third))


def _said(readings: Iterable[Resource], code: str) -> list[tuple[str, int | None, str]]:
    """(reader, class, reference) of the readings of a kind; None is said by "cannot tell". One
    that was not made (a danger sign opened the AI at once) is no reading."""
    found = []
    for reading in readings:
        is_kind = code in _codes(reading.get("code"))
        if not is_kind or "valueCodeableConcept" not in reading:
            continue
        reader = str(reading["performer"][0]["reference"])
        said = (LABELS.get(each) for each in _codes(reading["valueCodeableConcept"]))
        label = next((each for each in said if each is not None), None)
        found.append((reader, label, f"Observation/{reading['id']}"))
    return found


def _codes(concept: Resource | None) -> list[str]:
    codings = (concept or {}).get("coding", ())
    return [each["code"] for each in codings if each.get("system") == FINDINGS and "code" in each]
