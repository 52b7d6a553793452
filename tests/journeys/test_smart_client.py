"""The SMART JS client from npm (fhirclient) launches in a real browser: from an EHR, and by itself
with a patient to be chosen; it reads, searches and refreshes."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc.jwk import ECKey
from playwright.sync_api import Page

from deploy.keys import public_jwks
from deploy.registrations import register
from deploy.simulated_ehr.oauth import SCOPES, Server
from fhir_server.security.authorization.clients import Client
from fhir_server.storage.sqlite.store import SqliteStore
from fhir_server.system import new_id, utc_now
from tests.journeys import clinician as dr
from tests.journeys.clinician import Watched
from tests.journeys.running import Installation
from tests.journeys.smart_page import CLIENT_ID, STANDALONE, SmartPage, smart_page

pytestmark = [pytest.mark.browser, pytest.mark.fhirclient]

EHR = "journey-ehr"
RESOURCES = "patient/Patient.rs patient/Observation.rs user/Practitioner.rs"
LAUNCH = f"launch openid fhirUser online_access {RESOURCES}"
BY_ITSELF = f"launch/patient launch/encounter openid fhirUser offline_access {RESOURCES}"
KEY = ECKey.generate_key("P-384", {"kid": EHR}, private=True)


@pytest.fixture
def app(service: Installation) -> Iterator[SmartPage]:
    """The foreign app, and an EHR that may launch it, both registered."""
    with smart_page(f"{service.origin}/fhir", LAUNCH, BY_ITSELF) as served:
        smart = Client(
            CLIENT_ID,
            "Growth chart",
            " ".join(dict.fromkeys(f"{LAUNCH} {BY_ITSELF}".split())),
            redirect_uris=(served.redirect_uri,),
            launch_uri=served.launch_uri,
        )
        ehr = Client(
            EHR,
            "Journey EHR",
            SCOPES,
            redirect_uris=(f"{served.origin}/ehr",),
            jwks=public_jwks(KEY.as_dict(private=True)),
            is_preapproved=True,
            is_ehr=True,
        )
        _aside(lambda: _register(service, [smart, ehr]))
        yield served


async def _register(service: Installation, clients: list[Client]) -> None:
    store = SqliteStore.open(service.folder / "medsage.sqlite", utc_now)
    try:
        await register(store, clients)
    finally:
        await store.close()


def _aside(work: Any) -> Any:
    """Playwright's loop runs in this thread, so others run in one of their own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(work())).result()


def _launch_url(page: Page, service: Installation, app: SmartPage, context: dict[str, Any]) -> str:
    """What an EHR does: sign its user in, and ask for a launch."""
    redirect, state, verifier = f"{app.origin}/ehr", new_id(), new_id() + new_id()

    def server(http: httpx.AsyncClient) -> Server:
        auth, fhir = f"{service.origin}/auth", f"{service.origin}/fhir"
        return Server(http, auth, fhir, EHR, KEY, utc_now, new_id)

    page.goto(server(httpx.AsyncClient()).sign_in_url(redirect, state, verifier))
    dr.sign_in(page, "dr.amina")
    page.wait_for_url(f"{redirect}*")
    code = parse_qs(urlsplit(page.url).query)["code"][0]

    async def launched() -> str:
        async with httpx.AsyncClient() as http:
            tokens = await server(http).redeem(code, redirect, verifier)
            return await server(http).launch(tokens, {"client_id": CLIENT_ID, **context})

    return str(_aside(launched))


def test_a_foreign_app_is_launched_by_an_ehr(
    watched: Watched, service: Installation, app: SmartPage
) -> None:
    page = watched.page
    context = {
        "patient": "ward-7",
        "encounter": "ward-7-visit",
        "fhirContext": [{"reference": "Observation/ward-7-8310-5"}],
        "intent": "growth",
    }
    page.goto(_launch_url(page, service, app, context))
    page.get_by_role("heading", name="Allow Growth chart").wait_for()
    page.get_by_role("button", name="Allow").click()
    done = app.result(page)
    assert "problem" not in done, (done, watched.complaints)
    assert (done["patient"]["id"], done["again"]) == ("ward-7", "ward-7")
    assert done["user"]["id"] == "dr-amina"
    assert done["isRefreshed"]
    assert done["encounter"] == "ward-7-visit"
    assert {each["subject"]["reference"] for each in done["found"]} == {"Patient/ward-7"}
    assert (done["told"]["intent"], done["told"]["need_patient_banner"]) == ("growth", True)
    assert done["told"]["fhirContext"] == context["fhirContext"]
    assert watched.complaints == []


def test_a_foreign_app_by_itself_has_its_user_choose_between_two_of_one_name(
    watched: Watched, service: Installation, app: SmartPage
) -> None:
    page = watched.page
    page.goto(app.origin + STANDALONE)
    dr.sign_in(page, "dr.kofi")
    page.get_by_role("heading", name="Choose a patient").wait_for()
    page.get_by_label("Name").fill("peter mwa")
    page.keyboard.press("Enter")
    both = page.get_by_role("radio", name="MWANGI, Peter")
    both.first.wait_for()
    assert both.count() == 2
    assert page.get_by_text("compare birth date and number").count() == 2
    both.first.focus()
    page.keyboard.press("Space")
    if page.locator("input:checked").get_attribute("value") != "ward-7":
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Choose a visit").wait_for()
    assert page.locator(".identity").get_by_text("MRN-1007").is_visible()
    page.get_by_label("ambulatory").check()
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Allow").click()
    done = app.result(page)
    assert "problem" not in done, (done, watched.complaints)
    assert (done["patient"]["id"], done["again"]) == ("ward-7", "ward-7")
    assert (done["user"]["id"], done["encounter"]) == ("dr-kofi", "ward-7-visit")
    assert done["isRefreshed"]
    assert done["found"]
    assert "smart_style_url" not in done["told"]
    assert watched.complaints == []


def test_the_pages_to_choose_work_without_scripts_and_are_accessible(
    without_scripts: Page, watched: Watched, service: Installation, app: SmartPage
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    asked = (
        f"{service.origin}/auth/authorize?response_type=code&client_id={CLIENT_ID}&state=s"
        f"&redirect_uri={app.redirect_uri}&scope=launch/patient+launch/encounter+openid"
        f"&aud={service.origin}/fhir&code_challenge={'c' * 43}&code_challenge_method=S256"
    )
    for page, has_scripts in ((without_scripts, False), (watched.page, True)):
        page.goto(asked)
        dr.sign_in(page, "dr.amina")
        for label, text in (("Birth date", "1990"), ("Patient number", "MRN-1007")):
            page.get_by_label(label).fill(text)
        page.get_by_role("button", name="Search").click()
        page.get_by_role("radio", name="MWANGI, Peter").check()
        if has_scripts:
            assert _violations(Axe(), page) == []
        page.get_by_role("button", name="Continue with this patient").click()
        page.get_by_label("No visit").check()
        if has_scripts:
            assert _violations(Axe(), page) == []
        page.get_by_role("button", name="Continue").click()
        page.get_by_role("heading", name="Allow Growth chart").wait_for()


def _violations(axe: Any, page: Page) -> list[str]:
    return [each["id"] for each in axe.run(page).response["violations"]]
