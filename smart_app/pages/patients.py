"""Find a patient, or enter a new one: only for users who signed in from Home, never in a chart."""

import asyncio
import re
from collections.abc import Mapping

from starlette.responses import Response

from fhir_server.fhir.assessment import VITAL_SIGNS
from smart_app.drafts import Draft, Drafts
from smart_app.fhir_client import Resource
from smart_app.pages.start import bound_to
from smart_app.presenters.intake import FieldProblem, intake_view
from smart_app.presenters.people import person_line
from smart_app.presenters.registration import REGISTRATION, new_patient, read_registration
from smart_app.problems import Problem
from smart_app.recalls import recall_lines, recalls_of_user
from smart_app.visit import Visit

FIRST_MEASURES = ("weight", "height", "blood_group")


def require_standalone(visit: Visit) -> None:
    """A session launched from a chart never leaves its patient."""
    if not visit.session.standalone:
        raise Problem("not-found")


async def find(visit: Visit) -> Response:
    """The search form and what it found, by any of name, birth date and identifier."""
    require_standalone(visit)
    asked = {
        name: visit.request.query_params.get(name, "").strip()
        for name in ("name", "birthdate", "identifier")
    }
    query = {name: value for name, value in asked.items() if value}
    is_bad_date = not re.fullmatch(r"(\d{4}(-\d\d(-\d\d)?)?)?", asked["birthdate"])
    (found, is_all), recalls = await asyncio.gather(
        _found(visit, {} if is_bad_date else query), recalls_of_user(visit)
    )
    today = visit.parts.clock().date()
    return await visit.page(
        "patients.html",
        recalls=recalls,
        lines_recalled=recall_lines(visit, recalls.items),
        asked=asked,
        is_bad_date=is_bad_date,
        was_asked=bool(query),
        is_all=is_all,
        people=[person_line(patient, today) for patient in found],
    )


async def _found(visit: Visit, query: Mapping[str, str]) -> tuple[list[Resource], bool]:
    """One page of the patients who match, and whether that is all of them."""
    if not query:
        return [], True
    return await visit.fhir.listing("Patient", {**query, "_sort": "name"}, pages=1)


async def open_chart(visit: Visit) -> Response:
    """Open one patient's chart as a session of its own."""
    require_standalone(visit)
    patient = await visit.fhir.read("Patient", visit.text("patient"))
    return await _open(visit, patient["id"], "")


async def new(visit: Visit) -> Response:
    """The empty form for a new patient."""
    require_standalone(visit)
    return await _form(visit, {"form_id": visit.parts.new_id()}, ())


async def create(visit: Visit) -> Response:
    """Store a new patient and go on to the intake, with what was measured filled in."""
    require_standalone(visit)
    fields = {name: visit.text(name) for name in visit.form}
    today = visit.parts.clock().date()
    registration = read_registration(fields, today=today)
    measures = {name: fields.get(name, "") for name in FIRST_MEASURES}
    confirmed = {k: v for k, v in fields.items() if k.startswith("confirm_")}
    view = intake_view({**measures, **confirmed}, today=today, born=registration.birth_date)
    problems = (*registration.problems, *view.problems)
    form_id = fields.get("form_id", "")
    if not re.fullmatch(r"[0-9A-Za-z-]{8,64}", form_id):
        raise Problem("bad-form")
    if problems:
        return await _form(visit, fields, problems)
    stored = await visit.fhir.create(
        new_patient(registration, form_id), if_none_exist=f"identifier={REGISTRATION}|{form_id}"
    )
    return await _open(visit, stored["id"], "intake", {**measures, **confirmed})


async def _open(
    visit: Visit, patient: str, page: str, fields: dict[str, str] | None = None
) -> Response:
    session = bound_to(visit.session, patient)
    await visit.parts.sessions.open(session)
    if fields:
        draft = Draft(visit.parts.new_id(), fields)
        await Drafts(visit.parts.sessions, session.sid).keep(draft)
    return Visit(visit.parts, visit.request, session, visit.fhir).see(page)


async def _form(
    visit: Visit, fields: dict[str, str], problems: tuple[FieldProblem, ...]
) -> Response:
    today = visit.parts.clock().date()
    born = read_registration(fields, today=today).birth_date
    measured = intake_view(fields, today=today, born=born)
    shown = [v for v in measured.vitals if v.name in FIRST_MEASURES and v.name in VITAL_SIGNS]
    return await visit.page(
        "patient-new.html",
        422 if problems else 200,
        fields=fields,
        problems=problems,
        measures=shown,
        size=measured.size,
        blood_group=measured.blood_group,
    )
