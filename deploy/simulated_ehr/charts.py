"""How the simulated EHR shows a patient and a list of them; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any
from urllib.parse import urlsplit

Resource = Mapping[str, Any]
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


@dataclass(frozen=True)
class Chart:
    """The identity of one patient as it is shown."""

    id: str
    name: str
    born: str
    sex: str
    number: str


@dataclass(frozen=True)
class Visit:
    """One encounter to choose from; `is_current` when it has begun and not ended."""

    id: str
    text: str
    is_current: bool


@dataclass(frozen=True)
class Report:
    """One report that the app can be opened at."""

    id: str
    text: str


@dataclass(frozen=True)
class Listing:
    """A page of patients; `next` is the query of the following page, None on the last."""

    charts: tuple[Chart, ...]
    next: str | None


def chart_of(patient: Resource, today: date) -> Chart:
    """A Patient resource as it is shown; what is not recorded is said in words."""
    return Chart(
        id=patient["id"],
        name=_name(patient.get("name", [])),
        born=_born(patient.get("birthDate"), today),
        sex=patient.get("gender", "not recorded"),
        number=_number(patient),
    )


def listing_of(bundle: Resource, today: date) -> Listing:
    """A searchset of patients."""
    entries = (entry["resource"] for entry in bundle.get("entry", []))
    patients = [one for one in entries if one["resourceType"] == "Patient"]
    following = next(
        (link["url"] for link in bundle.get("link", []) if link["relation"] == "next"), None
    )
    charts = tuple(chart_of(patient, today) for patient in patients)
    return Listing(charts, urlsplit(following).query if following else None)


def visits_of(bundle: Resource) -> tuple[Visit, ...]:
    """A searchset of encounters, as they came."""
    found = (entry["resource"] for entry in bundle.get("entry", []))
    return tuple(_visit(one) for one in found if one["resourceType"] == "Encounter")


def reports_of(bundle: Resource) -> tuple[Report, ...]:
    """A searchset of reports, as they came."""
    found = (entry["resource"] for entry in bundle.get("entry", []))
    return tuple(_report(one) for one in found if one["resourceType"] == "DiagnosticReport")


def _report(report: Resource) -> Report:
    issued = (report.get("issued") or report.get("effectiveDateTime") or "")[:10]
    when = _day(date.fromisoformat(issued)) if len(issued) == 10 else issued or "no date"
    code = report["code"]
    displays = (coding.get("display") for coding in code.get("coding", []))
    name = code.get("text") or next(filter(None, displays), "Report")
    return Report(report["id"], f"{when} · {name} · {report['status']}")


def _visit(encounter: Resource) -> Visit:
    start = encounter.get("period", {}).get("start", "")[:10]
    when = _day(date.fromisoformat(start)) if len(start) == 10 else start or "no date"
    kinds = encounter.get("type", [{}])
    coding = kinds[0].get("coding", [{}])[0]
    given = encounter["class"]
    words = (kinds[0].get("text"), coding.get("display"), given.get("display"), given.get("code"))
    kind = next(filter(None, words), "visit")
    status = encounter["status"]
    text = f"{when} · {kind} · {status.replace('-', ' ')}"
    return Visit(encounter["id"], text, status == "in-progress")


def _name(names: Any) -> str:
    if not names:
        return "Name not recorded"
    name = next((one for one in names if one.get("use") == "official"), names[0])
    family = name.get("family", "").upper()
    given = " ".join(name.get("given", []))
    return ", ".join(part for part in (family, given) if part) or name.get("text", "Not recorded")


def _born(text: str | None, today: date) -> str:
    if text is None:
        return "not recorded"
    parts = [int(part) for part in text.split("-")]
    if len(parts) < 3:
        return text
    born = date(*parts)
    shown = _day(born)
    months = (today.year - born.year) * 12 + today.month - born.month - (today.day < born.day)
    return f"{shown} ({months} months)" if months < 24 else f"{shown} ({months // 12} y)"


def _day(day: date) -> str:
    return f"{day.day:02d}-{_MONTHS[day.month - 1]}-{day.year}"


def _number(patient: Resource) -> str:
    identifiers = patient.get("identifier", [])
    usual = next((one for one in identifiers if one.get("use") == "usual"), None)
    chosen = usual or (identifiers[0] if identifiers else {})
    return str(chosen.get("value", patient["id"]))
