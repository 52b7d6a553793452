"""Registration of clients and users: what is not sound is refused by name (RFC 7591)."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey

from fhir_server.security.authorization.client_metadata import client_from_metadata
from fhir_server.security.authorization.clients import (
    BadRegistration,
    Client,
    check_client,
    client_from,
    register_client,
)
from fhir_server.security.authorization.users import (
    PasswordHash,
    User,
    hash_password,
    is_password,
    register_user,
)
from fhir_server.security.rate_limit import MemoryCounters
from tests.smart_world import Clock, SmartWorld, clients, ec_key, smart_world

KEYS = {"keys": [ec_key("app").as_dict(private=False)]}
GOOD = Client("a", "An app", "openid", redirect_uris=("https://a.test/cb",))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmartWorld]:
    async with smart_world(tmp_path) as opened:
        yield opened


async def test_a_client_reads_back_as_it_was_registered(world: SmartWorld) -> None:
    for client in clients():
        record = await world.store.record("client", client.id)
        assert record is not None
        assert client_from(record) == client


async def test_registering_again_replaces(world: SmartWorld) -> None:
    renamed = replace(clients()[0], name="Renamed")
    await world.store.transaction(lambda tx: register_client(tx, renamed))
    record = await world.store.record("client", renamed.id)
    assert record is not None
    assert client_from(record).name == "Renamed"


@pytest.mark.parametrize(
    "uri",
    [
        "http://a.test/cb",
        "https://a.test/cb#x",
        "https://*.test/cb",
        "https://user@a.test/cb",
        "javascript:alert(1)",
        "/cb",
        "https://a.test/c b",
    ],
)
def test_an_unsound_redirect_uri_is_refused(uri: str) -> None:
    with pytest.raises(BadRegistration):
        check_client(replace(GOOD, redirect_uris=(uri,)))
    with pytest.raises(BadRegistration):
        check_client(replace(GOOD, launch_uri=uri))


def test_http_is_good_on_loopback_alone() -> None:
    check_client(replace(GOOD, redirect_uris=("http://localhost:5000/cb", "http://127.0.0.1/cb")))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"redirect_uris": ()}, "redirect_uris"),
        ({"grant_types": frozenset({"password"})}, "password"),
        ({"grant_types": frozenset({"client_credentials"})}, "jwks"),
        ({"is_ehr": True}, "jwks"),
        ({"frame_origins": ("https://ehr.test/",)}, "origin"),
        ({"name": ""}, "name"),
        ({"jwks": {"keys": []}}, "No keys"),
        ({"jwks": {"keys": [ec_key("app").as_dict(private=True)]}}, "private"),
        ({"jwks": {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}}, "jwks"),
        ({"jwks": {"key": 1}}, "jwks"),
    ],
)
def test_an_unsound_client_is_refused_by_name(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(BadRegistration, match=says):
        check_client(replace(GOOD, **changes))


def test_keys_of_another_curve_or_without_a_kid_are_refused() -> None:
    other = ECKey.generate_key("P-256", {"kid": "x"}, private=True).as_dict(private=False)
    nameless = ECKey.generate_key("P-384", private=True).as_dict(private=False)
    nameless.pop("kid", None)
    for key, says in ((other, "P-384"), (nameless, "kid")):
        with pytest.raises(BadRegistration, match=says):
            check_client(replace(GOOD, jwks={"keys": [key]}))


def test_metadata_becomes_a_client() -> None:
    metadata = {
        "client_name": "An app",
        "scope": "openid user/Patient.rs",
        "redirect_uris": ["https://a.test/cb"],
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": "private_key_jwt",
        "jwks": KEYS,
    }
    client = client_from_metadata("a", metadata)
    assert (client.id, client.name, client.scopes) == ("a", "An app", "openid user/Patient.rs")
    assert client.redirect_uris == ("https://a.test/cb",)
    assert not client.is_public
    assert not client.is_preapproved
    assert not client.is_ehr


METADATA = {
    "client_name": "A",
    "scope": "openid",
    "redirect_uris": ["https://a.test/cb"],
    "token_endpoint_auth_method": "none",
}


@pytest.mark.parametrize("name", ["jwks_uri", "is_preapproved", "is_ehr", "client_secret", "x"])
def test_metadata_that_is_not_supported_is_refused_by_name(name: str) -> None:
    metadata = METADATA | {"token_endpoint_auth_method": "private_key_jwt", name: "x"}
    with pytest.raises(BadRegistration, match=name):
        client_from_metadata("a", metadata)


def test_the_way_to_authenticate_must_fit_the_keys() -> None:
    for wrong in (
        {"jwks": KEYS},
        {"jwks_uri": "https://a.test/jwks"},
        {"jwks": KEYS, "token_endpoint_auth_method": "client_secret_basic"},
        {"token_endpoint_auth_method": "private_key_jwt"},
        {"token_endpoint_auth_method": "client_secret_post"},
    ):
        with pytest.raises(BadRegistration, match="token_endpoint_auth_method"):
            client_from_metadata("a", METADATA | wrong)


@pytest.mark.parametrize(
    ("user", "says"),
    [
        (User("Dr.X", "X", frozenset({"doctor"})), "lower case"),
        (User("", "X", frozenset({"doctor"})), "lower case"),
        (User("x", "X", frozenset()), "role"),
        (User("x", "X", frozenset({"service"})), "service"),
        (User("x", "X", frozenset({"root"})), "root"),
    ],
)
async def test_an_unsound_user_is_refused(world: SmartWorld, user: User, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        await world.store.transaction(lambda tx: register_user(tx, user, PasswordHash("x")))


async def test_a_password_is_checked_whole_and_has_bounds(world: SmartWorld) -> None:
    for wrong in ("short", "x" * 257):
        with pytest.raises(ValueError, match="8 to 256"):
            hash_password(wrong)
    longest = "x" * 256
    user = User("x", "X", frozenset({"auditor"}))
    hashed = hash_password(longest)
    await world.store.transaction(lambda tx: register_user(tx, user, hashed))
    record = await world.store.record("user", "x")
    assert is_password(record, longest)
    assert not is_password(record, longest + "y")
    assert not is_password(record, longest[:-1])
    assert not is_password(None, longest)


async def test_counters_start_again_after_their_window_and_stay_bounded() -> None:
    clock = Clock()
    counters = MemoryCounters(clock, capacity=2)
    assert (await counters.hit("a", 60)).hits == 1
    clock.forward(20)
    second = await counters.hit("a", 60)
    assert (second.hits, second.resets_in_seconds) == (2, 40)
    clock.forward(40)
    assert (await counters.hit("a", 60)).hits == 1
    await counters.hit("b", 600)
    await counters.hit("c", 600)  # no room: "a" ends first and is dropped
    assert (await counters.hit("b", 600)).hits == 2
    assert (await counters.hit("a", 60)).hits == 1
    await counters.clear("b")
    assert (await counters.hit("b", 600)).hits == 1
