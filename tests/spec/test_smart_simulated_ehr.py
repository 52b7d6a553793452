"""The simulated EHR: sign-in as an OAuth client, patients, and launches that the app can use."""

import re
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from deploy.simulated_ehr.app import create_simulated_ehr
from tests.smart_world import (
    EHR_ORIGIN,
    FHIR,
    ORIGIN,
    PASSWORD,
    SmartWorld,
    answer_of,
    ec_key,
    hidden_fields,
    put,
    smart_world,
)

AMA = {
    "resourceType": "Patient",
    "id": "p1",
    "name": [{"family": "Osei<script>", "given": ["Ama"]}],
    "birthDate": "1990-02-03",
    "gender": "female",
    "identifier": [{"value": "MRN-1"}],
}
BEN = {"resourceType": "Patient", "id": "p2", "name": [{"text": "Ben"}]}
VISIT = {
    "resourceType": "Encounter",
    "id": "e1",
    "status": "in-progress",
    "class": {"code": "AMB"},
    "period": {"start": "2026-02-01"},
}

REPORT = {
    "resourceType": "DiagnosticReport",
    "id": "r1",
    "status": "preliminary",
    "code": {"text": "Malaria smear <b>"},
    "subject": {"reference": "Patient/p1"},
    "issued": "2026-02-02T08:00:00Z",
}


def _fhir(world: SmartWorld) -> Starlette:
    """A FHIR server with two patients, which asks for the EHR's own token."""

    async def answer(request: Request) -> Response:
        await world.server.verifier.verify(request.headers.get("authorization"))
        patients = {"p1": AMA, "p2": BEN}
        type_, _, id = request.path_params["path"].partition("/")
        if id:
            known = patients.get(id)
            return JSONResponse(known, 200) if known else Response(status_code=404)
        if type_ == "Encounter":
            found: list[Any] = [VISIT] if request.query_params["patient"] == "p1" else []
        elif type_ == "DiagnosticReport":
            found = [REPORT] if request.query_params["patient"] == "p1" else []
        else:
            name = request.query_params.get("name", "")
            found = [one for one in (AMA, BEN) if name.lower() in str(one["name"]).lower()]
        entries = [{"resource": one} for one in found]
        more = [{"relation": "next", "url": f"{FHIR}/Patient?_cursor=abc&name=x"}]
        return JSONResponse({"entry": entries, "link": more})

    return Starlette(routes=[Route("/{path:path}", answer)])


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmartWorld]:
    async with smart_world(tmp_path) as opened:
        opened.application.routes.append(Mount("/fhir", _fhir(opened)))
        await opened.store.transaction(lambda tx: put(tx, REPORT))
        yield opened


@pytest.fixture
async def window(world: SmartWorld) -> AsyncIterator[httpx.AsyncClient]:
    """A browser that reaches the EHR and the server, with cookies of each."""
    server = httpx.ASGITransport(world.application)
    async with httpx.AsyncClient(transport=server) as http:
        ehr = create_simulated_ehr(
            http,
            ec_key("ehr").as_dict(private=True),
            server_origin=ORIGIN,
            origins=(EHR_ORIGIN,),
            app_origin="https://app.test",
            client_id="ehr",
            app_id="app",
            clock=world.clock,
        )
        mounts = {
            EHR_ORIGIN: httpx.ASGITransport(Starlette(routes=[Mount("/ehr", ehr)])),
            ORIGIN: server,
        }
        async with httpx.AsyncClient(
            mounts=mounts, base_url=EHR_ORIGIN, follow_redirects=True
        ) as opened:
            yield opened


async def _sign_in(window: httpx.AsyncClient) -> httpx.Response:
    page = await window.get("/ehr/sign-in")
    assert str(page.url).startswith(f"{ORIGIN}/auth/login")
    form = hidden_fields(page) | {"username": "dr.amina", "password": PASSWORD}
    return await window.post(f"{ORIGIN}/auth/login", data=form)


def _frames(page: httpx.Response) -> list[str]:
    return [unescape(url) for url in re.findall(r'<iframe src="([^"]+)"', page.text)]


async def test_a_clinician_signs_in_at_the_authorization_server_and_sees_the_patients(
    window: httpx.AsyncClient,
) -> None:
    assert "Sign in as a clinician" in (await window.get("/ehr/")).text
    page = await _sign_in(window)
    assert str(page.url) == f"{EHR_ORIGIN}/ehr/patients"
    assert "SIMULATED DATA" in page.text
    assert "OSEI&lt;SCRIPT&gt;, Ama" in page.text
    assert "Dr amina" in page.text
    assert "03-Feb-1990 (36 y)" in page.text
    assert "_cursor%3Dabc" in page.text


async def test_patients_are_searched_by_name(window: httpx.AsyncClient) -> None:
    await _sign_in(window)
    page = await window.get("/ehr/patients", params={"name": "ben"})
    assert "Ben" in page.text
    assert "OSEI" not in page.text
    none = await window.get("/ehr/patients", params={"name": "zz<"})
    assert "No patient matches “zz&lt;”" in none.text


async def test_the_launch_opens_the_app_in_a_frame_with_a_handle_that_works_there(
    world: SmartWorld, window: httpx.AsyncClient
) -> None:
    await _sign_in(window)
    chart = await window.get("/ehr/chart/p1")
    assert "Launch MedSAGE" in chart.text
    assert 'value="e1" id="visit-1" checked>' in chart.text
    assert "01-Feb-2026 · AMB · in progress" in chart.text
    page = await window.get("/ehr/chart/p1/medsage", params={"banner": "ehr"})
    (url,) = _frames(page)
    assert url.startswith("https://app.test/launch?")
    sent = dict(parse_qsl(urlsplit(url).query))
    assert sent["iss"] == FHIR
    policy = page.headers["content-security-policy"]
    assert "frame-src https://app.test https://medsage.test;" in policy
    scope = "openid launch patient/Observation.rs"
    async with world.new_browser() as frame:
        answer = await world.authorize(browser=frame, launch=sent["launch"], scope=scope)
    tokens = (await world.redeem(answer_of(answer)["code"])).json()
    assert (tokens["patient"], tokens["need_patient_banner"]) == ("p1", False)


async def _told(world: SmartWorld, page: httpx.Response) -> dict[str, Any]:
    """What the app in the page's frame is told with its token."""
    (url,) = _frames(page)
    launch = dict(parse_qsl(urlsplit(url).query))["launch"]
    async with world.new_browser() as frame:
        answer = await world.authorize(browser=frame, launch=launch, scope="openid launch")
    return dict((await world.redeem(answer_of(answer)["code"])).json())


async def test_a_report_of_the_chart_is_opened_with_the_app(
    world: SmartWorld, window: httpx.AsyncClient
) -> None:
    await _sign_in(window)
    chart = await window.get("/ehr/chart/p1")
    assert "02-Feb-2026 · Malaria smear &lt;b&gt; · preliminary" in chart.text
    told = await _told(world, await window.get("/ehr/chart/p1/medsage", params={"report": "r1"}))
    assert told["fhirContext"] == [{"reference": "DiagnosticReport/r1"}]
    assert (told["intent"], told["tenant"]) == ("open-report", "synthetic-district-hospital")
    assert "Report to open" not in (await window.get("/ehr/chart/p2")).text


async def test_a_report_of_another_chart_is_not(window: httpx.AsyncClient) -> None:
    await _sign_in(window)
    page = await window.get("/ehr/chart/p2/medsage", params={"report": "r1"})
    assert page.status_code == 502
    assert "in the chart of this patient is not known here" in page.text


async def test_a_link_says_what_the_app_is_wanted_for(
    world: SmartWorld, window: httpx.AsyncClient
) -> None:
    await _sign_in(window)
    chart = await window.get("/ehr/chart/p1")
    (link,) = re.findall(r'href="(/ehr/chart/p1/medsage\?intent=[^"]+)"', chart.text)
    assert (await _told(world, await window.get(link)))["intent"] == "new-assessment"
    other = await window.get("/ehr/chart/p1/medsage", params={"intent": "anything"})
    assert "intent" not in await _told(world, other)


async def test_opening_the_page_again_is_a_new_launch(window: httpx.AsyncClient) -> None:
    await _sign_in(window)
    first = _frames(await window.get("/ehr/chart/p1/medsage"))
    assert first != _frames(await window.get("/ehr/chart/p1/medsage"))


async def test_two_charts_side_by_side_are_two_launches(
    world: SmartWorld, window: httpx.AsyncClient
) -> None:
    await _sign_in(window)
    chosen = await window.get("/ehr/patients", params={"beside": "p1"})
    assert "/ehr/charts/p1/p2" in chosen.text
    frames = _frames(await window.get("/ehr/charts/p1/p2"))
    assert len(set(frames)) == 2
    launches = await world.journal("launch")
    assert [entry["patient"] for entry in launches] == ["p1", "p2"]


async def test_the_app_can_be_opened_in_a_window(window: httpx.AsyncClient) -> None:
    await _sign_in(window)
    answer = await window.get("/ehr/chart/p1/window", follow_redirects=False)
    assert answer.headers["location"].startswith("https://app.test/launch?")


async def test_an_unknown_patient_is_an_error_page_that_says_so(
    window: httpx.AsyncClient,
) -> None:
    await _sign_in(window)
    page = await window.get("/ehr/chart/nobody/medsage")
    assert page.status_code == 502
    assert "MedSAGE can't be launched" in page.text
    assert "404" in page.text


async def test_tokens_are_refreshed_before_they_end(
    world: SmartWorld, window: httpx.AsyncClient
) -> None:
    await _sign_in(window)
    world.clock.forward(3590)
    assert "OSEI" in (await window.get("/ehr/patients")).text


async def test_after_the_session_the_start_page_is_shown_again(
    world: SmartWorld, window: httpx.AsyncClient
) -> None:
    await _sign_in(window)
    world.clock.forward(7300)
    assert "Sign in as a clinician" in (await window.get("/ehr/patients")).text


async def test_signing_out_ends_the_session_at_the_server_too(
    world: SmartWorld, window: httpx.AsyncClient
) -> None:
    await _sign_in(window)
    page = await window.get("/ehr/sign-out")
    assert str(page.url) == f"{EHR_ORIGIN}/ehr/"
    assert len(await world.journal("logout")) == 1
    again = await window.get("/ehr/sign-in")
    assert "Password" in again.text


async def test_a_callback_that_this_browser_did_not_ask_for_is_refused(
    window: httpx.AsyncClient,
) -> None:
    page = await window.get("/ehr/callback", params={"code": "x", "state": "y"})
    assert page.status_code == 400
    assert "You are not signed in" in page.text
