"""Patients and visits in words, with what keeps them from being mixed up; pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from fhir_server.search.terms import fold
from fhir_server.security.authorization.pages import marked

Resource = Mapping[str, Any]
NOT_RECORDED = marked("not recorded")
_NO_NAME = marked("Name not recorded")
_DECEASED = marked("Recorded as deceased")
_NOT_IN_USE = marked("This record is no longer in use")
_NAMESAKE = marked("Another patient here has the same name: compare birth date and number")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MOST_NUMBERS = 3


@dataclass(frozen=True)
class PatientLine:
    """One patient. `numbers` are the identifiers, the usual one first; `notes` are warnings."""

    id: str
    name: str
    born: str
    sex: str
    numbers: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class VisitLine:
    """One encounter; `is_current` when it has begun and not ended."""

    id: str
    text: str
    is_current: bool


def patient_lines(patients: Sequence[Resource], today: date) -> list[PatientLine]:
    """The patients of one page; those that share a name say so."""
    lines = [patient_line(patient, today) for patient in patients]
    names = Counter(fold(line.name) for line in lines)
    return [
        replace(line, notes=(*line.notes, _NAMESAKE)) if names[fold(line.name)] > 1 else line
        for line in lines
    ]


def patient_line(patient: Resource, today: date) -> PatientLine:
    """One patient; what is not recorded is said in words."""
    is_deceased = "deceasedDateTime" in patient or patient.get("deceasedBoolean") is True
    notes = {
        _DECEASED: is_deceased,
        _NOT_IN_USE: patient.get("active") is False or _is_replaced(patient),
    }
    return PatientLine(
        id=patient["id"],
        name=_name(patient.get("name", ())),
        born=_born(patient.get("birthDate"), today),
        sex=patient.get("gender", NOT_RECORDED),
        numbers=_numbers(patient.get("identifier", ())),
        notes=tuple(note for note, applies in notes.items() if applies),
    )


def visit_line(encounter: Resource) -> VisitLine:
    """One encounter: when, what kind, in which state."""
    start = encounter.get("period", {}).get("start", "")[:10]
    kind = next(filter(None, _kinds(encounter)), marked("visit"))
    status = encounter.get("status", "unknown")
    text = f"{_day(start) if start else marked('no date')} · {kind} · {status.replace('-', ' ')}"
    return VisitLine(encounter["id"], text, status == "in-progress")


def _kinds(encounter: Resource) -> Iterable[str | None]:
    for concept in encounter.get("type", ()):
        yield concept.get("text")
        yield from (coding.get("display") for coding in concept.get("coding", ()))
    given = encounter.get("class", {})
    yield from (given.get("display"), given.get("code"))


def _is_replaced(patient: Resource) -> bool:
    return any(link.get("type") == "replaced-by" for link in patient.get("link", ()))


def _name(names: Sequence[Resource]) -> str:
    if not names:
        return _NO_NAME
    name = next((one for one in names if one.get("use") == "official"), names[0])
    given = " ".join(filter(None, name.get("given", ())))
    parts = (name.get("family", "").upper(), given)
    return ", ".join(filter(None, parts)) or name.get("text") or _NO_NAME


def _born(text: str | None, today: date) -> str:
    if text is None:
        return NOT_RECORDED
    if len(text) < len("2000-01-01"):
        return text
    born = date.fromisoformat(text)
    months = (today.year - born.year) * 12 + today.month - born.month - (today.day < born.day)
    return f"{_day(text)} ({months} months)" if months < 24 else f"{_day(text)} ({months // 12} y)"


def _day(text: str) -> str:
    """A date without doubt about which number is the month; what is shorter as it is."""
    year, *rest = text.split("-")
    if len(rest) < 2:
        return text
    return f"{rest[1]}-{_MONTHS[int(rest[0]) - 1]}-{year}"


def _numbers(identifiers: Sequence[Resource]) -> tuple[str, ...]:
    valued = [one for one in identifiers if one.get("value") and one.get("use") != "old"]
    usual_first = sorted(valued, key=lambda one: one.get("use") != "usual")
    return tuple(one["value"] for one in usual_first[:_MOST_NUMBERS])
