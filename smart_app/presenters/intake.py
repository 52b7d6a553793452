"""The intake form: what is asked, what was answered, and what is wrong with the answers.

Two bands of plausibility: outside `possible` a value is an error; outside `usual` it is taken
once the user has confirmed that very value.
"""

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass
from datetime import date

from fhir_server.fhir.assessment import (
    ANSWER_CODES,
    BLOOD_GROUPS,
    HISTORY_CODES,
    SYMPTOM_CODES,
    TRAVEL_DATES,
    VITAL_SIGNS,
)
from smart_app.language import gettext as _
from smart_app.presenters.body_size import CONFIRM_SIZE, SIZE, SizeQuestion, size_question
from smart_app.presenters.elements import UNITS

NUMBER = re.compile(r"[0-9]{1,4}(?:[.,][0-9]{1,2})?")
MOST_TEXT = 4000


@dataclass(frozen=True)
class FieldProblem:
    """One thing to correct, shown in the summary on top and beside its field."""

    field: str
    text: str


@dataclass(frozen=True)
class VitalField:
    """One measured value in the form. `confirm` is the text of the box that confirms an unusual
    value, empty when there is nothing to confirm."""

    name: str
    label: str
    unit: str
    value: str
    problem: str
    confirm: str


@dataclass(frozen=True)
class SymptomField:
    """One symptom in the form; `answer` is yes, no or empty (not asked)."""

    name: str
    label: str
    is_danger: bool
    answer: str


@dataclass(frozen=True)
class DateField:
    """One day in the form, as typed."""

    name: str
    label: str
    value: str
    problem: str


@dataclass(frozen=True)
class IntakeView:
    """The form as it is shown, and what was understood of it."""

    vitals: tuple[VitalField, ...]
    symptoms: tuple[SymptomField, ...]
    blood_group: str
    text: str
    onset: str
    measured: Mapping[str, float]
    answers: Mapping[str, str]
    history: tuple[SymptomField, ...]
    travel: tuple[DateField, ...]
    dangers: tuple[str, ...]
    problems: tuple[FieldProblem, ...]
    size: SizeQuestion

    def problem(self, field: str) -> str:
        """The problem of one field, empty when it is fine."""
        return next((p.text for p in self.problems if p.field == field), "")

    @property
    def told(self) -> Mapping[str, str]:
        """The answers about what came before, of the questions that were asked."""
        return {each.name: each.answer for each in self.history if each.answer}

    @property
    def travel_days(self) -> Mapping[str, str]:
        """The days of the travel that are known."""
        return {each.name: each.value for each in self.travel if each.value and not each.problem}

    @property
    def says_something(self) -> bool:
        """Whether there is anything but measured values to analyse."""
        return bool(self.answers or self.text or self.onset)


def symptom_label(name: str) -> str:
    """The name of a symptom in the current language."""
    return _(SYMPTOM_CODES[name][0])


def vital_label(name: str) -> str:
    """The name of a vital sign in the current language."""
    return _(VITAL_SIGNS[name].display)


def intake_view(fields: Mapping[str, str], *, today: date, born: str | None = None) -> IntakeView:
    """Read the form's fields (all optional), as typed; `born` is the patient's birth date, as far
    as it is known."""
    vitals = tuple(_vital(name, fields) for name in VITAL_SIGNS)
    problems = [FieldProblem(v.name, v.problem) for v in vitals if v.problem]
    problems += _pressure_problem(vitals)
    measured = {v.name: as_number(v.value) for v in vitals if v.value and not v.problem}
    size = size_question(measured, fields.get(CONFIRM_SIZE, ""), born, today)
    problems += [FieldProblem(SIZE, size.problem)] if size.problem else []
    symptoms = tuple(
        SymptomField(name, symptom_label(name), danger, _choice(fields, name, ANSWER_CODES))
        for name, (_display, danger) in SYMPTOM_CODES.items()
    )
    history = tuple(
        SymptomField(name, _(text), False, _choice(fields, name, ANSWER_CODES))
        for name, text in HISTORY_CODES.items()
    )
    travel = _travel(fields, today)
    problems += [FieldProblem(day.name, day.problem) for day in travel if day.problem]
    onset, onset_problem = _onset(fields, today)
    problems += [FieldProblem("onset", onset_problem)] if onset_problem else []
    text = fields.get("symptoms_text", "")
    if len(text) > MOST_TEXT:
        problems.append(FieldProblem("symptoms_text", _("Shorten this to 4000 characters")))
    return IntakeView(
        vitals=vitals,
        symptoms=symptoms,
        blood_group=_choice(fields, "blood_group", BLOOD_GROUPS),
        text=text,
        onset=onset,
        measured=measured,
        answers={s.name: s.answer for s in symptoms if s.answer},
        history=history,
        travel=travel,
        dangers=tuple(s.label for s in symptoms if s.is_danger and s.answer == "yes"),
        problems=tuple(problems),
        size=size,
    )


def as_number(text: str) -> float:
    """A number typed with a point or a comma; a whole one stays whole, so that 62 is not 62.0."""
    return int(text) if text.isdigit() else float(text.replace(",", "."))


def _vital(name: str, fields: Mapping[str, str]) -> VitalField:
    sign = VITAL_SIGNS[name]
    unit = UNITS.get(sign.unit, sign.unit)
    value = fields.get(name, "").strip()
    problem = confirm = ""
    if value and not NUMBER.fullmatch(value):
        problem = _("Enter %(name)s as a number, for example %(example)s") % {
            "name": vital_label(name),
            "example": f"{(sign.usual[0] + sign.usual[1]) / 2:g}",
        }
    elif value:
        problem, confirm = _judge(name, value, fields.get(f"confirm_{name}", ""))
    return VitalField(name, vital_label(name), unit, value, problem, confirm)


def _judge(name: str, value: str, confirmed: str) -> tuple[str, str]:
    sign, number = VITAL_SIGNS[name], as_number(value)
    words = {"name": vital_label(name), "value": value, "unit": UNITS.get(sign.unit, sign.unit)}
    low, high = sign.possible
    if not low <= number <= high:
        between = {**words, "low": f"{low:g}", "high": f"{high:g}"}
        text = _("%(name)s must be between %(low)s and %(high)s %(unit)s") % between
        return text, ""
    low, high = sign.usual
    if low <= number <= high:
        return "", ""
    confirm = _("Yes, %(value)s %(unit)s is right") % words
    if confirmed == value:
        return "", confirm
    return _("%(name)s of %(value)s %(unit)s is unusual: correct or confirm it") % words, confirm


def _pressure_problem(vitals: tuple[VitalField, ...]) -> list[FieldProblem]:
    values = {v.name: as_number(v.value) for v in vitals if v.value and not v.problem}
    if values.get("systolic", 999) > values.get("diastolic", 0):
        return []
    text = _("The systolic pressure must be higher than the diastolic pressure")
    return [FieldProblem("systolic", text)]


def _choice(fields: Mapping[str, str], name: str, allowed: Container[str]) -> str:
    value = fields.get(name, "")
    return value if value in allowed else ""


def _onset(fields: Mapping[str, str], today: date) -> tuple[str, str]:
    value = fields.get("onset", "").strip()
    day, problem = _day(value, today)
    if day is not None and day > today:
        return value, _("The onset can't be in the future")
    return value, problem


def _travel(fields: Mapping[str, str], today: date) -> tuple[DateField, ...]:
    """The first and the last day of the travel; the second needs the first to come before it."""
    shown: list[DateField] = []
    known: list[date] = []
    for name, text in TRAVEL_DATES.items():
        value = fields.get(name, "").strip()
        day, problem = _day(value, today)
        if day is not None and day > today:
            problem = _("This day can't be in the future")
        elif day is not None and known and day < known[0]:
            problem = _("The last day must not come before the first")
        known += [day] if day is not None else []
        shown.append(DateField(name, _(text), value, problem))
    return tuple(shown)


def _day(value: str, today: date) -> tuple[date | None, str]:
    """A typed day and what is wrong with how it was typed; neither when nothing was."""
    if not value:
        return None, ""
    try:
        return date.fromisoformat(value), ""
    except ValueError:
        return None, _("Enter the day as a date, for example %(day)s") % {"day": today}
