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
from joserfc import jwt
from joserfc.jwk import ECKey

from fhir_server.fhir.outcome import FhirError
from fhir_server.security.tokens import TokenVerifier
from tests.smart_world import (
    BEARER_TYPE,
    FHIR,
    ISSUER,
    PASSWORD,
    VERIFIER,
    SmartWorld,
    answer_of,
    ec_key,
    hidden_fields,
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


# Sign-in


async def test_attempts_are_limited_per_user_and_address_and_say_when_to_come_back(
    world: SmartWorld,
) -> None:
    form = hidden_fields(await world.browser.get("/auth/login"))
    wrong = form | {"username": "dr.amina", "password": "wrong"}
    for _ in range(5):
        assert (await world.browser.post("/auth/login", data=wrong)).status_code == 400
    right = form | {"username": "dr.amina", "password": PASSWORD}
    limited = await world.browser.post("/auth/login", data=right)
    assert limited.status_code == 429
    assert 0 < int(limited.headers["retry-after"]) <= 900
    async with world.new_browser() as elsewhere:  # another address is not locked out
        assert (await world.sign_in(browser=elsewhere)).status_code == 303
    world.clock.forward(901)
    assert (await world.sign_in()).status_code == 303


async def test_unknown_users_are_limited_and_answered_like_known_ones(world: SmartWorld) -> None:
    form = hidden_fields(await world.browser.get("/auth/login"))
    pages = []
    for name in ("dr.amina", "nobody"):
        wrong = form | {"username": name, "password": "wrong"}
        pages.append((await world.browser.post("/auth/login", data=wrong)).text.replace(name, ""))
    assert pages[0] == pages[1]
    for _ in range(4):
        await world.browser.post("/auth/login", data=form | {"username": "nobody"})
    limited = await world.browser.post("/auth/login", data=form | {"username": "nobody"})
    assert limited.status_code == 429


async def test_an_unknown_user_costs_as_much_hashing_as_a_known_one(
    world: SmartWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    from argon2 import PasswordHasher

    seen: list[str] = []
    verify = PasswordHasher.verify

    def counted(self: PasswordHasher, hash: str, password: str) -> bool:
        seen.append(hash)
        return verify(self, hash, password)

    monkeypatch.setattr(PasswordHasher, "verify", counted)
    form = hidden_fields(await world.browser.get("/auth/login"))
    for name in ("dr.amina", "nobody"):
        wrong = form | {"username": name, "password": "wrong"}
        await world.browser.post("/auth/login", data=wrong)
    assert len(seen) == 2
    assert seen[0].rsplit("$", 2)[0] == seen[1].rsplit("$", 2)[0]  # the same cost


async def test_a_sign_in_form_from_elsewhere_is_refused(world: SmartWorld) -> None:
    form = hidden_fields(await world.browser.get("/auth/login"))
    form |= {"username": "dr.amina", "password": PASSWORD}
    for headers in (
        {"Origin": "https://evil.test"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        answer = await world.browser.post("/auth/login", data=form, headers=headers)
        assert answer.status_code == 403
    async with world.new_browser() as other:  # the token without its cookie
        assert (await other.post("/auth/login", data=form)).status_code == 403
    allowed = {"Origin": "null", "Sec-Fetch-Site": "same-origin"}  # under no-referrer
    assert (await world.browser.post("/auth/login", data=form, headers=allowed)).status_code == 303


async def test_a_session_cookie_from_before_the_sign_in_is_not_kept(world: SmartWorld) -> None:
    world.browser.cookies.set("__Secure-medsage-session", "planted", path="/auth")
    answer = await world.sign_in()
    assert "planted" not in answer.headers["set-cookie"]
    planted = answer.headers["set-cookie"]
    assert "HttpOnly" in planted
    assert "Secure" in planted


async def test_a_consent_form_from_elsewhere_is_refused(world: SmartWorld) -> None:
    await world.sign_in()
    answer = await world.authorize("third", scope="openid user/Patient.rs")
    form = hidden_fields(await world.browser.get("/auth/" + answer.headers["location"]))
    allow = form | {"decision": "allow"}
    cross = {"Sec-Fetch-Site": "cross-site"}
    assert (await world.browser.post("/auth/consent", data=allow, headers=cross)).status_code == 403
    assert (
        await world.browser.post("/auth/consent", data=allow | {"csrf": "0" * 64})
    ).status_code == 403
    async with world.new_browser() as other:
        await world.sign_in("dr.kofi", other)
        assert (await other.post("/auth/consent", data=allow)).status_code == 403
    assert "code" in answer_of(await world.browser.post("/auth/consent", data=allow))


async def test_a_consent_decision_is_demanded_in_words(world: SmartWorld) -> None:
    await world.sign_in()
    answer = await world.authorize("third", scope="openid")
    form = hidden_fields(await world.browser.get("/auth/" + answer.headers["location"]))
    assert answer_of(await world.browser.post("/auth/consent", data=form))["error"] == (
        "access_denied"
    )


async def test_a_large_body_is_refused(world: SmartWorld) -> None:
    answer = await world.browser.post("/auth/token", data={"code": "x" * 100_000})
    assert answer.json()["error"] == "invalid_request"
