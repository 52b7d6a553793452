"""Which signed reports may teach a model, and what they teach: the rules, on resources in hand.

The clinician's final answer is no ground truth: it was given with the AI's in view. What counts are
first readings, made before the AI was shown: two readers who agree, or a third who adjudicates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from fhir_server.fhir.double_reading import Agreement, DoubleReading, double_reading, images_of
from fhir_server.fhir.feedback import reasons_in
from models.retraining.consents import permits_training

Resource = dict[str, Any]

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
    base_url: str
    """The FHIR base of the server that they are from."""


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
    images = tuple(sorted(images_of(report)))
    if not images:
        return Lack.IMAGES
    if any(SPOILT & set(reasons_in(each)) for each in record.feedback):
        return Lack.SPOILT
    found = _label(double_reading(record.readings, record.base_url))
    if isinstance(found, Lack):
        return found
    label, readings = found
    reference = f"DiagnosticReport/{report['id']}"
    return Case(reference, report["subject"]["reference"], images, label, readings)


def _label(found: DoubleReading) -> tuple[int, tuple[str, ...]] | Lack:
    """The class of a double-read case with the readings behind it."""
    if found.label is not None:
        return found.label, found.references
    is_single = found.agreement is Agreement.SINGLE
    return Lack.SECOND_READER if is_single else Lack.DISAGREEMENT
