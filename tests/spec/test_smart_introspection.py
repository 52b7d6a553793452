"""Token introspection (RFC 7662; SMART App Launch 2.2, "Token introspection") and userinfo
(OpenID Connect Core section 5.3)."""

from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir_server.security.authorization.client_secret import with_secret
from fhir_server.security.authorization.clients import register_client
from fhir_server.security.authorization.users import KIND as USER
from tests.smart_world import FHIR, ISSUER, SmartWorld, clients, smart_world

SERVICE = next(client for client in clients() if client.id == "service")
INACTIVE = {"active": False}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmartWorld]:
    async with smart_world(tmp_path) as opened:
        yield opened


async def _as_resource_server(world: SmartWorld) -> None:
    await world.store.transaction(
        lambda tx: register_client(tx, replace(SERVICE, is_resource_server=True))
    )


async def _post(world: SmartWorld, form: dict[str, str], **headers: str) -> httpx.Response:
    return await world.browser.post("/auth/introspect", data=form, headers=headers)


async def _ask(world: SmartWorld, token: str, client: str = "service") -> dict[str, Any]:
    answer = await _post(world, {**world.proof(client), "token": token})
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return dict(answer.json())


async def _backend_token(world: SmartWorld) -> str:
    form = {"grant_type": "client_credentials", "scope": "system/Task.rs"}
    return str((await world.token("service", **form)).json()["access_token"])


async def _launched(world: SmartWorld) -> dict[str, Any]:
    body = {
        "encounter": "e1",
        "need_patient_banner": False,
        "intent": "review",
        "tenant": "ward-7",
        "smart_style_url": "https://ehr.test/style.json",
        "fhirContext": [{"reference": "Encounter/e1", "role": "https://ehr.test/roles/x"}],
    }
    handle = (await world.launch(await world.ehr_token(), **body)).json()["launch"]
    scope = "openid fhirUser launch launch/encounter patient/Observation.rs"
    return await world.tokens(launch=handle, scope=scope)


async def test_a_resource_server_is_told_scope_client_expiry_context_and_person(
    world: SmartWorld,
) -> None:
    await _as_resource_server(world)
    tokens = await _launched(world)
    told = await _ask(world, tokens["access_token"])
    now = int(world.clock().timestamp())
    assert told["active"] is True
    assert told["scope"] == tokens["scope"]
    assert told["client_id"] == "app"
    assert told["exp"] == now + tokens["expires_in"]
    assert told["iss"] == ISSUER
    assert told["sub"] == "dr.amina"
    assert told["aud"] == FHIR
    assert told["fhirUser"] == f"{FHIR}/Practitioner/dr-amina"
    for name in ("patient", "encounter", "need_patient_banner", "fhirContext", "tenant"):
        assert told[name] == tokens[name]


async def test_every_launch_parameter_of_the_token_response_is_told(world: SmartWorld) -> None:
    await _as_resource_server(world)
    tokens = await _launched(world)
    own = {"access_token", "token_type", "expires_in", "scope", "refresh_token", "id_token"}
    told = await _ask(world, tokens["access_token"])
    assert {name: told.get(name) for name in tokens.keys() - own} == {
        name: tokens[name] for name in tokens.keys() - own
    }


async def test_without_an_id_token_no_person_is_told(world: SmartWorld) -> None:
    await _as_resource_server(world)
    told = await _ask(world, (await world.tokens(scope="user/Patient.rs"))["access_token"])
    assert told["active"] is True
    assert "fhirUser" not in told
    assert "name" not in told
    assert "patient" not in told


async def test_a_backend_services_token_is_told_without_a_person(world: SmartWorld) -> None:
    await _as_resource_server(world)
    told = await _ask(world, await _backend_token(world))
    assert (told["active"], told["sub"], told["scope"]) == (True, "service", "system/Task.rs")
    assert not {"patient", "fhirUser"} & told.keys()


async def test_a_resource_server_may_ask_by_its_own_bearer_token(world: SmartWorld) -> None:
    await _as_resource_server(world)
    tokens = await world.tokens()
    headers = {"Authorization": f"Bearer {await _backend_token(world)}"}
    answer = await _post(world, {"token": tokens["access_token"]}, **headers)
    assert answer.json()["client_id"] == "app"


async def test_a_resource_server_may_ask_by_its_secret(world: SmartWorld) -> None:
    app = next(client for client in clients() if client.id == "third")
    asking = with_secret(replace(app, jwks=None, is_resource_server=True), "s" * 43)
    await world.store.transaction(lambda tx: register_client(tx, asking))
    token = (await world.tokens())["access_token"]
    basic = "Basic " + b64encode(b"third:" + b"s" * 43).decode()
    answer = await _post(world, {"token": token}, Authorization=basic)
    assert answer.json()["active"] is True


async def test_a_client_may_ask_about_its_own_tokens_and_learns_nothing_of_others(
    world: SmartWorld,
) -> None:
    own = (await world.tokens())["access_token"]
    other = await _backend_token(world)
    assert (await _ask(world, own, "app"))["active"] is True
    assert await _ask(world, other, "app") == INACTIVE
    assert await _ask(world, own, "service") == INACTIVE


async def test_a_token_that_is_not_good_is_inactive_and_nothing_else(world: SmartWorld) -> None:
    await _as_resource_server(world)
    tokens = await world.tokens()
    head, claims, signature = tokens["access_token"].split(".")
    for wrong in (
        "guess",
        "a.b.c",
        f"{head}.{claims}.{signature[:-4]}AAAA",
        tokens["id_token"],
        tokens["refresh_token"],
        await world.code(),
        "x" * 20_000,
        "é",
    ):
        assert await _ask(world, wrong) == INACTIVE, wrong[:20]


async def test_a_token_that_was_revoked_or_has_expired_is_inactive(world: SmartWorld) -> None:
    await _as_resource_server(world)
    revoked, expired = await world.tokens(), await world.tokens()
    form = {**world.proof("app"), "token": revoked["refresh_token"]}
    await world.browser.post("/auth/revoke", data=form)
    assert await _ask(world, revoked["access_token"]) == INACTIVE
    assert (await _ask(world, expired["access_token"]))["active"] is True
    world.clock.forward(3600)
    assert await _ask(world, expired["access_token"]) == INACTIVE


async def test_who_does_not_prove_itself_is_refused(world: SmartWorld) -> None:
    token = (await world.tokens())["access_token"]
    proof = world.proof("service")
    assert (await _post(world, {**proof, "token": token})).status_code == 200
    refused = [
        await _post(world, {"token": token}),
        await _post(world, {"token": token, "client_id": "service"}),
        await _post(world, {"token": token, "client_id": "public-app"}),
        await _post(world, {"token": token, **proof}),  # the same assertion again
        await _post(world, {"token": token}, Authorization="Basic eDp5"),
        await _post(world, {"token": token}, Authorization="Bearer x.y.z"),
    ]
    assert [answer.status_code for answer in refused] == [401] * 6
    assert "active" not in "".join(answer.text for answer in refused)
    assert refused[5].headers["www-authenticate"].startswith("Bearer")
    assert (await world.journal("token"))[-1]["outcome"] == "refused"


async def test_a_bearer_token_of_an_app_does_not_let_it_ask(world: SmartWorld) -> None:
    token = (await world.tokens())["access_token"]
    answer = await _post(world, {"token": token}, Authorization=f"Bearer {token}")
    assert answer.status_code == 403
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]


async def test_a_request_without_a_token_is_invalid(world: SmartWorld) -> None:
    answer = await _post(world, world.proof("service"))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def _userinfo(world: SmartWorld, token: str, method: str = "GET") -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}", "Origin": "https://app.test"}
    return await world.browser.request(method, "/auth/userinfo", headers=headers)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_userinfo_tells_who_signed_in_to_the_apps_own_pages(
    world: SmartWorld, method: str
) -> None:
    answer = await _userinfo(world, (await world.tokens())["access_token"], method)
    assert answer.json() == {
        "sub": "dr.amina",
        "name": "Dr amina",
        "fhirUser": f"{FHIR}/Practitioner/dr-amina",
    }
    assert answer.headers["access-control-allow-origin"] == "https://app.test"
    assert answer.headers["cache-control"] == "no-store"


async def test_userinfo_tells_no_more_than_the_scopes_allow(world: SmartWorld) -> None:
    bare = await world.tokens(scope="openid user/Patient.rs")
    assert (await _userinfo(world, bare["access_token"])).json() == {"sub": "dr.amina"}
    for token in (
        (await world.tokens(scope="user/Patient.rs"))["access_token"],
        await _backend_token(world),
    ):
        answer = await _userinfo(world, token)
        assert (answer.status_code, answer.json()["error"]) == (403, "insufficient_scope")


async def test_userinfo_needs_a_good_access_token_of_somebody_who_is_there(
    world: SmartWorld,
) -> None:
    tokens = await world.tokens()
    for token in ("", "x.y.z", tokens["id_token"]):
        answer = await _userinfo(world, token)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")
        assert answer.headers["www-authenticate"].startswith("Bearer")
    await world.store.transaction(lambda tx: tx.delete_record(USER, "dr.amina"))
    assert (await _userinfo(world, tokens["access_token"])).status_code == 401
