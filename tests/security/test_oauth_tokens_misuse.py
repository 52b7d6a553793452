"""Misuse of client assertions and access tokens: forged, unsigned, altered, foreign, expired."""

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from fhir_server.fhir.outcome import FhirError
from fhir_server.security.tokens import TokenVerifier
from tests.smart_world import (
    BEARER_TYPE,
    FHIR,
    ISSUER,
    SmartWorld,
    ec_key,
    rsa_key,
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


# Client assertions


async def test_an_unsigned_assertion_is_refused(world: SmartWorld) -> None:
    claims = world.assertion("service").split(".")[1]
    for alg in ("none", "None", "NONE"):
        token = f"{_b64({'alg': alg, 'kid': 'service'})}.{claims}."
        answer = await world.token(
            "service", grant_type="client_credentials", client_assertion=token
        )
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_an_hmac_keyed_with_the_public_key_is_refused(world: SmartWorld) -> None:
    for key in (ec_key("service"), rsa_key("service-rsa")):
        claims = world.assertion("service").split(".")[1]
        forged = _hs256({"alg": "HS256", "kid": key.kid}, claims, key.as_pem(private=False))
        answer = await world.token(
            "service",
            grant_type="client_credentials",
            scope="system/Task.r",
            client_assertion=forged,
        )
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_an_algorithm_that_smart_does_not_name_is_refused(world: SmartWorld) -> None:
    key = rsa_key("service-rsa")
    answer = await world.token(
        "service", grant_type="client_credentials", **world.proof("service", key=key, alg="RS256")
    )
    assert answer.json()["error"] == "invalid_client"


async def test_a_key_that_travels_in_the_header_is_not_used(world: SmartWorld) -> None:
    own = ECKey.generate_key("P-384", {"kid": "service"}, private=True)
    claims = json.loads(base64.urlsafe_b64decode(world.assertion("service").split(".")[1] + "=="))
    header = {"alg": "ES384", "kid": "service", "jwk": own.as_dict(private=False)}
    forged = jwt.encode(header, claims, own, ["ES384"])
    answer = await world.token("service", client_assertion=forged)
    assert answer.json()["error"] == "invalid_client"


_DEEP = base64.urlsafe_b64encode(b"[" * 9000).rstrip(b"=").decode()
_RUBBISH = ["", "x", "a.b", "a.b.c", "e30.e30.", "é.é.é", "." * 9, f"e30.{_DEEP}.x", f"{_DEEP}.x.x"]


@pytest.mark.parametrize("token", _RUBBISH)
async def test_rubbish_for_an_assertion_is_refused(world: SmartWorld, token: str) -> None:
    form = {"client_assertion": token, "client_assertion_type": BEARER_TYPE}
    answer = await world.token("service", grant_type="client_credentials", **form)
    assert answer.status_code == 401
    assert answer.json()["error"] == "invalid_client"


async def test_another_assertion_type_is_refused(world: SmartWorld) -> None:
    answer = await world.token("service", client_assertion_type="urn:other")
    assert answer.json()["error"] == "invalid_request"


async def test_a_client_id_beside_the_assertion_must_be_its_subject(world: SmartWorld) -> None:
    answer = await world.token("service", client_id="app", grant_type="client_credentials")
    assert answer.json()["error"] == "invalid_client"


async def test_every_refused_token_request_is_audited_without_the_secrets(
    world: SmartWorld,
) -> None:
    await world.redeem("a-stolen-code")
    await world.token("service", client_assertion="x.y.z")
    entries = await world.journal("token")
    assert [entry["outcome"] for entry in entries] == ["refused", "refused"]
    assert "a-stolen-code" not in str(entries)


# Access tokens


async def test_access_tokens_that_are_altered_unsigned_or_signed_by_others_are_refused(
    world: SmartWorld,
) -> None:
    token = (await world.tokens())["access_token"]
    header, claims, signature = token.split(".")
    decoded = jwt.decode(token, world.server.keys.access)
    more = _b64({**decoded.claims, "scope": "user/*.cruds"})
    other = ECKey.generate_key("P-256", {"kid": world.server.keys.access.kid}, private=True)
    kept = {"alg": "ES256", "typ": "at+jwt", "kid": world.server.keys.access.kid}
    public = world.server.keys.access.as_pem(private=False)
    forged = [
        f"{header}.{more}.{signature}",
        f"{_b64({'alg': 'none', 'typ': 'at+jwt'})}.{claims}.",
        jwt.encode(kept, decoded.claims, other, ["ES256"]),
        _hs256({**kept, "alg": "HS256"}, claims, public),
        *_RUBBISH[1:],
        token + "x",
    ]
    for one in forged:
        assert "not one of this server" in await _is_refused(world, one), one[:80]
    assert (await world.who(token)).subject == "dr.amina"


async def test_a_token_for_another_server_or_by_another_issuer_is_refused(
    world: SmartWorld,
) -> None:
    token = (await world.tokens())["access_token"]
    for issuer, audience in ((ISSUER, "https://other.test/fhir"), ("https://other.test", FHIR)):
        verifier = TokenVerifier(
            world.store, world.server.keys, issuer=issuer, audience=audience, clock=world.clock
        )
        with pytest.raises(FhirError):
            await verifier.verify(f"Bearer {token}")


async def test_an_id_token_is_no_access_token(world: SmartWorld) -> None:
    await _is_refused(world, (await world.tokens())["id_token"])


async def test_an_expired_token_is_refused_even_when_it_was_seen_before(
    world: SmartWorld,
) -> None:
    token = (await world.tokens())["access_token"]
    await world.who(token)
    world.clock.forward(3600)
    assert "expired" in await _is_refused(world, token)
    assert "expired" in await _is_refused(world, token)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "Bearer é", "x"])
async def test_a_header_without_a_bearer_token_is_refused(
    world: SmartWorld, header: str | None
) -> None:
    with pytest.raises(FhirError) as caught:
        await world.server.verifier.verify(header)
    assert caught.value.status == 401


async def test_a_large_body_is_refused(world: SmartWorld) -> None:
    answer = await world.browser.post("/auth/token", data={"code": "x" * 100_000})
    assert answer.json()["error"] == "invalid_request"
