"""SMART App Launch 2.2, "Obtain authorization code": GET and POST, sign-in, consent, answers."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.smart_world import (
    FHIR,
    ISSUER,
    PASSWORD,
    SmartWorld,
    answer_of,
    hidden_fields,
    smart_world,
)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmartWorld]:
    async with smart_world(tmp_path) as opened:
        yield opened


async def test_a_signed_in_user_is_sent_back_with_a_code_the_exact_state_and_the_issuer(
    world: SmartWorld,
) -> None:
    await world.sign_in()
    answer = await world.authorize()
    assert answer.status_code == 302
    assert answer.headers["location"].startswith("https://app.test/callback?")
    sent = answer_of(answer)
    assert sent["state"] == "st ate&1"
    assert sent["iss"] == ISSUER
    assert len(sent["code"]) >= 43
    assert answer.headers["cache-control"] == "no-store"


async def test_a_form_post_is_answered_like_a_get_but_with_303(world: SmartWorld) -> None:
    await world.sign_in()
    answer = await world.browser.post("/auth/authorize", data=world.asking())
    assert answer.status_code == 303
    assert "code" in answer_of(answer)


async def test_without_a_session_the_sign_in_page_comes_first(world: SmartWorld) -> None:
    answer = await world.authorize()
    assert answer.headers["location"].startswith("login?request=")
    page = await world.browser.get("/auth/" + answer.headers["location"])
    assert "MedSAGE app" in page.text
    back = await world.sign_in(url="/auth/" + answer.headers["location"])
    assert "code" in answer_of(back)


async def test_a_posted_request_is_resumed_when_the_lax_cookie_arrives_on_the_redirect(
    world: SmartWorld,
) -> None:
    async with world.new_browser() as stranger:  # a cross-site POST carries no Lax cookie
        answer = await stranger.post("/auth/authorize", data=world.asking())
    await world.sign_in()
    resumed = await world.browser.get("/auth/" + answer.headers["location"])
    assert "code" in answer_of(resumed)


@pytest.mark.parametrize(
    "missing", ["response_type", "state", "scope", "aud", "code_challenge", "code_challenge_method"]
)
async def test_a_required_parameter_that_is_missing_is_an_invalid_request(
    world: SmartWorld, missing: str
) -> None:
    await world.sign_in()
    sent = answer_of(await world.authorize(**{missing: None}))
    assert sent["error"] == "invalid_request"
    assert missing in sent["error_description"]
    assert sent.get("state") == (None if missing == "state" else "st ate&1")
    assert "code" not in sent


async def test_another_audience_is_refused(world: SmartWorld) -> None:
    await world.sign_in()
    sent = answer_of(await world.authorize(aud="https://evil.test/fhir"))
    assert sent["error"] == "invalid_request"
    assert "aud" in sent["error_description"]
    assert "code" in answer_of(await world.authorize(aud=FHIR + "/"))


async def test_another_response_type_is_unsupported(world: SmartWorld) -> None:
    sent = answer_of(await world.authorize(response_type="token"))
    assert sent["error"] == "unsupported_response_type"


@pytest.mark.parametrize("challenge", ["short", "x" * 44, "=" * 43])
async def test_a_challenge_that_is_no_sha256_is_refused(world: SmartWorld, challenge: str) -> None:
    sent = answer_of(await world.authorize(code_challenge=challenge))
    assert sent["error"] == "invalid_request"


async def test_a_repeated_parameter_is_refused_with_a_page(world: SmartWorld) -> None:
    asked = [*world.asking().items(), ("scope", "openid")]
    answer = await world.browser.get("/auth/authorize", params=asked)
    assert answer.status_code == 400
    assert "location" not in answer.headers


async def test_a_malformed_resource_scope_is_named(world: SmartWorld) -> None:
    await world.sign_in()
    sent = answer_of(await world.authorize(scope="openid user/Patient.sr"))
    assert sent["error"] == "invalid_scope"
    assert "user/Patient.sr" in sent["error_description"]


async def test_a_client_gets_no_more_than_it_was_registered_for(world: SmartWorld) -> None:
    tokens = await world.tokens(scope="openid user/Patient.cruds user/Observation.read")
    assert tokens["scope"] == "openid user/Patient.rs user/Observation.read"


async def test_system_scopes_are_never_granted_to_a_user(world: SmartWorld) -> None:
    await world.sign_in()
    sent = answer_of(await world.authorize(scope="system/Patient.rs"))
    assert sent["error"] == "invalid_scope"


async def test_prompt_none_without_a_session_answers_login_required(world: SmartWorld) -> None:
    assert answer_of(await world.authorize(prompt="none"))["error"] == "login_required"


async def test_prompt_login_asks_again_and_then_goes_on(world: SmartWorld) -> None:
    await world.sign_in()
    world.clock.forward(5)
    answer = await world.authorize(prompt="login")
    assert answer.headers["location"].startswith("login?")
    back = await world.sign_in(url="/auth/" + answer.headers["location"])
    assert "code" in answer_of(back)


async def test_a_third_party_app_needs_consent(world: SmartWorld) -> None:
    await world.sign_in()
    answer = await world.authorize("third", scope="openid user/Patient.rs")
    assert answer.headers["location"].startswith("consent?")
    page = await world.browser.get("/auth/" + answer.headers["location"])
    assert "Third party &lt;b&gt;app&lt;/b&gt;" in page.text
    assert "<code>user/Patient.rs</code>" in page.text
    policy = page.headers["content-security-policy"]
    assert "form-action 'self' https://third.test" in policy
    assert "frame-ancestors 'none'" in policy
    form = hidden_fields(page) | {"decision": "allow"}
    assert "code" in answer_of(await world.browser.post("/auth/consent", data=form))
    again = await world.browser.post("/auth/consent", data=form)
    assert again.status_code == 400


async def test_denial_goes_back_as_access_denied_with_the_state(world: SmartWorld) -> None:
    await world.sign_in()
    answer = await world.authorize("third", scope="openid user/Patient.rs")
    form = hidden_fields(await world.browser.get("/auth/" + answer.headers["location"]))
    denied = await world.browser.post("/auth/consent", data=form | {"decision": "deny"})
    assert answer_of(denied)["error"] == "access_denied"
    assert answer_of(denied)["state"] == "st ate&1"


async def test_prompt_none_where_consent_is_needed_answers_consent_required(
    world: SmartWorld,
) -> None:
    await world.sign_in()
    sent = answer_of(await world.authorize("third", scope="openid", prompt="none"))
    assert sent["error"] == "consent_required"


async def test_pages_carry_their_security_headers_and_work_without_script(
    world: SmartWorld,
) -> None:
    page = await world.browser.get("/auth/login")
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert "<script" not in page.text
    assert "style=" not in page.text
    assert '<label for="username">' in page.text
    cookie = page.headers["set-cookie"]
    assert cookie.startswith("__Secure-medsage-form=")
    assert {"HttpOnly", "Secure", "Path=/auth", "SameSite=lax"} <= set(cookie.split("; "))


async def test_a_wrong_password_shows_the_form_again_and_is_audited(world: SmartWorld) -> None:
    form = hidden_fields(await world.browser.get("/auth/login"))
    form |= {"username": "Dr.Amina", "password": "wrong"}
    answer = await world.browser.post("/auth/login", data=form)
    assert answer.status_code == 400
    assert "There is a problem" in answer.text
    assert "wrong" not in answer.text
    (entry,) = await world.journal("login")
    assert entry["outcome"] == "refused"
    assert PASSWORD not in str(entry)


async def test_the_user_name_may_be_typed_in_capitals(world: SmartWorld) -> None:
    assert (await world.sign_in(" DR.Amina ")).status_code == 303
    assert "Dr amina" in (await world.browser.get("/auth/login")).text


async def test_every_step_leaves_an_audit_record(world: SmartWorld) -> None:
    await world.tokens()
    await world.authorize(aud="https://evil.test")
    assert [entry["outcome"] for entry in await world.journal("login")] == ["success"]
    (allowed, refused) = await world.journal("authorize")
    assert (allowed["outcome"], allowed["subject"], allowed["client"]) == (
        "success",
        "dr.amina",
        "app",
    )
    assert (refused["outcome"], refused["client"]) == ("refused", "app")
    (token,) = await world.journal("token")
    assert (token["outcome"], token["subject"]) == ("success", "dr.amina")
