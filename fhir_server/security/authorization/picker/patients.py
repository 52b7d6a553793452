"""`/patient`: the user chooses the patient (SMART App Launch 2.2, "Standalone apps").

Names are sent by POST alone, so that none is in an address, a log or the browser's history.
Nobody is listed before the user asks.
"""

import re
from dataclasses import dataclass, field
from urllib.parse import urlencode

from authlib.oauth2.rfc6749.errors import AccessDeniedError
from starlette.requests import Request
from starlette.responses import Response

from fhir_server.fhir.outcome import BUSY, FhirError
from fhir_server.fhir.reference import ID
from fhir_server.security.authorization.authorize_endpoint import form_targets, refuse_with_page
from fhir_server.security.authorization.charts import View
from fhir_server.security.authorization.context import Choice, wants_encounter
from fhir_server.security.authorization.pages import REQUEST_EXPIRED, marked, page
from fhir_server.security.authorization.parameters import Parameters
from fhir_server.security.authorization.picker.pending import (
    Pending,
    charts_of,
    journal_listing,
    keep_choice,
    load_pending,
    load_posted,
    refuse,
)
from fhir_server.security.authorization.picker.wording import PatientLine, patient_lines
from fhir_server.security.authorization.server import AuthorizationServer
from fhir_server.storage.port import Key

_DATE = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?", re.ASCII)
_SEPARATORS = re.compile(r"([\\,$|])")
_ORDER = ("_sort", "family,given")
_PLACES = {"more": "place", "choose": "here"}
"""Which field of the form says from where patients are listed; a search starts anew."""
_LONGEST = 200
_BAD_DATE = marked("The birth date must be written as 1990-02-03, 1990-02 or 1990")
_NOBODY_CHOSEN = marked("Choose a patient, then continue")
_UNKNOWN = marked("This patient can't be opened. Search again")
_BUSY = marked("The search is not ready yet. Try again in a minute")
_NOT_UNDERSTOOD = marked("This can't be searched for. Change it and try again")


@dataclass(frozen=True)
class _Shown:
    """What the page shows: the search as typed, what it found (None: nothing was asked), and
    what is wrong, with the id of the field to mend."""

    typed: Parameters = field(default_factory=dict)
    lines: list[PatientLine] | None = None
    here: str | None = None
    next: str | None = None
    message: str | None = None
    mend: str = "name"


async def show_patients(server: AuthorizationServer, request: Request) -> Response:
    """GET: the page to search on."""
    pending = await load_pending(server, request, request.query_params.get("request"))
    if pending is None:
        return await refuse_with_page(server, request, REQUEST_EXPIRED, "nothing to choose for")
    if not (await charts_of(server, pending.principal)).permits_patients:
        refused = AccessDeniedError("this user may see no patients")
        return await refuse(server, request, pending, refused)
    return _page(pending, _Shown())


async def choose_patient(server: AuthorizationServer, request: Request) -> Response:
    """POST: search, turn the page, choose, or cancel."""
    loaded = await load_posted(server, request)
    if isinstance(loaded, Response):
        return loaded
    pending, form = loaded
    view = await charts_of(server, pending.principal)
    if form.get("action") != "choose":
        return await _listed(server, request, pending, form)
    id = form.get("patient", "")
    if not re.fullmatch(ID, id):
        return await _listed(server, request, pending, form, _NOBODY_CHOSEN)
    if await view.read(Key("Patient", id)) is None:
        return await _listed(server, request, pending, form, _UNKNOWN)
    is_complete = not wants_encounter(pending.asked, pending.client) or not await _visits(view, id)
    choice = Choice(pending.session.id, id, is_complete=is_complete)
    return await keep_choice(server, request, pending, choice)


async def _visits(view: View, patient: str) -> bool:
    if not view.access.permits("Encounter", "s"):
        return False
    return bool((await view.find("Encounter", [("patient", f"Patient/{patient}")])).resources)


async def _listed(
    server: AuthorizationServer,
    request: Request,
    pending: Pending,
    form: Parameters,
    message: str | None = None,
) -> Response:
    """The page with what was found; `message` says what was wrong before."""
    birthdate = form.get("birthdate", "").strip()
    if birthdate and not _DATE.fullmatch(birthdate):
        return _page(pending, _Shown(form, message=_BAD_DATE, mend="birthdate"))
    criteria = _criteria(form)
    here = form.get(_PLACES.get(form.get("action", ""), ""))
    try:
        view = await charts_of(server, pending.principal)
        found = await view.find("Patient", [*criteria, _ORDER], here)
    except FhirError as refusal:
        text = _BUSY if refusal.status == BUSY else _NOT_UNDERSTOOD
        return _page(pending, _Shown(form, message=text))
    query = f"Patient?{urlencode([*criteria, _ORDER])}"
    await journal_listing(server, request, pending, query)
    lines = patient_lines(found.resources, server.clock().date())
    mend = lines[0].id if lines and message else ""
    target = f"patient-{mend}" if mend else "name"
    shown = _Shown(form, lines, here, found.next, message, target)
    return _page(pending, shown)


def _criteria(form: Parameters) -> list[tuple[str, str]]:
    """The search parameters of what was typed; each word of the name has to be found."""
    words = form.get("name", "")[:_LONGEST].split()
    pairs = [("name", _SEPARATORS.sub(r"\\\1", word)) for word in words]
    if number := form.get("identifier", "").strip()[:_LONGEST]:
        pairs.append(("identifier", _SEPARATORS.sub(r"\\\1", number)))
    if birthdate := form.get("birthdate", "").strip():
        pairs.append(("birthdate", birthdate))
    return pairs


def _page(pending: Pending, shown: _Shown) -> Response:
    return page(
        "choose_patient.html",
        status=400 if shown.message else 200,
        frame_origins=pending.client.frame_origins if pending.asked.launch else (),
        form_targets=form_targets(pending.asked),
        client_name=pending.client.name,
        user_name=pending.user.name,
        csrf=pending.csrf,
        request_handle=pending.handle,
        typed={name: shown.typed.get(name, "") for name in ("name", "birthdate", "identifier")},
        lines=shown.lines,
        here=shown.here,
        place=shown.next,
        message=shown.message,
        mend=shown.mend,
    )
