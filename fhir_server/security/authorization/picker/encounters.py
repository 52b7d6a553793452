"""`/encounter`: the user chooses one of the chosen patient's visits, or none."""

import re
from dataclasses import replace
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from fhir_server.fhir.outcome import FhirError
from fhir_server.fhir.reference import ID
from fhir_server.security.authorization.authorize_endpoint import form_targets, refuse_with_page
from fhir_server.security.authorization.charts import Listing, Resource, View
from fhir_server.security.authorization.context import Choice
from fhir_server.security.authorization.pages import REQUEST_EXPIRED, marked, page
from fhir_server.security.authorization.picker.pending import (
    Pending,
    charts_of,
    journal_listing,
    keep_choice,
    load_pending,
    load_posted,
)
from fhir_server.security.authorization.picker.wording import patient_line, visit_line
from fhir_server.security.authorization.server import AuthorizationServer
from fhir_server.storage.port import Key

_NONE = "none"
_NOTHING_CHOSEN = marked("Choose a visit or “No visit”, then continue")
_UNKNOWN = marked("This visit can't be opened. Choose again")
_UNREADABLE = marked("The visits can't be listed now. Go on without one, or try again in a minute")


async def show_encounters(server: AuthorizationServer, request: Request) -> Response:
    """GET: the page with the patient's visits, newest first."""
    pending = await load_pending(server, request, request.query_params.get("request"))
    if pending is None or pending.choice is None:
        return await refuse_with_page(server, request, REQUEST_EXPIRED, "nothing to choose for")
    return await _page(server, request, pending)


async def choose_encounter(server: AuthorizationServer, request: Request) -> Response:
    """POST: choose, turn the page, go back to the patients, or cancel."""
    loaded = await load_posted(server, request)
    if isinstance(loaded, Response):
        return loaded
    pending, form = loaded
    choice = pending.choice
    if choice is None:
        return await refuse_with_page(server, request, REQUEST_EXPIRED, "nothing to choose for")
    action, id = form.get("action"), form.get("encounter", "")
    if action == "another":
        return await keep_choice(server, request, pending, None)
    if action == "more":
        return await _page(server, request, pending, place=form.get("place"))
    if id == _NONE:
        chosen = replace(choice, encounter=None, is_complete=True)
        return await keep_choice(server, request, pending, chosen)
    if not re.fullmatch(ID, id):
        return await _page(server, request, pending, message=_NOTHING_CHOSEN)
    if not await _is_visit_of(server, pending, choice.patient, id):
        return await _page(server, request, pending, message=_UNKNOWN)
    chosen = replace(choice, encounter=id, is_complete=True)
    return await keep_choice(server, request, pending, chosen)


async def _is_visit_of(
    server: AuthorizationServer, pending: Pending, patient: str, encounter: str
) -> bool:
    view = await charts_of(server, pending.principal)
    found = await view.read(Key("Encounter", encounter))
    return found is not None and is_about(found, patient, server.fhir_base)


def is_about(encounter: Resource, patient: str, fhir_base: str) -> bool:
    """Whether the encounter is this patient's."""
    subject = encounter.get("subject", {}).get("reference", "")
    return bool(subject.removeprefix(f"{fhir_base}/") == f"Patient/{patient}")


async def _page(
    server: AuthorizationServer,
    request: Request,
    pending: Pending,
    *,
    place: str | None = None,
    message: str | None = None,
) -> Response:
    view = await charts_of(server, pending.principal)
    patient = await _chosen(view, pending.choice)
    if patient is None:
        return await keep_choice(server, request, pending, None)
    try:
        found = await _visits(view, patient["id"], place)
        query = urlencode({"patient": patient["id"]})
        await journal_listing(server, request, pending, f"Encounter?{query}")
    except FhirError:
        found, message = Listing(()), _UNREADABLE
    return page(
        "choose_encounter.html",
        status=400 if message else 200,
        frame_origins=pending.client.frame_origins if pending.asked.launch else (),
        form_targets=form_targets(pending.asked),
        client_name=pending.client.name,
        patient=patient_line(patient, server.clock().date()),
        lines=[visit_line(each) for each in found.resources],
        place=found.next,
        message=message,
        csrf=pending.csrf,
        request_handle=pending.handle,
    )


async def _chosen(view: View, choice: Choice | None) -> Resource | None:
    return await view.read(Key("Patient", choice.patient)) if choice else None


async def _visits(view: View, patient: str, place: str | None) -> Listing:
    pairs = [("patient", f"Patient/{patient}"), ("_sort", "-date")]
    return await view.find("Encounter", pairs, place)
