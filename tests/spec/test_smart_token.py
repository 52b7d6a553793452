"""SMART App Launch 2.2, "Obtain access token" and the token response (RFC 6749 section 5)."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from authlib.integrations.httpx_client import oauth2_client

from tests.smart_world import FHIR, ISSUER, VERIFIER, SmartWorld, smart_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmartWorld]:
    async with smart_world(tmp_path) as opened:
        yield opened


async def test_a_code_is_exchanged_for_a_bearer_token_that_is_not_to_be_stored(
    world: SmartWorld,
) -> None:
    answer = await world.redeem(await world.code())
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"
    body = answer.json()
    assert body["token_type"] == "Bearer"
    assert body["expires_in"] == 3600
    assert body["scope"] == "fhirUser online_access openid user/Patient.rs"


async def test_the_access_token_says_who_is_acting(world: SmartWorld) -> None:
    who = await world.who((await world.tokens())["access_token"])
    assert who.subject == "dr.amina"
    assert who.client_id == "app"
    assert who.roles == {"doctor"}
    assert who.fhir_user == "Practitioner/dr-amina"
    assert who.scopes == "fhirUser online_access openid user/Patient.rs"
    assert who.session is not None


async def test_a_public_client_proves_itself_by_its_verifier_alone(world: SmartWorld) -> None:
    code = await world.code("public-app", scope="openid fhirUser offline_access")
    answer = await world.redeem(code, "public-app")
    assert answer.status_code == 200
    assert (await world.who(answer.json()["access_token"])).client_id == "public-app"


async def test_no_token_outlives_its_session(world: SmartWorld) -> None:
    await world.sign_in()
    world.clock.forward(7200 - 100)
    tokens = await world.tokens()
    assert tokens["expires_in"] == 100


async def test_registered_origins_may_read_the_answer_and_others_may_not(
    world: SmartWorld,
) -> None:
    for origin, allowed in (
        ("https://public.test", "https://public.test"),
        ("https://x.test", None),
    ):
        preflight = await world.browser.options("/auth/token", headers={"Origin": origin})
        assert preflight.headers.get("access-control-allow-origin") == allowed
        answer = await world.browser.post(
            "/auth/token", data={"client_id": "public-app"}, headers={"Origin": origin}
        )
        assert answer.headers.get("access-control-allow-origin") == allowed


async def test_errors_are_those_of_rfc_6749(world: SmartWorld) -> None:
    proof = world.proof("app")
    answer = await world.browser.post("/auth/token", data={**proof, "grant_type": "password"})
    assert (answer.status_code, answer.json()["error"]) == (400, "unsupported_grant_type")
    answer = await world.token(grant_type=None)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    answer = await world.token(grant_type="authorization_code")
    assert answer.json() == {"error": "invalid_request", "error_description": "code is missing"}
    answer = await world.token(grant_type="client_credentials", scope="system/Task.rs")
    assert answer.json()["error"] == "unauthorized_client"
    assert answer.headers["cache-control"] == "no-store"


async def test_the_body_must_be_a_form(world: SmartWorld) -> None:
    answer = await world.browser.post("/auth/token", json={"grant_type": "client_credentials"})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_a_repeated_parameter_is_refused(world: SmartWorld) -> None:
    body = "client_id=public-app&grant_type=refresh_token&grant_type=refresh_token"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await world.browser.post("/auth/token", content=body, headers=headers)
    assert answer.json()["error"] == "invalid_request"


async def test_a_get_is_not_allowed(world: SmartWorld) -> None:
    assert (await world.browser.get("/auth/token")).status_code == 405


async def test_the_access_token_is_for_this_fhir_base_by_this_issuer(world: SmartWorld) -> None:
    from joserfc import jwt

    token = jwt.decode((await world.tokens())["access_token"], world.server.keys.access)
    assert token.header["typ"] == "at+jwt"
    assert token.claims["aud"] == FHIR
    assert token.claims["iss"] == ISSUER
    assert token.claims["exp"] - token.claims["iat"] == 3600


async def test_authlibs_client_completes_the_flow_with_pkce_and_refreshes(
    world: SmartWorld,
) -> None:
    """A second implementation of the other side: Authlib's own OAuth client."""
    transport = oauth2_client.httpx2.ASGITransport(world.application)  # httpx, if 2 is not there
    async with oauth2_client.AsyncOAuth2Client(
        "public-app",
        token_endpoint_auth_method="none",
        code_challenge_method="S256",
        redirect_uri="https://public.test/callback",
        scope="openid fhirUser offline_access",
        transport=transport,
    ) as client:
        url, state = client.create_authorization_url(
            f"{ISSUER}/authorize", code_verifier=VERIFIER, aud=FHIR
        )
        await world.sign_in()
        answer = await world.browser.get(url)
        token = await client.fetch_token(
            f"{ISSUER}/token",
            authorization_response=answer.headers["location"],
            state=state,
            code_verifier=VERIFIER,
        )
        assert (await world.who(token["access_token"])).subject == "dr.amina"
        again = await client.refresh_token(f"{ISSUER}/token", token["refresh_token"])
        assert again["refresh_token"] != token["refresh_token"]
