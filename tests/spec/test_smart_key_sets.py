"""SMART App Launch 2.2, "Asymmetric client authentication": keys by address, fetched, kept as
Cache-Control allows, and read anew when a key is unknown."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from fhir_server.security.authorization.clients import register_client
from fhir_server.security.authorization.key_sets import Lifetime, lifetime_of, read_keys
from fhir_server.security.checked_fetch import Fetched, Unreachable
from tests.smart_world import BEARER_TYPE, ISSUER, SmartWorld, clients, ec_key, rsa_key, smart_world

URL = "https://service.test/jwks.json"
SERVICE = next(client for client in clients() if client.id == "service")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmartWorld]:
    async with smart_world(tmp_path) as opened:
        await _register(opened)
        opened.web.publish(URL, ec_key("service"), rsa_key("service-rsa"))
        yield opened


async def _register(world: SmartWorld, **changes: object) -> None:
    client = replace(SERVICE, jwks=None, jwks_uri=URL, **changes)  # type: ignore[arg-type]
    await world.store.transaction(lambda tx: register_client(tx, client))


async def _ask(world: SmartWorld, key: ECKey | RSAKey | None = None) -> str:
    """How the service is answered: `ok`, or what is wrong."""
    proof = world.proof("service", key=key)
    return await _ask_with(world, proof)


async def _ask_with(world: SmartWorld, proof: dict[str, str]) -> str:
    answer = await world.token(
        "service", grant_type="client_credentials", scope="system/Task.r", **proof
    )
    body = answer.json()
    if answer.status_code == 200:
        return "ok"
    assert (answer.status_code, body["error"]) == (401, "invalid_client")
    return str(body["error_description"])


async def test_both_algorithms_work_with_keys_by_address_fetched_once(world: SmartWorld) -> None:
    assert await _ask(world) == "ok"
    assert await _ask(world, rsa_key("service-rsa")) == "ok"
    assert world.web.asked == [URL]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, Lifetime(300, 3600)),
        ({"cache-control": "public"}, Lifetime(300, 3600)),
        ({"cache-control": "max-age=60"}, Lifetime(60, 60)),
        ({"cache-control": 'public, Max-Age="60"'}, Lifetime(60, 60)),
        ({"cache-control": "max-age=60", "age": "20"}, Lifetime(40, 40)),
        ({"cache-control": "max-age=60", "age": "90"}, Lifetime(0, 0)),
        ({"cache-control": "max-age=86400"}, Lifetime(3600, 86400)),
        ({"cache-control": "max-age=999999999"}, Lifetime(3600, 86400)),
        ({"cache-control": "max-age=60, stale-if-error=600"}, Lifetime(60, 660)),
        ({"cache-control": "max-age=60, stale-if-error=600, must-revalidate"}, Lifetime(60, 60)),
        ({"cache-control": "max-age=60, no-store"}, Lifetime(0, 0)),
        ({"cache-control": "no-cache"}, Lifetime(0, 0)),
        ({"cache-control": "max-age=-5"}, Lifetime(0, 0)),
        ({"cache-control": "max-age=many"}, Lifetime(0, 0)),
    ],
)
def test_a_set_is_kept_no_longer_than_its_cache_control_says(
    headers: dict[str, str], expected: Lifetime
) -> None:
    assert lifetime_of(headers) == expected


async def test_a_set_is_read_anew_after_its_max_age_and_not_before(world: SmartWorld) -> None:
    world.web.publish(URL, ec_key("service"), cache_control="max-age=100")
    for seconds, fetches in ((0, 1), (99, 1), (1, 2), (99, 2)):
        world.clock.forward(seconds)
        assert await _ask(world) == "ok"
        assert len(world.web.asked) == fetches


async def test_a_set_that_is_not_to_be_stored_is_fetched_each_time(world: SmartWorld) -> None:
    world.web.publish(URL, ec_key("service"), cache_control="no-store")
    assert [await _ask(world) for _ in range(3)] == ["ok"] * 3
    assert len(world.web.asked) == 3


async def test_a_client_rotates_its_keys_by_publishing_new_ones(world: SmartWorld) -> None:
    assert await _ask(world) == "ok"
    world.clock.forward(30)
    world.web.publish(URL, ec_key("next"))
    assert await _ask(world, ec_key("next")) == "ok"
    assert "kid" in await _ask(world)  # the one it took away
    assert len(world.web.asked) == 2


async def test_unknown_keys_make_no_more_than_one_fetch_in_half_a_minute(
    world: SmartWorld,
) -> None:
    assert await _ask(world) == "ok"
    world.clock.forward(30)
    for number in range(6):
        assert "kid" in await _ask(world, ec_key(f"rubbish-{number % 2}"))
    assert len(world.web.asked) == 2
    world.clock.forward(29)
    assert "kid" in await _ask(world, ec_key("rubbish-0"))
    assert len(world.web.asked) == 2
    world.clock.forward(1)
    assert "kid" in await _ask(world, ec_key("rubbish-0"))
    assert len(world.web.asked) == 3
    assert await _ask(world) == "ok"


async def test_the_last_good_set_is_used_for_an_hour_when_the_address_fails(
    world: SmartWorld,
) -> None:
    assert await _ask(world) == "ok"
    world.web.pages[URL] = Unreachable("answered with status 503")
    world.clock.forward(3599)
    assert await _ask(world) == "ok"
    assert len(world.web.asked) == 2
    world.clock.forward(11)
    assert "503" in await _ask(world)
    world.web.publish(URL, ec_key("service"))
    world.clock.forward(10)
    assert await _ask(world) == "ok"


async def test_a_last_good_set_is_not_used_beyond_its_max_age(world: SmartWorld) -> None:
    world.web.publish(URL, ec_key("service"), cache_control="max-age=60")
    assert await _ask(world) == "ok"
    world.web.pages[URL] = Unreachable("answered with status 503")
    world.clock.forward(60)
    assert "503" in await _ask(world)


async def test_an_address_that_fails_is_left_alone_for_a_while(world: SmartWorld) -> None:
    del world.web.pages[URL]
    assert ["404" in await _ask(world) for _ in range(4)] == [True] * 4
    assert len(world.web.asked) == 1
    world.clock.forward(10)
    assert "404" in await _ask(world)
    assert len(world.web.asked) == 2


async def test_no_address_is_asked_more_than_thirty_times_a_minute(world: SmartWorld) -> None:
    sets = world.server.key_sets
    world.web.publish(URL, ec_key("service"), cache_control="no-store")
    for _ in range(30):
        await sets.keys(URL, lambda keys: keys)
    assert "too often" in await _ask(world)
    assert len(world.web.asked) == 30
    world.clock.forward(61)
    assert await _ask(world) == "ok"


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b'{"keys": 1}', b"{}", orjson.dumps({"keys": [{"kid": "x"}] * 101})],
)
def test_what_is_no_key_set_is_refused(body: bytes) -> None:
    with pytest.raises(Unreachable, match="JWK Set"):
        read_keys(body)


@pytest.mark.filterwarnings("ignore:Key size")
async def test_keys_that_must_not_be_used_are_not(world: SmartWorld) -> None:
    private = ec_key("service").as_dict(private=True)
    short = RSAKey.generate_key(1024, {"kid": "short"}, private=True)
    other = ECKey.generate_key("P-256", {"kid": "other"}, private=True)
    listed = [private, short.as_dict(private=False), other.as_dict(private=False), "x", 7]
    world.web.pages[URL] = Fetched(orjson.dumps({"keys": listed}), {})
    assert "kid" in await _ask(world)
    assert "not signed by" in await _ask(world, short)


async def test_two_keys_of_one_name_and_kind_are_refused_and_of_two_kinds_not(
    world: SmartWorld,
) -> None:
    rsa = RSAKey.generate_key(2048, {"kid": "service"}, private=True)
    world.web.publish(URL, ec_key("service"), rsa)
    assert await _ask(world) == "ok"
    assert await _ask(world, rsa) == "ok"
    again = ECKey.generate_key("P-384", {"kid": "service"}, private=True)
    world.web.publish(URL, ec_key("service"), again)
    world.clock.forward(300)
    assert "exactly one" in await _ask(world)


def _with_header(world: SmartWorld, **header: str) -> dict[str, str]:
    claims = jwt.decode(world.assertion("service"), ec_key("service"), ["ES384"]).claims
    key = ec_key("service")
    made = jwt.encode({"alg": "ES384", "kid": key.kid, **header}, claims, key, ["ES384"])
    return {"client_assertion_type": BEARER_TYPE, "client_assertion": made}


async def test_jku_is_honoured_when_it_is_the_registered_address_alone(world: SmartWorld) -> None:
    evil = "https://evil.test/jwks.json"
    world.web.publish(evil, ec_key("service"))
    assert await _ask_with(world, _with_header(world, jku=URL)) == "ok"
    for wrong in (evil, URL + "/", URL + "?x", "http" + URL[5:]):
        assert "jku" in await _ask_with(world, _with_header(world, jku=wrong))
    await world.store.transaction(lambda tx: register_client(tx, SERVICE))
    assert "jku" in await _ask_with(world, _with_header(world, jku=URL))
    assert world.web.asked == [URL]


async def test_typ_is_jwt_and_the_algorithm_the_one_that_was_registered(world: SmartWorld) -> None:
    assert await _ask_with(world, _with_header(world, typ="JWT")) == "ok"
    assert "typ" in await _ask_with(world, _with_header(world, typ="at+jwt"))
    await _register(world, signing_alg="RS384")
    assert "RS384" in await _ask(world)
    assert await _ask(world, rsa_key("service-rsa")) == "ok"


async def test_an_address_is_asked_for_no_client_but_its_own(world: SmartWorld) -> None:
    """Neither an unknown client, nor one whose key is registered by value, causes a fetch."""
    for client in ("nobody", "app"):
        assertion = world.assertion(client, key=ec_key("rubbish"), aud=f"{ISSUER}/token")
        form = {"client_assertion_type": BEARER_TYPE, "client_assertion": assertion}
        answer = await world.browser.post("/auth/token", data=form)
        assert answer.json()["error"] == "invalid_client"
    assert world.web.asked == []
