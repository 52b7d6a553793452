"""Whether a case was read doubly, whether the readers agree, and who may decide where they don't.

What counts are first readings, made before the AI was shown. Two readers who agree settle a case;
where they differ a third adjudicates, who has neither read it before nor opened the AI's result
instead. One rule for the app, which asks the third reader, and for the candidate training set,
which learns from what is settled (ADR 0022).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from fhir_server.fhir.assessment import CANONICAL, FINDINGS
from fhir_server.fhir.drawings import drawing_of
from fhir_server.fhir.feedback import ADJUDICATED_READING, FIRST_READING
from fhir_server.fhir.reference import who_is

Resource = dict[str, Any]

LABELS = {"parasites-seen": 1, "parasites-not-seen": 0}
"""Readings that say something of a smear, and the class that they mean."""
ADJUDICATION_OF_REPORT = f"{CANONICAL}/identifier/adjudicated-reading-of-report"
"""Identifies one reader's adjudication of one report."""
_TAKEN_BACK = frozenset({"entered-in-error", "cancelled"})
"""Observation.status of what is no reading any more."""


class Agreement(StrEnum):
    """How far a case is: read by fewer than two, read alike, read differently, and decided by a
    third reader."""

    SINGLE = "single"
    ALIKE = "alike"
    DIFFERENT = "different"
    ADJUDICATED = "adjudicated"


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading: whose (as `who_is` names them), which Observation, and the class that it means;
    None is said by "cannot tell"."""

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
    opened: frozenset[str] = frozenset()
    """Who opened the AI's result at once, for a danger sign, and made no reading of their own."""

    @property
    def readers(self) -> frozenset[str]:
        """Everybody who has read it, in either way, or has opened the AI's result instead; none of
        them is asked again."""
        return self.opened.union(each.reader for each in (*self.first, *self.third))

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


def double_reading(readings: Iterable[Resource], base_url: str) -> DoubleReading:
    """What the Observations of one case's readings come to; one that nobody signed is none. One
    person is one reader, however references name them; `base_url` is this server's FHIR base."""
    signed = [_signed(each, base_url) for each in readings]
    known = [r for r in signed if r.get("status") not in _TAKEN_BACK and _reader(r)]
    first = _said(known, FIRST_READING)
    readers, opened = {each.reader for each in first}, _opened(known)
    asked = (e for e in _said(known, ADJUDICATED_READING) if e.reader not in readers | opened)
    case = DoubleReading(first, tuple(asked), Agreement.SINGLE, opened=opened)
    if len(readers) < 2:
        return case
    alike = _only(first)
    if alike is not None:
        return replace(case, agreement=Agreement.ALIKE, label=alike)
    said = tuple(each for each in case.third if each.label is not None)
    decided = _only(said)
    if decided is not None:
        return replace(case, third=said, agreement=Agreement.ADJUDICATED, label=decided)
    return replace(case, agreement=Agreement.DIFFERENT)


def _signed(reading: Resource, base_url: str) -> Resource:
    """The reading with its performers named alike."""
    named = [each for each in reading.get("performer", ()) if "reference" in each]
    who = [{"reference": who_is(str(each["reference"]), base_url)} for each in named]
    return {**reading, "performer": who}


def _opened(readings: Iterable[Resource]) -> frozenset[str]:
    return frozenset(
        _reader(reading)
        for reading in readings
        if FIRST_READING in _codes(reading.get("code")) and "valueCodeableConcept" not in reading
    )


def _reader(reading: Resource) -> str:
    """Who made a reading (a reference); empty where it doesn't say so."""
    return next((str(each.get("reference", "")) for each in reading.get("performer", ())), "")


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
        said = (LABELS.get(each) for each in _codes(reading["valueCodeableConcept"]))
        label = next((each for each in said if each is not None), None)
        found.append(Reading(_reader(reading), f"Observation/{reading['id']}", label))
    return tuple(found)


def _codes(concept: Resource | None) -> list[str]:
    codings = (concept or {}).get("coding", ())
    return [each["code"] for each in codings if each.get("system") == FINDINGS and "code" in each]
