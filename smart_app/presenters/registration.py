"""The form for a new patient: identity checked, turned into a Patient resource."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from fhir_server.fhir.assessment import CANONICAL
from smart_app.fhir_client import Resource
from smart_app.language import gettext as _
from smart_app.presenters.intake import FieldProblem

SEXES = ("female", "male", "other", "unknown")
OLDEST_YEARS = 125
LOCAL_NUMBER = f"{CANONICAL}/identifier/patient-number"
REGISTRATION = f"{CANONICAL}/identifier/registration"


@dataclass(frozen=True)
class Registration:
    """What the form says about a new patient; `problems` are empty when it can be stored."""

    family: str
    given: str
    birth_date: str
    sex: str
    number: str
    problems: tuple[FieldProblem, ...]


def read_registration(fields: Mapping[str, str], *, today: date) -> Registration:
    """Check the identity fields. A birth date is asked for in three parts, or an age instead."""
    family, given = (fields.get(name, "").strip() for name in ("family", "given"))
    problems = []
    if not family and not given:
        problems.append(FieldProblem("family", _("Enter the patient's name")))
    birth_date, problem = _birth(fields, today)
    problems += [problem] if problem else []
    sex = fields.get("sex", "")
    if sex not in SEXES:
        problems.append(FieldProblem("sex-female", _("Choose the patient's sex, or Not known")))
    number = fields.get("number", "").strip()
    return Registration(family, given, birth_date, sex, number, tuple(problems))


def _birth(fields: Mapping[str, str], today: date) -> tuple[str, FieldProblem | None]:
    day, month, year = (fields.get(f"birth_{part}", "").strip() for part in ("d", "m", "y"))
    age = fields.get("age", "").strip()
    if day or month or year:
        return _birth_date(day, month, year, today=today)
    if not age:
        text = _("Enter a birth date, or an age in years or months")
        return "", FieldProblem("birth_d", text)
    if not re.fullmatch(r"[0-9]{1,3}", age):
        return "", FieldProblem("age", _("Enter the age as a whole number"))
    if fields.get("age_unit") == "months":
        if int(age) > 24:
            return "", FieldProblem("age", _("Give ages above 24 months in years"))
        months = today.year * 12 + today.month - 1 - int(age)
        return f"{months // 12:04d}-{months % 12 + 1:02d}", None
    if int(age) > OLDEST_YEARS:
        return "", FieldProblem("age", _("The age must be at most 125 years"))
    # Only the year can be told from an age, and FHIR's partial dates say just that.
    return f"{today.year - int(age):04d}", None


def _birth_date(day: str, month: str, year: str, *, today: date) -> tuple[str, FieldProblem | None]:
    try:
        born = date(int(year), int(month), int(day))
    except ValueError:
        text = _("Enter the birth date as day, month and year, for example 27 3 1998")
        return "", FieldProblem("birth_d", text)
    if born > today:
        return "", FieldProblem("birth_d", _("The birth date can't be in the future"))
    if today.year - born.year > OLDEST_YEARS:
        return "", FieldProblem("birth_y", _("Check the year of birth"))
    return born.isoformat(), None


def new_patient(registration: Registration, form_id: str) -> Resource:
    """The Patient resource; `form_id` lets a double click find the first one again."""
    identifiers: list[Resource] = []
    if registration.number:
        local = {"use": "usual", "system": LOCAL_NUMBER, "value": registration.number}
        identifiers.append({"type": {"text": "ID"}, **local})
    identifiers.append({"use": "secondary", "system": REGISTRATION, "value": form_id})
    name: Resource = {"use": "official"}
    if registration.family:
        name["family"] = registration.family
    if registration.given:
        name["given"] = registration.given.split()
    return {
        "resourceType": "Patient",
        "active": True,
        "identifier": identifiers,
        "name": [name],
        "gender": registration.sex,
        "birthDate": registration.birth_date,
    }
