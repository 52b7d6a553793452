"""Misuse of OAuth and SMART: each case is an attack that has worked somewhere, and fails here
with the right error, an audit record, and nothing given away."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fhir_server.fhir.outcome import FhirError
from tests.smart_world import (
    PASSWORD,
    VERIFIER,
    SmartWorld,
    answer_of,
    hidden_fields,
    smart_world,
)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmartWorld]:
    async with smart_world(tmp_path) as opened:
        yield opened


async def _is_refused(world: SmartWorld, token: str) -> str:
    with pytest.raises(FhirError) as caught:
        await world.who(token)
    assert caught.value.status == 401
    assert caught.value.headers["WWW-Authenticate"].startswith("Bearer")
    return str(caught.value)


def _b64(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _hs256(header: dict[str, object], claims: str, secret: bytes) -> str:
    """A JWT signed with a public key as if it were a shared secret."""
    signed = f"{_b64(header)}.{claims}"
    mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


# Redirects


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.test/callback",
        "https://app.test/callback/",
        "https://app.test/callback?x=1",
        "https://app.test/callback#x",
        "https://APP.test/callback",
        "https://app.test/Callback",
        "https://app.test/callback/../evil",
        "https://app.test.evil.test/callback",
        "https://app.test@evil.test/callback",
        "http://app.test/callback",
        None,
    ],
)
async def test_an_unregistered_redirect_uri_is_never_redirected_to(
    world: SmartWorld, uri: str | None
) -> None:
    await world.sign_in()
    answer = await world.authorize(redirect_uri=uri, state=None)
    assert answer.status_code == 400
    assert "location" not in answer.headers
    assert "Nothing was sent there" in answer.text
    assert (await world.journal("authorize"))[-1]["outcome"] == "refused"


async def test_an_unknown_client_is_never_redirected(world: SmartWorld) -> None:
    await world.sign_in()
    asked = world.asking() | {"client_id": "nobody"}
    answer = await world.browser.get("/auth/authorize", params=asked)
    assert answer.status_code == 400
    assert "not registered here" in answer.text
    assert "location" not in answer.headers


async def test_what_an_attacker_sends_is_not_echoed_as_html(world: SmartWorld) -> None:
    asked = world.asking() | {"client_id": "<script>alert(1)</script>"}
    answer = await world.browser.get("/auth/authorize", params=asked)
    assert "<script>" not in answer.text
    headers = {"X-Request-ID": "<script>"}
    answer = await world.browser.get("/auth/authorize", params=asked, headers=headers)
    assert "<script>" not in answer.text


# PKCE


@pytest.mark.parametrize("method", ["plain", "s256", "S512", None])
async def test_plain_pkce_or_none_gets_no_code(world: SmartWorld, method: str | None) -> None:
    await world.sign_in()
    challenge = VERIFIER[:43] if method else None
    sent = answer_of(await world.authorize(code_challenge=challenge, code_challenge_method=method))
    assert sent["error"] == "invalid_request"
    assert "code" not in sent


@pytest.mark.parametrize("verifier", [None, "w" * 64, "v" * 42, "v" * 129, "", "é" * 64])
async def test_a_wrong_or_missing_verifier_gets_no_token(
    world: SmartWorld, verifier: str | None
) -> None:
    for client in ("app", "public-app"):
        code = await world.code(client, scope="openid")
        answer = await world.redeem(code, client, code_verifier=verifier)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
        assert (await world.redeem(code, client)).status_code == 200  # the owner still can


# Codes


async def test_a_replayed_code_revokes_what_it_was_exchanged_for(world: SmartWorld) -> None:
    code = await world.code()
    tokens = (await world.redeem(code)).json()
    assert (await world.who(tokens["access_token"])).subject == "dr.amina"
    replay = await world.redeem(code)
    assert (replay.status_code, replay.json()["error"]) == (400, "invalid_grant")
    assert "revoked" in await _is_refused(world, tokens["access_token"])
    assert (await world.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"


async def test_a_code_is_recognised_as_used_long_after_it_could_be_redeemed(
    world: SmartWorld,
) -> None:
    code = await world.code()
    tokens = (await world.redeem(code)).json()
    world.clock.forward(1800)
    assert (await world.redeem(code)).json()["error"] == "invalid_grant"
    await _is_refused(world, tokens["access_token"])


async def test_of_many_at_once_exactly_one_redeems_the_code(world: SmartWorld) -> None:
    code = await world.code()
    answers = await asyncio.gather(*(world.redeem(code) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 7


async def test_of_many_at_once_exactly_one_refreshes(world: SmartWorld) -> None:
    token = (await world.tokens())["refresh_token"]
    answers = await asyncio.gather(*(world.refresh(token) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 7


async def test_of_many_at_once_exactly_one_uses_a_launch(world: SmartWorld) -> None:
    handle = (await world.launch(await world.ehr_token())).json()["launch"]
    asked = {"launch": handle, "scope": "launch patient/Observation.rs"}
    answers = await asyncio.gather(*(world.authorize(**asked) for _ in range(6)))
    assert sum("code" in answer_of(answer) for answer in answers) == 1


async def test_of_many_at_once_exactly_one_uses_a_jti(world: SmartWorld) -> None:
    proof = world.proof("service")
    answers = await asyncio.gather(
        *(
            world.token("service", grant_type="client_credentials", scope="system/Task.r", **proof)
            for _ in range(6)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 5


async def test_a_code_expires_after_a_minute(world: SmartWorld) -> None:
    code = await world.code()
    world.clock.forward(60)
    assert (await world.redeem(code)).json()["error"] == "invalid_grant"


async def test_a_code_of_another_client_is_refused_and_stays_good_for_its_owner(
    world: SmartWorld,
) -> None:
    code = await world.code()
    stolen = await world.redeem(code, "third", redirect_uri="https://app.test/callback")
    assert stolen.json()["error"] == "invalid_grant"
    assert (await world.redeem(code)).status_code == 200


async def test_a_code_for_another_redirect_uri_is_refused(world: SmartWorld) -> None:
    for uri in ("https://public.test/callback", None):
        answer = await world.redeem(await world.code(), redirect_uri=uri)
        assert answer.json()["error"] == "invalid_grant"


async def test_a_code_is_worth_nothing_after_sign_out(world: SmartWorld) -> None:
    code = await world.code()
    page = await world.browser.get("/auth/logout")
    await world.browser.post("/auth/logout", data=hidden_fields(page))
    assert (await world.redeem(code)).json()["error"] == "invalid_grant"


@pytest.mark.parametrize("code", ["guess", "", "x" * 5000, "é"])
async def test_a_guessed_code_is_refused(world: SmartWorld, code: str) -> None:
    answer = await world.redeem(code)
    assert answer.status_code == 400
    assert answer.json()["error"] in ("invalid_grant", "invalid_request")


async def test_no_secret_is_kept_in_the_clear(world: SmartWorld) -> None:
    code = await world.code(scope="openid online_access")
    tokens = (await world.redeem(code)).json()
    kept = ""
    for kind in ("code", "refresh-token", "session", "grant", "launch", "user", "client-assertion"):
        kept += str(await world.store.records(kind))
    cookie = next(one.value for one in world.browser.cookies.jar if one.name.endswith("session"))
    for secret in (code, tokens["refresh_token"], tokens["access_token"], PASSWORD, cookie):
        assert secret not in kept
    assert "$argon2id$" in kept


# Refresh tokens


async def test_a_refresh_token_of_another_client_is_refused_and_unharmed(
    world: SmartWorld,
) -> None:
    tokens = await world.tokens("public-app", scope="openid offline_access")
    stolen = await world.refresh(tokens["refresh_token"], "app")
    assert stolen.json()["error"] == "invalid_grant"
    assert (await world.refresh(tokens["refresh_token"], "public-app")).status_code == 200


async def test_an_access_token_is_no_refresh_token_nor_a_code(world: SmartWorld) -> None:
    tokens = await world.tokens()
    assert (await world.refresh(tokens["access_token"])).json()["error"] == "invalid_grant"
    assert (await world.redeem(tokens["refresh_token"])).json()["error"] == "invalid_grant"
