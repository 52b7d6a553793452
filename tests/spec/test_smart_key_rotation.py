"""Rotation of this server's own keys: published before they sign, believed until what they signed
has expired, taken up by running processes (SMART App Launch 2.2, "Signing with JWTs")."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from typer.testing import CliRunner

from deploy.cli import app
from fhir_server.fhir.outcome import FhirError
from fhir_server.security.keys import (
    CURRENT,
    KIND,
    generate_keys,
    open_key_ring,
    read_keys,
    retire_key,
    rotate_keys,
)
from fhir_server.security.signing_keys import (
    LEAD_SECONDS,
    NotRotatable,
    SigningKey,
    keys_from,
    retired,
    rotated,
    signer,
    state,
    value_of,
)
from fhir_server.security.tokens import TokenVerifier
from fhir_server.storage.port import Record
from tests.smart_world import FHIR, ISSUER, SmartWorld, smart_world

LONGEST = 7200
FIRST = (SigningKey("access", {"kid": "a1"}), SigningKey("identity", {"kid": "i1"}))
SECOND = (SigningKey("access", {"kid": "a2"}), SigningKey("identity", {"kid": "i2"}))


def _states(keys: tuple[SigningKey, ...], now: float) -> dict[str, str]:
    return {key.kid: state(keys, key, now) for key in keys}


def test_a_new_key_is_published_first_then_signs_and_the_old_one_verifies_and_ends() -> None:
    keys = rotated(FIRST, SECOND, now=1000, longest_token=LONGEST)
    starts = 1000 + LEAD_SECONDS
    assert _states(keys, 1000) == {"a1": "signs", "i1": "signs", "a2": "next", "i2": "next"}
    assert signer(keys, "access", starts - 1).kid == "a1"
    assert signer(keys, "access", starts).kid == "a2"
    assert _states(keys, starts + LONGEST)["i1"] == "verifies"
    assert _states(keys, starts + LONGEST + 60)["i1"] == "ended"


def test_a_second_rotation_waits_until_the_first_has_taken_place() -> None:
    keys = rotated(FIRST, SECOND, now=1000, longest_token=LONGEST)
    third = (SigningKey("access", {"kid": "a3"}), SigningKey("identity", {"kid": "i3"}))
    with pytest.raises(NotRotatable, match="does not sign yet"):
        rotated(keys, third, now=1001, longest_token=LONGEST)
    again = rotated(keys, third, now=1000 + LEAD_SECONDS, longest_token=LONGEST)
    assert _states(again, 2000) | {"a3": "next"} == _states(again, 2000)
    later = rotated(keys, third, now=1e6, longest_token=LONGEST)
    assert "a1" not in _states(later, 1e6)  # what has ended is not kept
    with pytest.raises(NotRotatable):
        rotated((), SECOND, now=1000, longest_token=LONGEST)


def test_retiring_the_key_that_signs_makes_the_next_or_a_fresh_one_sign_at_once() -> None:
    alone = retired(FIRST, "a1", SECOND, now=1000)
    assert _states(alone, 1000) == {"i1": "signs", "a2": "signs"}
    waiting = rotated(FIRST, SECOND, now=1000, longest_token=LONGEST)
    third = (SigningKey("access", {"kid": "a3"}), SigningKey("identity", {"kid": "i3"}))
    hurried = retired(waiting, "a1", third, now=1001)
    assert _states(hurried, 1001) == {"i1": "signs", "a2": "signs", "i2": "next"}


def test_retiring_an_old_key_or_one_that_waits_leaves_the_one_that_signs() -> None:
    waiting = rotated(FIRST, SECOND, now=1000, longest_token=LONGEST)
    back = retired(waiting, "a2", (), now=1001)
    assert _states(back, 1e9)["a1"] == "signs"  # it has no end any more
    after = 1000 + LEAD_SECONDS
    assert _states(retired(waiting, "a1", (), now=after), after)["a2"] == "signs"
    for absent in ("a9", "a1"):
        with pytest.raises(NotRotatable, match="no key"):
            retired(waiting, absent, (), now=1e9)


def test_keys_read_back_as_they_were_kept_and_those_of_before_rotation_too() -> None:
    keys = rotated(FIRST, SECOND, now=1000, longest_token=LONGEST)
    assert keys_from(value_of(keys)) == keys
    assert keys_from({"access": {"kid": "a1"}, "identity": {"kid": "i1"}}) == FIRST


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmartWorld]:
    async with smart_world(tmp_path) as opened:
        yield opened


async def _rotate(world: SmartWorld) -> None:
    made, now = await generate_keys(), world.clock().timestamp()
    await world.store.transaction(lambda tx: rotate_keys(tx, made, now=now, longest_token=LONGEST))


async def _published(world: SmartWorld) -> list[str]:
    return [key["kid"] for key in (await world.browser.get("/auth/jwks")).json()["keys"]]


def _kid(token: str) -> str:
    import base64
    import json

    head = token.partition(".")[0]
    return str(json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"])


async def test_a_running_process_takes_up_a_rotation_without_restart(world: SmartWorld) -> None:
    first = await world.tokens(scope="openid offline_access user/Patient.rs")
    before = await _published(world)
    await _rotate(world)
    world.clock.forward(10)
    published = await _published(world)
    assert published[:2] == before
    assert len(published) == 4
    still = (await world.refresh(first["refresh_token"])).json()
    assert _kid(still["access_token"]) == _kid(first["access_token"])
    world.clock.forward(LEAD_SECONDS)
    second = (await world.refresh(still["refresh_token"])).json()
    assert _kid(second["access_token"]) in published[2:]
    for token in (first, still, second):  # both keys are believed
        assert (await world.who(token["access_token"])).subject == "dr.amina"


async def test_another_process_believes_what_the_new_key_signs(world: SmartWorld) -> None:
    ring = await open_key_ring(world.store, world.clock)
    verifier = TokenVerifier(world.store, ring, issuer=ISSUER, audience=FHIR, clock=world.clock)
    await _rotate(world)
    world.clock.forward(LEAD_SECONDS + 1)
    token = (await world.tokens())["access_token"]
    assert (await verifier.verify(f"Bearer {token}")).subject == "dr.amina"


async def test_an_id_token_verifies_with_the_published_keys_before_and_after(
    world: SmartWorld,
) -> None:
    for _ in range(2):
        tokens = await world.tokens()
        published = KeySet.import_key_set((await world.browser.get("/auth/jwks")).json())
        assert jwt.decode(tokens["id_token"], published, ["RS256"]).claims["sub"] == "dr.amina"
        await _rotate(world)
        world.clock.forward(LEAD_SECONDS)


async def test_the_old_key_is_published_until_the_last_token_has_expired_and_then_gone(
    world: SmartWorld,
) -> None:
    before = await _published(world)
    await _rotate(world)
    world.clock.forward(LEAD_SECONDS + LONGEST)
    assert set(before) < set(await _published(world))
    world.clock.forward(60)
    assert not set(before) & set(await _published(world))


async def test_what_a_retired_key_signed_is_refused_within_seconds_though_seen_before(
    world: SmartWorld,
) -> None:
    tokens = await world.tokens()
    await world.who(tokens["access_token"])
    made, kid = await generate_keys(), _kid(tokens["access_token"])
    now = world.clock().timestamp()
    await world.store.transaction(lambda tx: retire_key(tx, kid, made, now=now))
    world.clock.forward(10)
    with pytest.raises(FhirError, match="retired") as caught:
        await world.who(tokens["access_token"])
    assert caught.value.status == 401
    assert kid not in await _published(world)
    assert (await world.who((await world.tokens())["access_token"])).subject == "dr.amina"


async def test_the_keys_of_an_older_store_go_on_and_can_be_rotated(world: SmartWorld) -> None:
    keys = await read_keys(world.store)
    older = {key.use: key.jwk for key in keys}
    await world.store.transaction(lambda tx: tx.put_record(Record(KIND, CURRENT, older)))
    token = (await world.tokens())["access_token"]
    await _rotate(world)
    world.clock.forward(LEAD_SECONDS)
    assert (await world.who(token)).subject == "dr.amina"
    assert [replace(key, ends=None) for key in (await read_keys(world.store))[:2]] == list(keys)


async def test_of_two_rotations_at_once_one_is_refused(world: SmartWorld) -> None:
    import asyncio

    outcomes = await asyncio.gather(_rotate(world), _rotate(world), return_exceptions=True)
    assert [type(one) for one in outcomes if one is not None] == [NotRotatable]
    assert len(await read_keys(world.store)) == 4


def test_a_key_whose_id_begins_with_a_dash_can_be_retired_by_its_name(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["keys", "retire", "-Qe", "--data", str(tmp_path)])
    assert done.exit_code == 1
    assert "there is no key -Qe" in done.output
