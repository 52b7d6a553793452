"""SMART App Launch 2.2, "Client authentication: symmetric"; RFC 6749 section 2.3.1."""

from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote_plus

import httpx
import pytest

from fhir_server.security.authorization.client_secret import basic_credentials, with_secret
from fhir_server.security.authorization.clients import (
    BadRegistration,
    Client,
    check_client,
    register_client,
)
from tests.smart_world import VERIFIER, SmartWorld, clients, smart_world

APP = next(client for client in clients() if client.id == "app")
OLD, NEW, NEWEST = "old-secret-of-256-bits", "new-secret-of-256-bits", "newest-secret-of-256-bits"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmartWorld]:
    async with smart_world(tmp_path) as opened:
        await _register(opened, with_secret(replace(APP, jwks=None), OLD))
        yield opened


async def _register(world: SmartWorld, client: Client) -> None:
    await world.store.transaction(lambda tx: register_client(tx, client))


async def _redeem(world: SmartWorld, authorization: str | None, **form: str) -> httpx.Response:
    fields = {
        "grant_type": "authorization_code",
        "code": await world.code(),
        "redirect_uri": APP.redirect_uris[0],
        "code_verifier": VERIFIER,
        **form,
    }
    headers = {} if authorization is None else {"Authorization": authorization}
    return await world.browser.post("/auth/token", data=fields, headers=headers)


def _basic(secret: str, client_id: str = "app") -> str:
    return "Basic " + b64encode(f"{client_id}:{secret}".encode()).decode()


async def test_an_app_with_a_secret_redeems_its_code_by_http_basic(world: SmartWorld) -> None:
    answer = await _redeem(world, _basic(OLD))
    assert answer.status_code == 200, answer.text
    assert answer.json()["token_type"] == "Bearer"
    assert (await _redeem(world, _basic(OLD), client_id="app")).status_code == 200


async def test_the_secret_is_kept_as_a_digest_alone(world: SmartWorld) -> None:
    await _redeem(world, _basic(OLD))
    kept = str(await world.store.records("client")) + str(await world.journal("token"))
    assert OLD not in kept


WRONG = (
    None,
    _basic("wrong"),
    _basic(""),
    _basic(OLD.upper()),
    _basic(OLD + " "),
    _basic(OLD, "public-app"),
    _basic(OLD, "nobody"),
    "Basic",
    "Basic !!!",
    "Basic " + b64encode(b"app").decode(),
    "Basic " + b64encode(b"app:\xff").decode(),
    f"Bearer {OLD}",
)


async def test_anything_else_is_an_invalid_client(world: SmartWorld) -> None:
    for authorization in WRONG:
        form = {"client_id": "app"} if authorization is None else {}
        answer = await _redeem(world, authorization, **form)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
        assert answer.headers["cache-control"] == "no-store"
        assert ("www-authenticate" in answer.headers) == (authorization is not None)


async def test_a_secret_in_the_body_is_refused_because_smart_has_basic_alone(
    world: SmartWorld,
) -> None:
    answer = await _redeem(world, None, client_id="app", client_secret=OLD)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert "Basic" in answer.json()["error_description"]


async def test_two_ways_at_once_are_refused(world: SmartWorld) -> None:
    answer = await _redeem(world, _basic(OLD), **world.proof("app"))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    other = await _redeem(world, _basic(OLD), client_id="third")
    assert (other.status_code, other.json()["error"]) == (401, "invalid_client")


async def test_a_client_with_a_key_or_without_a_secret_can_not_use_basic(
    world: SmartWorld,
) -> None:
    for client_id in ("public-app", "third"):
        form = {"grant_type": "authorization_code", "code": "x"}
        headers = {"Authorization": _basic("", client_id)}
        answer = await world.browser.post("/auth/token", data=form, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
        assert "this client authenticates by" in answer.json()["error_description"]


async def test_two_secrets_are_good_at_once_so_that_a_client_can_change_over(
    world: SmartWorld,
) -> None:
    both = with_secret(with_secret(replace(APP, jwks=None), OLD), NEW)
    await _register(world, both)
    assert (await _redeem(world, _basic(OLD))).status_code == 200
    assert (await _redeem(world, _basic(NEW))).status_code == 200
    await _register(world, with_secret(both, NEWEST))
    assert (await _redeem(world, _basic(OLD))).status_code == 401
    assert (await _redeem(world, _basic(NEW))).status_code == 200
    await _register(world, with_secret(both, NEWEST, keeps_old=False))
    assert (await _redeem(world, _basic(NEW))).status_code == 401
    assert (await _redeem(world, _basic(NEWEST))).status_code == 200


def test_id_and_secret_are_form_encoded_inside_the_header() -> None:
    client_id, secret = "https://app.test/a:b", "p+w %é"
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    assert basic_credentials("basic " + b64encode(pair.encode()).decode()) == (client_id, secret)


@pytest.mark.parametrize(
    "changes",
    [
        {"grant_types": frozenset({"client_credentials"})},
        {"is_ehr": True},
        {"jwks_uri": "https://app.test/jwks"},
        {"secrets": ("1", "2", "3")},
        {"signing_alg": "RS384"},
    ],
)
def test_a_secret_is_for_apps_alone_and_the_only_proof(changes: dict[str, object]) -> None:
    app = with_secret(replace(APP, jwks=None), OLD)
    check_client(app)
    with pytest.raises(BadRegistration):
        check_client(replace(app, **changes))  # type: ignore[arg-type]
