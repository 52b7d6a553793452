"""SMART App Launch 2.2, "Backend services" and "Asymmetric client authentication"."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.smart_world import ISSUER, SmartWorld, ec_key, rsa_key, smart_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmartWorld]:
    async with smart_world(tmp_path) as opened:
        yield opened


async def _ask(world: SmartWorld, scope: str = "system/Task.rs", **changes: object) -> object:
    proof = world.proof("service", **changes)
    return await world.token("service", grant_type="client_credentials", scope=scope, **proof)


async def test_a_service_gets_a_short_lived_token_for_its_system_scopes(world: SmartWorld) -> None:
    answer = await world.token("service", grant_type="client_credentials", scope="system/Task.rs")
    assert answer.status_code == 200
    body = answer.json()
    assert body["scope"] == "system/Task.rs"
    assert body["expires_in"] == 300
    assert body["token_type"] == "Bearer"
    assert "refresh_token" not in body
    assert "id_token" not in body
    who = await world.who(body["access_token"])
    assert (who.subject, who.client_id, who.roles) == ("service", "service", frozenset())
    world.clock.forward(301)
    with pytest.raises(Exception, match="expired"):
        await world.who(body["access_token"])


async def test_rs384_is_accepted_like_es384(world: SmartWorld) -> None:
    answer = await _ask(world, key=rsa_key("service-rsa"))
    assert answer.status_code == 200


async def test_a_scope_that_is_not_registered_is_an_invalid_scope_not_an_empty_token(
    world: SmartWorld,
) -> None:
    for scope in ("system/Patient.rs", "user/Task.rs", "openid", ""):
        answer = await _ask(world, scope)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope"), scope


async def test_a_wider_scope_is_narrowed_to_what_is_registered(world: SmartWorld) -> None:
    assert (await _ask(world, "system/*.cruds")).json()["scope"] == (
        "system/Task.rus system/Observation.cruds"
    )


async def test_the_same_assertion_is_accepted_once(world: SmartWorld) -> None:
    form = {
        **world.proof("service", jti="one"),
        "grant_type": "client_credentials",
        "scope": "system/Task.rs",
    }
    assert (await world.browser.post("/auth/token", data=form)).status_code == 200
    again = await world.browser.post("/auth/token", data=form)
    assert (again.status_code, again.json()["error"]) == (401, "invalid_client")
    assert "jti" in again.json()["error_description"]
    fresh = await _ask(world, jti="one", iat=1)  # another assertion with the same jti
    assert fresh.json()["error"] == "invalid_client"


async def test_an_assertion_spent_on_a_refused_request_is_spent(world: SmartWorld) -> None:
    proof = world.proof("service")
    refused = await world.token("service", grant_type="client_credentials", **proof)
    assert refused.json()["error"] == "invalid_scope"
    again = await world.token(
        "service", grant_type="client_credentials", scope="system/Task.rs", **proof
    )
    assert again.json()["error"] == "invalid_client"


@pytest.mark.parametrize(
    "wrong",
    [
        {"iss": "app"},
        {"sub": "app"},
        {"aud": ISSUER},
        {"aud": "https://elsewhere.test/token"},
        {"aud": [f"{ISSUER}/token", "https://elsewhere.test/token"]},
        {"aud": None},
        {"exp": None},
        {"exp": True},
        {"exp": 1},
        {"jti": None},
        {"jti": ""},
        {"nbf": 9999999999},
    ],
)
async def test_an_assertion_with_a_wrong_claim_is_an_invalid_client(
    world: SmartWorld, wrong: dict[str, object]
) -> None:
    answer = await _ask(world, **wrong)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_an_assertion_may_live_for_five_minutes_and_no_longer(world: SmartWorld) -> None:
    now = int(world.clock().timestamp())
    assert (await _ask(world, exp=now + 300)).status_code == 200
    assert (await _ask(world, exp=now + 400)).json()["error"] == "invalid_client"
    assert (await _ask(world, exp=now - 31)).json()["error"] == "invalid_client"


async def test_a_key_of_another_client_is_refused(world: SmartWorld) -> None:
    assert (await _ask(world, key=ec_key("app"))).json()["error"] == "invalid_client"


async def test_a_stranger_key_under_a_known_kid_is_refused(world: SmartWorld) -> None:
    from joserfc.jwk import ECKey

    forged = ECKey.generate_key("P-384", {"kid": "service"}, private=True)
    assert (await _ask(world, key=forged)).json()["error"] == "invalid_client"


async def test_a_client_with_a_key_must_use_it(world: SmartWorld) -> None:
    form = {"client_id": "service", "grant_type": "client_credentials", "scope": "system/Task.rs"}
    answer = await world.browser.post("/auth/token", data=form)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    secret = await world.browser.post("/auth/token", data=form, auth=("service", "secret"))
    assert secret.json()["error"] == "invalid_client"
