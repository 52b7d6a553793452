"""SMART App Launch 2.2, "EHR launch": the context, its one use, and the frame."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.smart_world import EHR_ORIGIN, FHIR, SmartWorld, answer_of, hidden_fields, smart_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmartWorld]:
    async with smart_world(tmp_path) as opened:
        yield opened


LAUNCH_SCOPE = "openid fhirUser launch patient/Observation.rs"


async def _handle(world: SmartWorld, app: str = "app", **body: object) -> str:
    answer = await world.launch(await world.ehr_token(), app, **body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["launch"])


async def test_the_ehr_is_given_the_address_to_open(world: SmartWorld) -> None:
    body = (await world.launch(await world.ehr_token())).json()
    assert body["launch_url"].startswith("https://app.test/launch?iss=https%3A%2F%2Fmedsage")
    assert body["launch_url"].endswith("launch=" + body["launch"])
    assert body["expires_in"] == 60


async def test_a_framed_launch_needs_no_second_sign_in_and_brings_the_context(
    world: SmartWorld,
) -> None:
    handle = await _handle(world, encounter="e1", need_patient_banner=False)
    scope = LAUNCH_SCOPE + " launch/encounter"
    async with world.new_browser() as frame:
        answer = await world.authorize(browser=frame, launch=handle, scope=scope)
    tokens = (await world.redeem(answer_of(answer)["code"])).json()
    assert tokens["patient"] == "p1"
    assert tokens["encounter"] == "e1"
    assert tokens["need_patient_banner"] is False
    assert "patient/Observation.rs" in tokens["scope"].split()
    who = await world.who(tokens["access_token"])
    assert (who.subject, who.patient, who.encounter) == ("dr.amina", "p1", "e1")


async def test_a_launch_without_encounter_grants_none(world: SmartWorld) -> None:
    scope = LAUNCH_SCOPE + " launch/encounter"
    tokens = (await world.redeem(await world.launched_code(scope=scope))).json()
    assert "encounter" not in tokens
    assert "launch/encounter" not in tokens["scope"]


async def test_a_launch_is_used_once(world: SmartWorld) -> None:
    handle = await _handle(world)
    async with world.new_browser() as frame:
        first = await world.authorize(browser=frame, launch=handle, scope=LAUNCH_SCOPE)
        second = await world.authorize(browser=frame, launch=handle, scope=LAUNCH_SCOPE)
    assert "code" in answer_of(first)
    assert answer_of(second)["error"] == "invalid_request"
    assert "launch again" in answer_of(second)["error_description"]


async def test_a_launch_ends_after_a_minute(world: SmartWorld) -> None:
    handle = await _handle(world)
    world.clock.forward(61)
    answer = await world.authorize(launch=handle, scope=LAUNCH_SCOPE)
    assert answer_of(answer)["error"] == "invalid_request"


async def test_a_launch_is_for_the_app_it_was_made_for(world: SmartWorld) -> None:
    handle = await _handle(world)
    answer = await world.authorize("public-app", launch=handle, scope=LAUNCH_SCOPE)
    assert answer_of(answer)["error"] == "invalid_request"


async def test_a_guessed_launch_is_refused(world: SmartWorld) -> None:
    answer = await world.authorize(launch="guess", scope=LAUNCH_SCOPE)
    assert answer_of(answer)["error"] == "invalid_request"


async def test_a_launch_in_the_browser_of_somebody_else_is_refused(world: SmartWorld) -> None:
    handle = await _handle(world)
    async with world.new_browser() as other:
        await world.sign_in("dr.kofi", other)
        answer = await world.authorize(browser=other, launch=handle, scope=LAUNCH_SCOPE)
    assert answer_of(answer)["error"] == "access_denied"


async def test_a_launch_ends_with_the_session_in_the_ehr(world: SmartWorld) -> None:
    ehr = await world.tokens("ehr", scope="openid online_access")
    handle = (await world.launch(ehr["access_token"])).json()["launch"]
    await world.browser.post("/auth/logout", data={"id_token_hint": ehr["id_token"]})
    answer = await world.authorize(launch=handle, scope=LAUNCH_SCOPE)
    assert answer_of(answer)["error"] == "access_denied"


async def test_the_launch_parameter_needs_the_launch_scope(world: SmartWorld) -> None:
    answer = await world.authorize(launch=await _handle(world), scope="openid")
    assert "launch scope" in answer_of(answer)["error_description"]


async def test_a_password_is_never_asked_for_in_a_launch(world: SmartWorld) -> None:
    handle = await _handle(world)
    answer = await world.authorize(launch=handle, scope=LAUNCH_SCOPE, prompt="login")
    assert answer_of(answer)["error"] == "login_required"


async def test_only_a_registered_ehr_with_a_signed_in_user_creates_launches(
    world: SmartWorld,
) -> None:
    app = (await world.tokens())["access_token"]
    assert (await world.launch(app)).status_code == 403
    service = await world.token("service", grant_type="client_credentials", scope="system/Task.rs")
    assert (await world.launch(service.json()["access_token"])).status_code == 403
    nobody = await world.launch("x.y.z")
    assert nobody.status_code == 401
    assert nobody.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"patient": "p9"}, "patient"),
        ({"patient": "p2", "encounter": "e1"}, "another patient"),
        ({"encounter": "e9"}, "encounter"),
        ({"client_id": "service"}, "client_id"),
        ({"user": "dr.kofi"}, "user"),
        ({"patient": 7}, "patient"),
    ],
)
async def test_a_launch_that_does_not_fit_is_refused_and_says_why(
    world: SmartWorld, wrong: dict[str, object], says: str
) -> None:
    answer = await world.launch(await world.ehr_token(), **wrong)
    assert answer.status_code == 400
    assert says in answer.json()["error_description"]
    assert (await world.journal("launch"))[-1]["outcome"] == "refused"


async def test_an_error_page_and_a_consent_page_may_be_framed_by_the_registered_ehr_alone(
    world: SmartWorld,
) -> None:
    handle = await _handle(world, "third")
    async with world.new_browser() as frame:
        answer = await world.authorize("third", frame, launch=handle, scope=LAUNCH_SCOPE)
        page = await frame.get("/auth/" + answer.headers["location"])
        assert f"frame-ancestors {EHR_ORIGIN};" in page.headers["content-security-policy"]
        assert "Dr amina" in page.text
        form = hidden_fields(page) | {"decision": "allow"}
        assert "code" in answer_of(await frame.post("/auth/consent", data=form))
        asked = world.asking("third") | {"redirect_uri": "https://evil.test/"}
        problem = await frame.get("/auth/authorize", params=asked)
    assert problem.status_code == 400
    assert f"frame-ancestors {EHR_ORIGIN};" in problem.headers["content-security-policy"]
    assert "x-frame-options" not in page.headers


async def test_a_launch_is_audited_with_its_patient(world: SmartWorld) -> None:
    await world.launched_code()
    (launch,) = await world.journal("launch")
    assert (launch["outcome"], launch["subject"], launch["client"], launch["patient"]) == (
        "success",
        "dr.amina",
        "ehr",
        "p1",
    )
    assert (await world.journal("authorize"))[-1]["patient"] == "p1"
    assert launch["base"] == FHIR
