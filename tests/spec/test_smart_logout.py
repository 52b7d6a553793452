"""Sign-out ends the session, its grants and every token at once (RP-Initiated Logout 1.0)."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.smart_world import SmartWorld, hidden_fields, smart_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmartWorld]:
    async with smart_world(tmp_path) as opened:
        yield opened


async def _is_refused(world: SmartWorld, tokens: dict[str, str]) -> bool:
    refreshed = await world.refresh(tokens["refresh_token"])
    with pytest.raises(Exception, match="session has ended"):
        await world.who(tokens["access_token"])
    return refreshed.json().get("error") == "invalid_grant"


async def test_a_person_signs_out_by_the_button_and_everything_ends(world: SmartWorld) -> None:
    tokens = await world.tokens()
    await world.who(tokens["access_token"])  # verified and remembered before
    page = await world.browser.get("/auth/logout")
    assert "Dr amina" in page.text
    gone = await world.browser.post("/auth/logout", data=hidden_fields(page))
    assert "You are signed out" in gone.text
    assert await _is_refused(world, tokens)
    assert (await world.authorize()).headers["location"].startswith("login?")
    (entry,) = await world.journal("logout")
    assert (entry["outcome"], entry["subject"]) == ("success", "dr.amina")


async def test_a_get_alone_signs_nobody_out(world: SmartWorld) -> None:
    tokens = await world.tokens()
    await world.browser.get("/auth/logout")
    assert (await world.who(tokens["access_token"])).subject == "dr.amina"


async def test_a_foreign_form_signs_nobody_out(world: SmartWorld) -> None:
    tokens = await world.tokens()
    answer = await world.browser.post("/auth/logout", data={"csrf": "x"})
    assert answer.status_code == 403
    assert (await world.who(tokens["access_token"])).subject == "dr.amina"


async def test_an_app_signs_its_user_out_by_the_id_token_from_its_server(
    world: SmartWorld,
) -> None:
    tokens = await world.tokens()
    async with world.new_browser() as backend:
        form = {"id_token_hint": tokens["id_token"]}
        assert (await backend.post("/auth/logout", data=form)).status_code == 200
    assert await _is_refused(world, tokens)


async def test_signing_out_at_the_ehr_ends_the_launched_app(world: SmartWorld) -> None:
    ehr = await world.tokens("ehr", scope="openid online_access user/Patient.rs")
    from tests.smart_world import answer_of

    handle = (await world.launch(ehr["access_token"])).json()["launch"]
    scope = "openid launch online_access patient/Observation.rs"
    code = answer_of(await world.authorize(launch=handle, scope=scope))["code"]
    app = (await world.redeem(code)).json()
    await world.browser.post("/auth/logout", data={"id_token_hint": ehr["id_token"]})
    assert await _is_refused(world, app)


async def test_the_browser_goes_back_to_a_registered_address_with_the_state(
    world: SmartWorld,
) -> None:
    tokens = await world.tokens()
    asked = {
        "id_token_hint": tokens["id_token"],
        "post_logout_redirect_uri": "https://app.test/bye",
        "state": "s",
    }
    evil = {**asked, "post_logout_redirect_uri": "https://evil.test/"}
    refused = await world.browser.get("/auth/logout", params=evil)
    assert refused.status_code == 400
    assert (await world.who(tokens["access_token"])).subject == "dr.amina"
    answer = await world.browser.get("/auth/logout", params=asked)
    assert answer.headers["location"] == "https://app.test/bye?state=s"


async def test_an_altered_id_token_signs_nobody_out(world: SmartWorld) -> None:
    tokens = await world.tokens()
    head, body, signature = tokens["id_token"].split(".")
    forged = f"{head}.{body}.{signature[:-8]}AAAAAAAA"
    answer = await world.browser.get("/auth/logout", params={"id_token_hint": forged})
    assert answer.status_code == 400
    access = await world.browser.get(
        "/auth/logout", params={"id_token_hint": tokens["access_token"]}
    )
    assert access.status_code == 400
    assert (await world.who(tokens["access_token"])).subject == "dr.amina"


async def test_a_session_ends_after_two_hours(world: SmartWorld) -> None:
    tokens = await world.tokens()
    world.clock.forward(7200)
    assert (await world.authorize()).headers["location"].startswith("login?")
    with pytest.raises(Exception, match="expired"):
        await world.who(tokens["access_token"])


async def test_offline_access_outlives_a_sign_out(world: SmartWorld) -> None:
    tokens = await world.tokens("public-app", scope="openid fhirUser offline_access")
    page = await world.browser.get("/auth/logout")
    await world.browser.post("/auth/logout", data=hidden_fields(page))
    assert (await world.refresh(tokens["refresh_token"], "public-app")).status_code == 200
