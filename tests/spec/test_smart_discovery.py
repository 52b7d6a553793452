"""Discovery: everything that the two documents list is called here (SMART App Launch 2.2,
"Conformance"; OpenID Connect Discovery 1.0)."""

from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fhir_server.security.authorization.client_secret import with_secret
from fhir_server.security.authorization.clients import register_client
from tests.launch_world import Picker
from tests.smart_world import (
    FHIR,
    ISSUER,
    VERIFIER,
    SmartWorld,
    answer_of,
    clients,
    ec_key,
    rsa_key,
    smart_world,
)

SMART = "/fhir/.well-known/smart-configuration"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmartWorld]:
    async with smart_world(tmp_path) as opened:
        yield opened


@pytest.mark.parametrize("path", [SMART, "/auth/.well-known/openid-configuration"])
async def test_documents_are_json_to_any_origin_without_a_token_whatever_is_accepted(
    world: SmartWorld, path: str
) -> None:
    headers = {"Accept": "application/fhir+xml", "Origin": "https://anywhere.test"}
    answer = await world.browser.get(path, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-origin"] == "*"
    for name, value in answer.json().items():
        if name.endswith(("_endpoint", "_uri")) or name == "issuer":
            assert value.startswith("https://medsage.test/auth"), name


async def test_the_smart_document_has_what_smart_demands(world: SmartWorld) -> None:
    document = (await world.browser.get(SMART)).json()
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert document["issuer"] == ISSUER
    assert "private_key_jwt" in document["token_endpoint_auth_methods_supported"]
    algorithms = document["token_endpoint_auth_signing_alg_values_supported"]
    assert set(algorithms) == {"RS384", "ES384"}


async def _by_ehr_launch(world: SmartWorld) -> None:
    tokens = (await world.redeem(await world.launched_code())).json()
    assert tokens["patient"] == "p1"


async def _by_standalone_launch(world: SmartWorld) -> None:
    assert (await world.tokens())["token_type"] == "Bearer"


async def _by_authorize_post(world: SmartWorld) -> None:
    await world.sign_in()
    answer = await world.browser.post("/auth/authorize", data=world.asking())
    assert "code" in answer_of(answer)


async def _by_public_client(world: SmartWorld) -> None:
    assert "access_token" in await world.tokens("public-app", scope="openid")


async def _by_asymmetric_client(world: SmartWorld) -> None:
    for key in (ec_key("service"), rsa_key("service-rsa")):
        proof = world.proof("service", key=key)
        answer = await world.token(
            "service", grant_type="client_credentials", scope="system/Task.r", **proof
        )
        assert answer.status_code == 200


async def _by_symmetric_client(world: SmartWorld) -> None:
    app = next(client for client in clients() if client.id == "third")
    known = with_secret(replace(app, jwks=None, is_preapproved=True), "s" * 43)
    await world.store.transaction(lambda tx: register_client(tx, known))
    basic = "Basic " + b64encode(b"third:" + b"s" * 43).decode()
    form = {
        "grant_type": "authorization_code",
        "code": await world.code("third"),
        "redirect_uri": app.redirect_uris[0],
        "code_verifier": VERIFIER,
    }
    headers = {"Authorization": basic}
    answer = await world.browser.post("/auth/token", data=form, headers=headers)
    assert "access_token" in answer.json()


async def _by_openid(world: SmartWorld) -> None:
    assert (await world.tokens())["id_token"].count(".") == 2


async def _by_context(world: SmartWorld) -> None:
    token = await world.ehr_token()
    body = {"encounter": "e1", "need_patient_banner": False}
    handle = (await world.launch(token, **body)).json()["launch"]
    scope = "launch launch/encounter patient/Observation.rs"
    code = answer_of(await world.authorize(launch=handle, scope=scope))["code"]
    tokens = (await world.redeem(code)).json()
    assert (tokens["patient"], tokens["encounter"]) == ("p1", "e1")
    assert tokens["need_patient_banner"] is False


async def _by_style(world: SmartWorld) -> None:
    tokens = (await world.redeem(await world.launched_code())).json()
    style = await world.browser.get(tokens["smart_style_url"])
    assert style.json()["color_background"].startswith("#")


async def _by_choice(world: SmartWorld) -> None:
    picker = Picker(world)
    page = await picker.open(scope="openid launch/patient launch/encounter")
    visits = await picker.follow(await picker.choose(page, "p1"))
    code = answer_of(await picker.visit(visits, "e1"))["code"]
    tokens = (await world.redeem(code)).json()
    assert (tokens["patient"], tokens["encounter"]) == ("p1", "e1")


async def _by_offline_access(world: SmartWorld) -> None:
    tokens = await world.tokens(scope="openid offline_access")
    world.clock.forward(7300)
    assert (await world.refresh(tokens["refresh_token"])).status_code == 200


async def _by_online_access(world: SmartWorld) -> None:
    tokens = await world.tokens(scope="openid online_access")
    assert (await world.refresh(tokens["refresh_token"])).status_code == 200
    world.clock.forward(7300)
    assert (await world.refresh(tokens["refresh_token"])).status_code == 400


async def _by_patient_scope(world: SmartWorld) -> None:
    tokens = (await world.redeem(await world.launched_code())).json()
    assert "patient/Observation.rs" in tokens["scope"].split()


async def _by_user_scope(world: SmartWorld) -> None:
    assert (await world.tokens(scope="user/Patient.rs"))["scope"] == "user/Patient.rs"


async def _by_v1_scope(world: SmartWorld) -> None:
    assert (await world.tokens(scope="user/Patient.read"))["scope"] == "user/Patient.read"


PROOFS = {
    "launch-ehr": _by_ehr_launch,
    "launch-standalone": _by_standalone_launch,
    "authorize-post": _by_authorize_post,
    "client-public": _by_public_client,
    "client-confidential-symmetric": _by_symmetric_client,
    "client-confidential-asymmetric": _by_asymmetric_client,
    "sso-openid-connect": _by_openid,
    "context-banner": _by_context,
    "context-style": _by_style,
    "context-ehr-patient": _by_context,
    "context-ehr-encounter": _by_context,
    "context-standalone-patient": _by_choice,
    "context-standalone-encounter": _by_choice,
    "permission-offline": _by_offline_access,
    "permission-online": _by_online_access,
    "permission-patient": _by_patient_scope,
    "permission-user": _by_user_scope,
    "permission-v1": _by_v1_scope,
    "permission-v2": _by_user_scope,
}


async def test_every_capability_listed_has_a_proof_here(world: SmartWorld) -> None:
    document = (await world.browser.get(SMART)).json()
    assert set(document["capabilities"]) == set(PROOFS)


@pytest.mark.parametrize("capability", PROOFS)
async def test_a_listed_capability_works(world: SmartWorld, capability: str) -> None:
    await PROOFS[capability](world)


@pytest.mark.parametrize("path", [SMART, "/auth/.well-known/openid-configuration"])
async def test_every_listed_address_answers(world: SmartWorld, path: str) -> None:
    document = (await world.browser.get(path)).json()
    for name, url in document.items():
        if not name.endswith(("_endpoint", "_uri")):
            continue
        posted = ("token", "revocation", "introspection", "registration")
        method = "POST" if name.removesuffix("_endpoint") in posted else "GET"
        answer = await world.browser.request(method, url)
        assert answer.status_code in (200, 302, 303, 400, 401), name


async def test_a_listed_revocation_works(world: SmartWorld) -> None:
    document = (await world.browser.get(SMART)).json()
    tokens = await world.tokens()
    form = {**world.proof("app"), "token": tokens["refresh_token"]}
    await world.browser.post(document["revocation_endpoint"], data=form)
    assert (await world.refresh(tokens["refresh_token"])).status_code == 400


async def test_every_listed_scope_can_be_granted(world: SmartWorld) -> None:
    document: dict[str, Any] = (await world.browser.get(SMART)).json()
    token = await world.ehr_token()
    handle = (await world.launch(token, encounter="e1")).json()["launch"]
    asked = [one for one in document["scopes_supported"] if not one.startswith("system/")]
    code = answer_of(await world.authorize(launch=handle, scope=" ".join(asked)))["code"]
    tokens = (await world.redeem(code)).json()
    granted = tokens["scope"].split()
    assert set(granted) == {*asked} - {"user/*.cruds"} | {"user/*.rs"}


async def test_every_listed_prompt_is_understood_and_no_other(world: SmartWorld) -> None:
    document = (await world.browser.get("/auth/.well-known/openid-configuration")).json()
    await world.sign_in()
    world.clock.forward(5)
    for prompt in document["prompt_values_supported"]:
        answer = await world.authorize(prompt=prompt)
        assert "error" not in answer.headers["location"], prompt
    sent = answer_of(await world.authorize(prompt="create"))
    assert sent["error"] == "invalid_request"


async def test_the_openid_document_describes_what_is_done(world: SmartWorld) -> None:
    document = (await world.browser.get("/auth/.well-known/openid-configuration")).json()
    assert document["issuer"] == ISSUER
    assert document["id_token_signing_alg_values_supported"] == ["RS256"]
    assert document["end_session_endpoint"] == f"{ISSUER}/logout"
    assert set(document["grant_types_supported"]) == {
        "authorization_code",
        "refresh_token",
        "client_credentials",
    }
    assert FHIR not in str(document)
