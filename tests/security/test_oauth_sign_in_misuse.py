"""Misuse of the pages: guessing passwords, foreign forms, planted cookies."""

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fhir_server.fhir.outcome import FhirError
from fhir_server.security.authorization.users import User, hash_password, register_user
from tests.smart_world import (
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

    known = User("dr.amina", "Dr amina", frozenset({"doctor"}))
    hashed = hash_password(PASSWORD)  # as they are made outside of tests
    await world.store.transaction(lambda tx: register_user(tx, known, hashed))
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
