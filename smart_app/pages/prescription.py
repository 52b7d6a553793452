"""S12: medicines after a signed report, as the clinician enters them, or the decision for none."""

import re

from starlette.responses import Response

from smart_app.charts import load_banner, load_prescription, load_report
from smart_app.notices import load_notices
from smart_app.pages.acting import signer
from smart_app.prescribing import PRESCRIPTION as SYSTEM
from smart_app.prescribing import (
    ROUTES,
    Prescription,
    medication_request,
    no_medicine,
    read_prescription,
    route_words,
)
from smart_app.presenters.intake import FieldProblem
from smart_app.problems import Problem
from smart_app.visit import Visit

FIELDS = (
    "medicine", "form", "dose", "dose_unit", "route", "frequency", "days", "instructions",
    "asked", "form_id",
)  # fmt: skip


async def show(visit: Visit) -> Response:
    """What is prescribed so far, and the form for one more medicine."""
    return await _page(visit, {"form_id": visit.parts.new_id()}, ())


async def prescribe(visit: Visit) -> Response:
    """Store one medicine, or the decision that there is none."""
    report = await _signed_report(visit)
    fields = {name: visit.text(name)[:500] for name in FIELDS}
    if not re.fullmatch(r"[0-9A-Za-z-]{8,64}", fields["form_id"]):
        raise Problem("bad-form")
    who = signer(visit)
    condition = f"identifier={SYSTEM}|{fields['form_id']}"
    if visit.text("decision") == "none":
        decision = no_medicine(report, who, fields["form_id"])
        await visit.fhir.create(decision, if_none_exist=condition)
        return visit.see(f"reports/{report['id']}/prescription")
    allergies = (await load_banner(visit)).allergies
    checked: Prescription = read_prescription(
        fields, allergies.names, allergies_loaded=allergies.loaded
    )
    if checked.problems:
        return await _page(visit, fields, checked.problems)
    request = medication_request(checked, report, who, fields["form_id"])
    await visit.fhir.create(request, if_none_exist=condition)
    return visit.see(f"reports/{report['id']}/prescription")


async def _signed_report(visit: Visit) -> dict[str, object]:
    loaded = await load_report(visit, visit.request.path_params["report"])
    if not loaded.view.is_signed:
        raise Problem("conflict")
    return loaded.resource


async def _page(
    visit: Visit, fields: dict[str, str], problems: tuple[FieldProblem, ...]
) -> Response:
    loaded = await load_report(visit, visit.request.path_params["report"])
    if not loaded.view.is_signed:
        return visit.see(f"reports/{loaded.view.id}")
    return await visit.page(
        "prescription.html",
        422 if problems else 200,
        banner=await load_banner(visit),
        report=loaded.view,
        notices=await load_notices(visit, loaded),
        prescribed=await load_prescription(visit, loaded.view.id),
        fields=fields,
        problems=problems,
        routes=[(route, route_words(route)) for route in ROUTES],
        can_prescribe=visit.allows("MedicationRequest", "c"),
    )
