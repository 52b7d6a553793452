"""OpenID Connect Core 1.0 as SMART App Launch 2.2 uses it: id_token and fhirUser."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.smart_world import FHIR, ISSUER, SmartWorld, smart_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmartWorld]:
    async with smart_world(tmp_path) as opened:
        yield opened


async def _claims(world: SmartWorld, tokens: dict[str, object]) -> dict[str, object]:
    from joserfc import jwt
    from joserfc.jwk import KeySet

    published = (await world.browser.get("/auth/jwks")).json()
    token = jwt.decode(str(tokens["id_token"]), KeySet.import_key_set(published), ["RS256"])
    assert token.header["alg"] == "RS256"
    return dict(token.claims)


async def test_the_id_token_says_who_signed_in_and_verifies_with_the_published_keys(
    world: SmartWorld,
) -> None:
    tokens = await world.tokens(nonce="n-1")
    claims = await _claims(world, tokens)
    assert claims["iss"] == ISSUER
    assert claims["aud"] == "app"
    assert claims["sub"] == "dr.amina"
    assert claims["nonce"] == "n-1"
    assert claims["fhirUser"] == f"{FHIR}/Practitioner/dr-amina"
    assert claims["auth_time"] == world.clock().timestamp()
    assert claims["exp"] > claims["iat"]  # type: ignore[operator]


async def test_without_the_openid_scope_there_is_no_id_token(world: SmartWorld) -> None:
    assert "id_token" not in await world.tokens(scope="user/Patient.rs")


async def test_without_the_fhir_user_scope_the_id_token_names_no_person(world: SmartWorld) -> None:
    claims = await _claims(world, await world.tokens(scope="openid user/Patient.rs"))
    assert "fhirUser" not in claims
    assert "name" not in claims
    assert "nonce" not in claims


async def test_the_keys_are_bare_public_jwks(world: SmartWorld) -> None:
    answer = await world.browser.get("/auth/jwks")
    assert answer.headers["access-control-allow-origin"] == "*"
    keys = answer.json()["keys"]
    assert {key["alg"] for key in keys} == {"ES256", "RS256"}
    for key in keys:
        assert key["kid"]
        assert key["use"] == "sig"
        assert not {"d", "p", "q", "dp", "dq", "qi", "x5c", "x5u"} & set(key)


async def test_the_keys_are_made_once_however_many_servers_start(world: SmartWorld) -> None:
    import asyncio

    from fhir_server.security.keys import CURRENT, KIND, open_key_ring

    await world.store.transaction(lambda tx: tx.delete_record(KIND, CURRENT))
    rings = await asyncio.gather(*(open_key_ring(world.store) for _ in range(4)))
    assert len({str(ring.public_keys()) for ring in rings}) == 1


async def test_at_hash_binds_the_id_token_to_the_access_token(world: SmartWorld) -> None:
    import base64
    import hashlib

    tokens = await world.tokens()
    half = hashlib.sha256(tokens["access_token"].encode()).digest()[:16]
    expected = base64.urlsafe_b64encode(half).rstrip(b"=").decode()
    assert (await _claims(world, tokens))["at_hash"] == expected
