"""Whether a case was read doubly, whether the readers agree, and who may decide where they don't.

What counts are first readings, made before the AI was shown. Two readers who agree settle a case;
where they differ a third adjudicates, who has not read it before. One rule for the app, which asks
the third reader, and for the candidate training set, which learns from what is settled (ADR 0022).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fhir_server.fhir.assessment import CANONICAL, FINDINGS
from fhir_server.fhir.drawings import drawing_of
from fhir_server.fhir.feedback import ADJUDICATED_READING, FIRST_READING

Resource = dict[str, Any]

LABELS = {"parasites-seen": 1, "parasites-not-seen": 0}
"""Readings that say something of a smear, and the class that they mean."""
ADJUDICATION_OF_REPORT = f"{CANONICAL}/identifier/adjudicated-reading-of-report"
"""Identifies one reader's adjudication of one report."""


class Agreement(StrEnum):
    """How far a case is: read by fewer than two, read alike, read differently, and decided by a
    third reader."""

    SINGLE = "single"
    ALIKE = "alike"
    DIFFERENT = "different"
    ADJUDICATED = "adjudicated"


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading: whose (a reference), which Observation, and the class that it means; None is
    said by "cannot tell"."""

    reader: str
    reference: str
    label: int | None


@dataclass(frozen=True, slots=True)
class DoubleReading:
    """A case: its first readings, the adjudications of readers who had not read it before, and
    what comes of both (`label` is the class, where one is settled)."""

    first: tuple[Reading, ...]
    third: tuple[Reading, ...]
    agreement: Agreement
    label: int | None = None

    @property
    def readers(self) -> frozenset[str]:
        """Everybody who has read it, in either way; none of them is asked again."""
        return frozenset(each.reader for each in (*self.first, *self.third))

    @property
    def waits_for_third(self) -> bool:
        """Whether another reader could settle it: where two who adjudicated differ, none can."""
        said = {each.label for each in self.third} - {None}
        return self.agreement is Agreement.DIFFERENT and len(said) < 2

    @property
    def references(self) -> tuple[str, ...]:
        """The Observations that settle it."""
        decided = self.third if self.agreement is Agreement.ADJUDICATED else ()
        return (
            *sorted(each.reference for each in self.first),
            *sorted(each.reference for each in decided),
        )


def images_of(report: Resource) -> frozenset[str]:
    """The images (references) that were sent for a report, without what was drawn of them: what
    a reading of it is derived from."""
    sent = (each for each in report.get("media", ()) if drawing_of(each) is None)
    return frozenset(str(each["link"]["reference"]) for each in sent)


def is_of_images(reading: Resource, images: frozenset[str]) -> bool:
    """Whether an Observation is a reading of exactly these images."""
    sources = {each.get("reference") for each in reading.get("derivedFrom", ())}
    return bool(images) and sources == images


def double_reading(readings: Iterable[Resource]) -> DoubleReading:
    """What the Observations of one case's readings come to."""
    known = list(readings)
    first = _said(known, FIRST_READING)
    readers = {each.reader for each in first}
    third = tuple(e for e in _said(known, ADJUDICATED_READING) if e.reader not in readers)
    if len(readers) < 2:
        return DoubleReading(first, third, Agreement.SINGLE)
    alike = _only(first)
    if alike is not None:
        return DoubleReading(first, third, Agreement.ALIKE, alike)
    decided = _only([each for each in third if each.label is not None])
    if decided is not None:
        said = tuple(each for each in third if each.label is not None)
        return DoubleReading(first, said, Agreement.ADJUDICATED, decided)
    return DoubleReading(first, third, Agreement.DIFFERENT)


def _only(readings: Sequence[Reading]) -> int | None:
    """The class that all of them mean; None where they differ, or one can't tell."""
    labels = {each.label for each in readings}
    return labels.pop() if len(labels) == 1 else None


def _said(readings: Iterable[Resource], code: str) -> tuple[Reading, ...]:
    """The readings of a kind. One that was not made (a danger sign opened the AI at once) is no
    reading."""
    found = []
    for reading in readings:
        is_kind = code in _codes(reading.get("code"))
        if not is_kind or "valueCodeableConcept" not in reading:
            continue
        reader = str(reading["performer"][0]["reference"])
        said = (LABELS.get(each) for each in _codes(reading["valueCodeableConcept"]))
        label = next((each for each in said if each is not None), None)
        found.append(Reading(reader, f"Observation/{reading['id']}", label))
    return tuple(found)


def _codes(concept: Resource | None) -> list[str]:
    codings = (concept or {}).get("coding", ())
    return [each["code"] for each in codings if each.get("system") == FINDINGS and "code" in each]
