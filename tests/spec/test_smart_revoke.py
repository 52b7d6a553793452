"""RFC 7009: a client gives a token back and ends its own grant, nobody else's."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.smart_world import SmartWorld, smart_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmartWorld]:
    async with smart_world(tmp_path) as opened:
        yield opened


async def _revoke(world: SmartWorld, token: str, client: str = "app") -> int:
    form = {**world.proof(client), "token": token}
    return (await world.browser.post("/auth/revoke", data=form)).status_code


@pytest.mark.parametrize("which", ["refresh_token", "access_token"])
async def test_either_token_ends_the_grant_at_once_and_leaves_the_session(
    world: SmartWorld, which: str
) -> None:
    tokens = await world.tokens()
    other = await world.tokens()
    assert await _revoke(world, tokens[which]) == 200
    with pytest.raises(Exception, match="revoked"):
        await world.who(tokens["access_token"])
    assert (await world.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await world.who(other["access_token"])).subject == "dr.amina"
    assert "code" in (await world.authorize()).headers["location"]
    assert (await world.journal("token"))[-2]["detail"] == "revoked"


async def test_an_unknown_token_is_answered_with_200_too(world: SmartWorld) -> None:
    for token in ("guess", "a.b.c"):
        assert await _revoke(world, token) == 200


async def test_another_client_can_not_revoke_it(world: SmartWorld) -> None:
    tokens = await world.tokens()
    for token in (tokens["access_token"], tokens["refresh_token"]):
        assert await _revoke(world, token, "third") == 200
    assert (await world.who(tokens["access_token"])).subject == "dr.amina"


async def test_the_client_has_to_prove_itself_and_name_a_token(world: SmartWorld) -> None:
    tokens = await world.tokens()
    form = {"client_id": "app", "token": tokens["access_token"]}
    refused = await world.browser.post("/auth/revoke", data=form)
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
    nothing = await world.browser.post("/auth/revoke", data=world.proof("app"))
    assert nothing.json()["error"] == "invalid_request"
    used = {**world.proof("app"), "token": "x"}
    assert (await world.browser.post("/auth/revoke", data=used)).status_code == 200
    assert (await world.browser.post("/auth/revoke", data=used)).status_code == 401


async def test_a_backend_service_ends_its_own_token_and_no_other(world: SmartWorld) -> None:
    async def token() -> str:
        form = {"grant_type": "client_credentials", "scope": "system/Task.r"}
        return str((await world.token("service", **form)).json()["access_token"])

    given_back, other = await token(), await token()
    assert await _revoke(world, given_back, "app") == 200
    await world.who(given_back)
    assert await _revoke(world, given_back, "service") == 200
    with pytest.raises(Exception, match="revoked"):
        await world.who(given_back)
    assert (await world.who(other)).subject == "service"


async def test_an_id_token_or_a_code_revokes_nothing(world: SmartWorld) -> None:
    tokens = await world.tokens()
    for token in (tokens["id_token"], await world.code()):
        assert await _revoke(world, token) == 200
    assert (await world.who(tokens["access_token"])).subject == "dr.amina"
