"""SMART App Launch from the app's side, and each way in which it can be misused."""

import pytest

from tests.app_browser import World, query_of
from tests.app_records import OTHER_PATIENT, PATIENT
from tests.app_server import FHIR


@pytest.fixture
def world():
    made = World()
    made.records.put(PATIENT)
    made.records.put(OTHER_PATIENT)
    return made


@pytest.fixture
def browser(world):
    return world.browser()


async def test_an_ehr_launch_opens_the_chart_of_the_launched_patient(browser):
    chart = await browser.launch()
    page = await browser.get(chart)
    assert page.status_code == 200
    assert "OKAFOR, Chidi" in page.text
    assert "17-May-1990" in page.text
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert "frame-ancestors http://127.0.0.1:5000" in page.headers["content-security-policy"]
    assert "x-frame-options" not in page.headers


async def test_the_launch_asks_with_pkce_state_nonce_and_aud(browser):
    answer = await browser.get(f"/app/launch?iss={FHIR}&launch=xyz")
    query = query_of(answer)
    assert query["code_challenge_method"] == "S256"
    assert query["aud"] == FHIR
    assert query["launch"] == "xyz"
    assert len(query["state"]) >= 32
    assert len(query["nonce"]) >= 32
    assert {"launch", "openid", "fhirUser"} <= set(query["scope"].split())


async def test_the_cookie_of_a_launch_is_bound_to_host_and_partition(browser):
    answer = await browser.get(f"/app/launch?iss={FHIR}&launch=xyz")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-medsage=")
    for word in ("Secure", "HttpOnly", "Path=/", "SameSite=None", "Partitioned"):
        assert word in cookie.split("; ")


async def test_an_unknown_issuer_is_refused(world, browser):
    answer = await browser.get("/app/launch?iss=https://evil.example/fhir&launch=xyz")
    assert answer.status_code == 400
    assert "not registered" in answer.text
    assert 'role="alert"' in answer.text
    (event,) = world.records.all("AuditEvent")
    assert event["outcome"] == "4"
    assert event["outcomeDesc"] == "unknown-issuer"


async def test_a_callback_with_an_unknown_state_is_refused(browser):
    answer = await browser.get("/app/callback?code=abc&state=never-given")
    assert answer.status_code == 400
    assert "expired" in answer.text


async def test_a_replayed_callback_is_refused_and_the_session_goes_on(browser):
    answer = await browser.get(f"/app/launch?iss={FHIR}&launch=xyz")
    callback = await browser.through_authorization(answer)
    first = await browser.get(callback)
    assert first.status_code == 303
    assert (await browser.get(callback)).status_code == 400
    assert (await browser.get(first.headers["location"])).status_code == 200


async def test_a_callback_without_the_binding_cookie_explains_blocked_cookies(browser):
    answer = await browser.get(f"/app/launch?iss={FHIR}&launch=xyz")
    callback = await browser.through_authorization(answer)
    browser.cookies.clear()
    blocked = await browser.get(callback)
    assert blocked.status_code == 400
    assert "blocked" in blocked.text


async def test_a_callback_in_another_browser_is_refused(world, browser):
    answer = await browser.get(f"/app/launch?iss={FHIR}&launch=xyz")
    callback = await browser.through_authorization(answer)
    thief = world.browser()
    await thief.get(f"/app/launch?iss={FHIR}&launch=other")
    assert (await thief.get(callback)).status_code == 400


async def test_a_callback_that_names_another_issuer_is_refused(browser):
    answer = await browser.get(f"/app/launch?iss={FHIR}&launch=xyz")
    callback = await browser.through_authorization(answer)
    refused = await browser.get(f"{callback}&iss=https://evil.example")
    assert refused.status_code == 400


async def test_a_denied_sign_in_says_so(browser):
    answer = await browser.get(f"/app/launch?iss={FHIR}&launch=xyz")
    state = query_of(answer)["state"]
    denied = await browser.get(f"/app/callback?error=access_denied&state={state}")
    assert denied.status_code == 403
    assert "not granted" in denied.text


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"nonce": "another"}, "could not be verified"),
        ({"aud": "another-client"}, "could not be verified"),
        ({"iss": "https://evil.example"}, "could not be verified"),
        ({"exp": 1}, "clocks disagree"),
    ],
)
async def test_an_id_token_that_is_not_for_this_launch_opens_nothing(world, browser, claims, words):
    world.records.claims_extra = claims
    answer = await browser.get(f"/app/launch?iss={FHIR}&launch=xyz")
    refused = await browser.get(await browser.through_authorization(answer))
    assert refused.status_code == 400
    assert words in refused.text


async def test_a_launch_without_a_patient_is_explained(world, browser):
    world.records.token_extra = {}
    answer = await browser.get(f"/app/launch?iss={FHIR}&launch=xyz")
    refused = await browser.get(await browser.through_authorization(answer))
    assert refused.status_code == 400
    assert "No patient" in refused.text


async def test_missing_scopes_are_named(world, browser):
    world.records.scope = "launch openid fhirUser patient/Patient.rs"
    answer = await browser.get(f"/app/launch?iss={FHIR}&launch=xyz")
    refused = await browser.get(await browser.through_authorization(answer))
    assert refused.status_code == 403
    assert "DiagnosticReport.rs" in refused.text


async def test_the_address_of_a_session_opens_nothing_in_another_browser(world, browser):
    chart = await browser.launch()
    assert (await world.browser().get(chart)).status_code == 401


async def test_two_charts_side_by_side_keep_their_patients(world, browser):
    first = await browser.launch()
    world.records.token_extra = {"patient": "p2"}
    second = await browser.launch()
    assert "OKAFOR" in (await browser.get(first)).text
    page = (await browser.get(second)).text
    assert "OKAFOR" not in page
    assert "<img src=x" not in page.lower()


async def test_without_a_patient_banner_in_the_record_system_a_small_one_stays(world, browser):
    world.records.token_extra = {"patient": "p1", "need_patient_banner": False}
    page = (await browser.get(await browser.launch())).text
    assert "banner micro" in page
    assert "OKAFOR, Chidi" in page


async def test_a_session_ends_after_its_time(world, browser):
    chart = await browser.launch()
    world.clock.ahead += world.clock.ahead.__class__(hours=2, minutes=1)
    ended = await browser.get(chart)
    assert ended.status_code == 401
    assert "session has ended" in ended.text


async def test_tokens_are_refreshed_on_the_server_before_they_expire(world, browser):
    chart = await browser.launch()
    world.clock.ahead += world.clock.ahead.__class__(seconds=570)
    assert (await browser.get(chart)).status_code == 200
    assert world.records.grants == ["authorization_code", "refresh_token"]


async def test_a_refused_refresh_asks_to_reconnect(world, browser):
    chart = await browser.launch()
    world.clock.ahead += world.clock.ahead.__class__(seconds=570)
    world.records.refuse_token = "invalid_grant"
    answer = await browser.get(chart)
    assert answer.status_code == 401
    assert "connection to the record system has ended" in answer.text


async def test_signing_out_ends_the_session(browser):
    chart = await browser.launch()
    done = await browser.submit(chart, f"{chart}sign-out")
    assert done.status_code == 200
    assert done.headers["clear-site-data"]
    assert (await browser.get(chart)).status_code == 401


async def test_no_token_reaches_the_browser(world, browser):
    chart = await browser.launch()
    page = await browser.get(chart)
    for secret in ("access_token", "refresh_token", "Bearer"):
        assert secret not in page.text
    assert "access_token" not in str(browser.cookies)
