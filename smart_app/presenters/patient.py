"""The patient banner: who this chart is about, and what must never be overlooked."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from fhir_server.fhir.assessment import BLOOD_GROUP, LOINC, VITAL_SIGNS
from smart_app.fhir_client import Resource
from smart_app.language import gettext as _
from smart_app.presenters.elements import has_code, show_concept, show_name, show_value
from smart_app.presenters.times import show_age, show_date
from smart_app.sections import Section

SNOMED = "http://snomed.info/sct"
NO_KNOWN_ALLERGY = frozenset({"716186003", "409137002", "428607008", "429625007"})
TEST_TAG = "HTEST"
TAKEN_BACK = frozenset({"entered-in-error", "cancelled"})
"""Observation.status of a value that is none: a dose may be reckoned by the weight shown."""


@dataclass(frozen=True)
class Allergies:
    """`known` tells an answer ("none known", or a list) from an absent one."""

    text: str
    names: tuple[str, ...] = ()
    known: bool = False
    loaded: bool = True


@dataclass(frozen=True)
class Banner:
    """Identity as it is shown on top of every page and on every printed page."""

    id: str
    name: str
    born: str
    age: str
    sex: str
    identifier: str
    weight: str
    blood_group: str
    allergies: Allergies
    flags: tuple[str, ...] = ()


def banner(
    patient: Resource,
    allergies: Section[Resource],
    observations: Section[Resource],
    *,
    today: date,
) -> Banner:
    """The banner of a Patient; `observations` are weights and blood groups, newest first."""
    sexes = {"male": _("Male"), "female": _("Female"), "other": _("Other")}
    weight = VITAL_SIGNS["weight"].loinc
    return Banner(
        id=patient["id"],
        name=show_name(patient.get("name", ())),
        born=show_date(patient.get("birthDate")),
        age=show_age(patient.get("birthDate"), today),
        sex=sexes.get(patient.get("gender", ""), _("Not known")),
        identifier=_identifier(patient),
        weight=_last(observations, weight),
        blood_group=_last(observations, BLOOD_GROUP["code"], dated=False),
        allergies=allergy_zone(allergies),
        flags=tuple(_flags(patient)),
    )


def allergy_zone(found: Section[Resource]) -> Allergies:
    """The allergy texts; refused, failed and unrecorded are each said in their own words."""
    match found.state:
        case "forbidden":
            return Allergies(_("Not permitted to see allergies"), loaded=False)
        case "failed":
            return Allergies(_("Allergies could not be loaded"), loaded=False)
        case "empty":
            return Allergies(_("No allergy information recorded"))
        case "loaded":
            return _recorded(found.items)


def _recorded(allergies: Sequence[Resource]) -> Allergies:
    active = [a for a in allergies if _is_active(a)]
    denied = [a for a in active if _says_none(a)]
    names = tuple(show_concept(a.get("code")) for a in active if a not in denied)
    if names:
        return Allergies(", ".join(names), names, known=True)
    if denied:
        day = show_date(denied[0].get("recordedDate"))
        return Allergies(_("No known allergies (recorded %(day)s)") % {"day": day}, known=True)
    return Allergies(_("No allergy information recorded"))


def _is_active(allergy: Resource) -> bool:
    closed = {"inactive", "resolved"}
    wrong = {"refuted", "entered-in-error"}
    clinical = {c.get("code") for c in allergy.get("clinicalStatus", {}).get("coding", ())}
    verified = {c.get("code") for c in allergy.get("verificationStatus", {}).get("coding", ())}
    return not clinical & closed and not verified & wrong


def _says_none(allergy: Resource) -> bool:
    return any(has_code(allergy.get("code"), SNOMED, code) for code in NO_KNOWN_ALLERGY)


def _identifier(patient: Resource) -> str:
    for identifier in patient.get("identifier", ()):
        if identifier.get("use") not in {"old", "secondary"} and "value" in identifier:
            label = show_concept(identifier["type"]) if "type" in identifier else _("ID")
            return f"{label} {identifier['value']}"
    return _("No identifier recorded")


def _last(observations: Section[Resource], loinc: str, *, dated: bool = True) -> str:
    if not observations.is_known:
        return _("Could not be loaded")
    for observation in observations.items:
        is_one = has_code(observation.get("code"), LOINC, loinc)
        if is_one and observation.get("status") not in TAKEN_BACK:
            value = show_value(observation)
            return (
                f"{value} ({show_date(observation.get('effectiveDateTime'))})" if dated else value
            )
    return _("Not recorded")


def _flags(patient: Resource) -> list[str]:
    flags = []
    if patient.get("deceasedBoolean") or patient.get("deceasedDateTime"):
        day = patient.get("deceasedDateTime")
        flags.append(_("Deceased %(day)s") % {"day": show_date(day)} if day else _("Deceased"))
    if any(tag.get("code") == TEST_TAG for tag in patient.get("meta", {}).get("security", ())):
        flags.append(_("Test patient"))
    if patient.get("active") is False:
        flags.append(_("Record not in use"))
    return flags
