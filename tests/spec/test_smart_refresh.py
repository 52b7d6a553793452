"""SMART App Launch 2.2, "Refresh access token": rotation, narrowing, reuse."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.smart_world import SmartWorld, smart_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmartWorld]:
    async with smart_world(tmp_path) as opened:
        yield opened


async def test_a_refresh_gives_a_new_access_token_and_a_new_refresh_token(
    world: SmartWorld,
) -> None:
    first = await world.tokens()
    answer = await world.refresh(first["refresh_token"])
    assert answer.status_code == 200
    second = answer.json()
    assert second["refresh_token"] != first["refresh_token"]
    assert second["scope"] == first["scope"]
    assert second["token_type"] == "Bearer"
    assert second["expires_in"] == 3600
    assert (await world.who(second["access_token"])).subject == "dr.amina"


async def test_without_online_or_offline_access_there_is_no_refresh_token(
    world: SmartWorld,
) -> None:
    assert "refresh_token" not in await world.tokens(scope="openid user/Patient.rs")


async def test_a_subset_of_the_scopes_can_be_asked_for_and_later_all_again(
    world: SmartWorld,
) -> None:
    first = await world.tokens()
    narrow = (await world.refresh(first["refresh_token"], scope="user/Patient.r")).json()
    assert narrow["scope"] == "user/Patient.r"
    wide = (await world.refresh(narrow["refresh_token"])).json()
    assert wide["scope"] == first["scope"]


@pytest.mark.parametrize("scope", ["user/Patient.rus", "user/*.rs", "offline_access", "system/*.r"])
async def test_a_refresh_can_not_widen_the_scopes(world: SmartWorld, scope: str) -> None:
    first = await world.tokens()
    answer = await world.refresh(first["refresh_token"], scope=scope)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")
    assert (await world.refresh(first["refresh_token"])).status_code == 200


async def test_reuse_of_a_refresh_token_revokes_the_whole_family_at_once(
    world: SmartWorld,
) -> None:
    first = await world.tokens()
    second = (await world.refresh(first["refresh_token"])).json()
    replay = await world.refresh(first["refresh_token"])
    assert (replay.status_code, replay.json()["error"]) == (400, "invalid_grant")
    assert (await world.refresh(second["refresh_token"])).json()["error"] == "invalid_grant"
    for token in (first["access_token"], second["access_token"]):
        with pytest.raises(Exception, match="revoked"):
            await world.who(token)
    refused = [one for one in await world.journal("token") if one["outcome"] == "refused"]
    assert len(refused) == 2


async def test_an_online_refresh_token_ends_with_the_session(world: SmartWorld) -> None:
    first = await world.tokens()
    world.clock.forward(7201)
    assert (await world.refresh(first["refresh_token"])).json()["error"] == "invalid_grant"


async def test_an_offline_refresh_token_outlives_the_session(world: SmartWorld) -> None:
    first = await world.tokens("public-app", scope="openid fhirUser offline_access")
    world.clock.forward(10 * 24 * 3600)
    assert (await world.refresh(first["refresh_token"], "public-app")).status_code == 200


async def test_the_launch_context_comes_with_a_refresh_too(world: SmartWorld) -> None:
    first = (await world.redeem(await world.launched_code())).json()
    second = (await world.refresh(first["refresh_token"])).json()
    assert second["patient"] == "p1"
    assert (await world.who(second["access_token"])).patient == "p1"


async def test_a_public_client_refreshes_without_naming_itself(world: SmartWorld) -> None:
    token = (await world.tokens("public-app", scope="openid offline_access"))["refresh_token"]
    form = {"grant_type": "refresh_token", "refresh_token": token}
    answer = await world.browser.post(
        "/auth/token", data=form, headers={"Origin": "https://public.test"}
    )
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://public.test"
    again = await world.browser.post("/auth/token", data=form)  # reuse ends the family
    assert again.json()["error"] == "invalid_grant"
    form["refresh_token"] = answer.json()["refresh_token"]
    assert (await world.browser.post("/auth/token", data=form)).status_code == 400


async def test_a_client_with_a_key_does_not_refresh_without_it(world: SmartWorld) -> None:
    token = (await world.tokens(scope="openid online_access"))["refresh_token"]
    form = {"grant_type": "refresh_token", "refresh_token": token}
    answer = await world.browser.post("/auth/token", data=form)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert (await world.refresh(token)).status_code == 200  # and nothing was used up
