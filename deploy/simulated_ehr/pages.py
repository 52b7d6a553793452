"""The pages of who is signed in: patients, one chart, the app beside it, two charts at once."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from deploy.simulated_ehr.charts import (
    Chart,
    Report,
    Visit,
    chart_of,
    listing_of,
    reports_of,
    visits_of,
)
from deploy.simulated_ehr.oauth import Refused, Tokens
from deploy.simulated_ehr.rendering import SimulatedEhr, problem, render
from deploy.simulated_ehr.sessions import PATH
from deploy.simulated_ehr.sign_in import current_tokens

_PAGE_SIZE = 20
_MOST_VISITS = 10
_MOST_REPORTS = 5
_TENANT = "synthetic-district-hospital"
_OPEN_REPORT = "open-report"
INTENTS = {"new-assessment": "Launch MedSAGE for a new malaria assessment"}
"""What a link in the chart asks the app for, and what the link says."""
_NO_CHART = "The chart can't be opened"
_NO_LAUNCH = "MedSAGE can't be launched"


@dataclass(frozen=True)
class Pane:
    """One chart beside the app; `url` is what its frame opens."""

    chart: Chart
    url: str


async def patients(ehr: SimulatedEhr, request: Request) -> Response:
    """The list, or those whose name was searched for; `beside` keeps a first chart open."""
    tokens = await current_tokens(ehr, request)
    if tokens is None:
        return _to_start(ehr, request)
    asked = request.query_params
    name = asked.get("name", "").strip()
    search = {"_count": str(_PAGE_SIZE), "_sort": "family,given"} | ({"name": name} if name else {})
    try:
        bundle = await ehr.server.fhir(tokens, "Patient", asked.get("next") or urlencode(search))
    except Refused as refused:
        return problem(ehr, "The patients can't be listed", str(refused), 502)
    today = ehr.server.clock().date()
    return render(
        ehr,
        "patients.html",
        user_name=tokens.name,
        listing=listing_of(bundle, today),
        name=name or _searched_name(asked.get("next")),
        beside=asked.get("beside"),
    )


async def chart(ehr: SimulatedEhr, request: Request) -> Response:
    """One patient's chart with the way to launch the app."""
    tokens = await current_tokens(ehr, request)
    if tokens is None:
        return _to_start(ehr, request)
    id = request.path_params["patient"]
    search = urlencode({"patient": id, "_sort": "-date", "_count": str(_MOST_VISITS)})
    try:
        shown = await _chart(ehr, tokens, id)
        visits: tuple[Visit, ...] = visits_of(await ehr.server.fhir(tokens, "Encounter", search))
        reports = await _reports(ehr, tokens, id)
    except Refused as refused:
        return problem(ehr, _NO_CHART, str(refused), 502)
    return render(
        ehr,
        "chart.html",
        user_name=tokens.name,
        chart=shown,
        visits=visits,
        reports=reports,
        intents=INTENTS,
    )


async def _reports(ehr: SimulatedEhr, tokens: Tokens, patient: str) -> tuple[Report, ...]:
    search = {"patient": patient, "_sort": "-date", "_count": str(_MOST_REPORTS)}
    return reports_of(await ehr.server.fhir(tokens, "DiagnosticReport", urlencode(search)))


async def framed(ehr: SimulatedEhr, request: Request) -> Response:
    """The chart with the app in a frame. Each time the page is opened it is a new launch."""
    tokens = await current_tokens(ehr, request)
    if tokens is None:
        return _to_start(ehr, request)
    id = request.path_params["patient"]
    try:
        pane = Pane(await _chart(ehr, tokens, id), await _launch(ehr, tokens, request, id))
    except Refused as refused:
        return problem(ehr, _NO_LAUNCH, str(refused), 502)
    return render(ehr, "framed.html", user_name=tokens.name, panes=[pane], query=_query(request))


async def side_by_side(ehr: SimulatedEhr, request: Request) -> Response:
    """Two charts, each with the app in a frame of its own."""
    tokens = await current_tokens(ehr, request)
    if tokens is None:
        return _to_start(ehr, request)
    panes = []
    try:
        for id in (request.path_params["patient"], request.path_params["second"]):
            shown = await _chart(ehr, tokens, id)
            panes.append(Pane(shown, await _launch(ehr, tokens, request, id)))
    except Refused as refused:
        return problem(ehr, _NO_LAUNCH, str(refused), 502)
    return render(ehr, "framed.html", user_name=tokens.name, panes=panes, query="")


async def window(ehr: SimulatedEhr, request: Request) -> Response:
    """The app in a window of its own."""
    tokens = await current_tokens(ehr, request)
    if tokens is None:
        return _to_start(ehr, request)
    try:
        url = await _launch(ehr, tokens, request, request.path_params["patient"])
    except Refused as refused:
        return problem(ehr, _NO_LAUNCH, str(refused), 502)
    return RedirectResponse(url, 303, {"Cache-Control": "no-store"})


async def _chart(ehr: SimulatedEhr, tokens: Tokens, id: str) -> Chart:
    patient = await ehr.server.fhir(tokens, f"Patient/{id}")
    return chart_of(patient, ehr.server.clock().date())


async def _launch(ehr: SimulatedEhr, tokens: Tokens, request: Request, patient: str) -> str:
    asked = request.query_params
    context: dict[str, Any] = {"client_id": ehr.app_id, "patient": patient, "tenant": _TENANT}
    if asked.get("encounter"):
        context["encounter"] = asked["encounter"]
    if asked.get("banner") == "ehr":  # the frame's own header already shows who the patient is
        context["need_patient_banner"] = False
    if asked.get("report"):
        context["fhirContext"] = [{"reference": f"DiagnosticReport/{asked['report']}"}]
        context["intent"] = _OPEN_REPORT
    elif asked.get("intent") in INTENTS:
        context["intent"] = asked["intent"]
    return await ehr.server.launch(tokens, context)


def _query(request: Request) -> str:
    return f"?{request.url.query}" if request.url.query else ""


def _searched_name(following: str | None) -> str:
    return parse_qs(following or "").get("name", [""])[0]


def _to_start(ehr: SimulatedEhr, request: Request) -> Response:
    answer = RedirectResponse(f"{PATH}/", 303, {"Cache-Control": "no-store"})
    ehr.sessions.end(request, answer)
    return answer
