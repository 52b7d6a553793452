"""Misuse of client authentication, registration, introspection and discovery: each test breaks
one SHALL of SMART App Launch 2.2 or one MUST of the RFCs that it builds on, and fails to."""

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from fhir_server.security.authorization.client_secret import with_secret
from fhir_server.security.authorization.clients import Client, register_client
from fhir_server.security.keys import generate_keys, rotate_keys
from tests.smart_world import (
    BEARER_TYPE,
    ISSUER,
    SmartWorld,
    answer_of,
    clients,
    ec_key,
    rsa_key,
    smart_world,
)

BY_ID = {client.id: client for client in clients()}
OWN = {"grant_type": "client_credentials", "scope": "system/Task.r"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmartWorld]:
    async with smart_world(tmp_path) as opened:
        yield opened


async def _keep(world: SmartWorld, client: Client) -> None:
    await world.store.transaction(lambda tx: register_client(tx, client))


async def _post(world: SmartWorld, endpoint: str, **form: str) -> tuple[int, dict[str, Any]]:
    answer = await world.browser.post(f"/auth/{endpoint}", data=form)
    return answer.status_code, answer.json()


# Client assertions (client-confidential-asymmetric, signature verification)


async def test_an_assertion_is_spent_at_whichever_endpoint_it_came_to_first(
    world: SmartWorld,
) -> None:
    """SHALL: the jti was not encountered before for the given iss."""
    for first, form in (("introspect", {"token": "x"}), ("revoke", {"token": "x"})):
        proof = world.proof("service")
        assert (await _post(world, first, **proof, **form))[0] == 200
        status, body = await _post(world, "token", **proof, **OWN)
        assert (status, body["error"]) == (401, "invalid_client")


async def test_two_clients_may_happen_to_use_the_same_jti(world: SmartWorld) -> None:
    await _keep(world, replace(BY_ID["service"], id="other", jwks=BY_ID["app"].jwks))
    one = world.proof("service", jti="same")
    other = world.proof("other", key=ec_key("app"), jti="same")
    for proof in (one, other):
        assert (await _post(world, "token", **proof, **OWN))[0] == 200


async def test_the_client_id_beside_an_assertion_must_be_its_subject(world: SmartWorld) -> None:
    for claimed in ("app", "nobody", "SERVICE"):
        form = {**world.proof("service"), **OWN, "client_id": claimed}
        assert (await _post(world, "token", **form))[1]["error"] == "invalid_client"
    good = {**world.proof("service"), **OWN, "client_id": "service"}
    assert (await _post(world, "token", **good))[0] == 200


async def test_an_assertion_needs_a_kid_and_a_key_of_the_kind_of_its_algorithm(
    world: SmartWorld,
) -> None:
    key = ec_key("service")
    claims = jwt.decode(world.assertion("service"), key, ["ES384"]).claims
    headers: list[dict[str, Any]] = [
        {"alg": "ES384"},
        {"alg": "ES384", "kid": ""},
        {"alg": "ES384", "kid": "service-rsa"},
        {"alg": "ES384", "kid": "service", "crit": ["b64"], "b64": False},
        {"alg": "ES384", "kid": "service", "x5u": "https://evil.test/x5u", "typ": "jose"},
    ]
    for header in headers:
        try:
            made = jwt.encode(header, claims, key, ["ES384"])
        except Exception:
            # The library won't make it: a forger's own header over the right claims.
            head = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
            made = ".".join([head, *world.assertion("service").split(".")[1:]])
        form = {"client_assertion_type": BEARER_TYPE, "client_assertion": made}
        status, body = await _post(world, "token", **form, **OWN)
        assert (status, body["error"]) == (401, "invalid_client"), header


async def test_a_key_is_good_for_its_own_algorithm_alone(world: SmartWorld) -> None:
    """An assertion that says RS384 and names an EC key, or the other way round."""
    for alg, kid, key in (
        ("RS384", "service", rsa_key("service-rsa")),
        ("ES384", "service-rsa", ec_key("service")),
    ):
        claims = jwt.decode(world.assertion("service"), ec_key("service"), ["ES384"]).claims
        made = jwt.encode({"alg": alg, "kid": kid}, claims, key, [alg])
        form = {"client_assertion_type": BEARER_TYPE, "client_assertion": made}
        assert (await _post(world, "token", **form, **OWN))[1]["error"] == "invalid_client"


async def test_a_public_client_can_not_take_a_key_or_secret_on_itself(world: SmartWorld) -> None:
    own = ECKey.generate_key("P-384", {"kid": "mine"}, private=True)
    form = {"grant_type": "authorization_code", "code": "x"}
    proof = world.proof("public-app") | {
        "client_assertion": world.assertion("public-app", key=own),
        "client_assertion_type": BEARER_TYPE,
    }
    assert (await _post(world, "token", **proof, **form))[1]["error"] == "invalid_client"
    secret = {"client_id": "public-app", "client_secret": "x"}
    assert (await _post(world, "token", **secret, **form))[1]["error"] == "invalid_client"


async def test_a_confidential_client_can_not_pass_for_a_public_one(world: SmartWorld) -> None:
    await _keep(world, with_secret(replace(BY_ID["third"], jwks=None), "s" * 43))
    by_url = replace(BY_ID["ehr"], jwks=None, jwks_uri="https://ehr.test/jwks")
    await _keep(world, by_url)
    for client_id in ("app", "third", "ehr"):
        for endpoint in ("token", "revoke", "introspect"):
            form = {"client_id": client_id, "token": "x", "grant_type": "authorization_code"}
            status, body = await _post(world, endpoint, **form, code="x")
            assert (status, body["error"]) == (401, "invalid_client")


# Registration and status


async def test_a_code_is_worth_nothing_to_a_client_that_was_refused_meanwhile(
    world: SmartWorld,
) -> None:
    code, tokens = await world.code(), await world.tokens(scope="openid offline_access")
    for status in ("pending", "rejected"):
        await _keep(world, replace(BY_ID["app"], status=status))
        assert (await world.redeem(code)).json()["error"] == "invalid_client"
        refreshed = await world.refresh(tokens["refresh_token"])
        assert refreshed.json()["error"] == "invalid_client"
    await _keep(world, BY_ID["app"])
    assert (await world.redeem(code)).status_code == 200


async def test_a_client_that_waits_can_not_revoke_ask_launch_or_be_launched(
    world: SmartWorld,
) -> None:
    ehr = await world.ehr_token()
    await _keep(world, replace(BY_ID["service"], status="pending", is_resource_server=True))
    for endpoint in ("revoke", "introspect"):
        status, body = await _post(world, endpoint, **world.proof("service"), token=ehr)
        assert (status, body["error"]) == (401, "invalid_client")
    await _keep(world, replace(BY_ID["app"], status="pending"))
    assert (await world.launch(ehr)).status_code == 400
    await _keep(world, replace(BY_ID["ehr"], status="pending"))
    assert (await world.launch(ehr, "third")).status_code == 403


async def test_registering_can_not_take_over_a_client_that_is_there(world: SmartWorld) -> None:
    metadata = {
        "client_name": "MedSAGE app",
        "redirect_uris": ["https://evil.test/callback"],
        "scope": "openid",
        "token_endpoint_auth_method": "none",
    }
    made = (await world.browser.post("/auth/register", json=metadata)).json()
    assert made["client_id"] not in BY_ID
    headers = {"Authorization": f"Bearer {made['registration_access_token']}"}
    body = {**metadata, "client_id": "app"}
    for path in ("app", f"{made['client_id']}/../app", "app%2f"):
        answer = await world.browser.put(f"/auth/register/{path}", json=body, headers=headers)
        assert answer.status_code in (401, 404)
    await world.sign_in()
    assert "code" in answer_of(await world.authorize())


async def test_a_new_secret_or_token_is_never_in_journal_or_store(world: SmartWorld) -> None:
    metadata = {
        "client_name": "App",
        "redirect_uris": ["https://a.test/cb"],
        "scope": "openid",
    }
    made = (await world.browser.post("/auth/register", json=metadata)).json()
    kept = str(await world.store.records("client")) + str(await world.store.journal(100))
    for secret in (made["client_secret"], made["registration_access_token"]):
        assert secret not in kept


# Introspection and userinfo


async def test_an_answer_about_a_token_of_others_is_that_about_no_token(
    world: SmartWorld,
) -> None:
    token = (await world.tokens())["access_token"]
    bodies = set()
    for asked in (token, "guess", token[:-6] + "AAAAAA"):
        form = {**world.proof("third"), "token": asked}
        answer = await world.browser.post("/auth/introspect", data=form)
        bodies.add((answer.status_code, answer.content))
    assert bodies == {(200, b'{"active":false}')}


async def test_a_token_in_the_query_is_not_looked_at(world: SmartWorld) -> None:
    """RFC 6750 section 2.3 and RFC 7662 section 2.1: addresses end up in logs."""
    token = (await world.tokens())["access_token"]
    answer = await world.browser.get("/auth/userinfo", params={"access_token": token})
    assert answer.status_code == 401
    answer = await world.browser.get("/auth/introspect", params={"token": token})
    assert answer.status_code == 405
    answer = await world.browser.post(
        "/auth/introspect", params={"token": token}, data=world.proof("app")
    )
    assert answer.json()["error"] == "invalid_request"


async def test_pages_of_strangers_can_not_read_userinfo(world: SmartWorld) -> None:
    headers = {"Origin": "https://evil.test", "Access-Control-Request-Method": "GET"}
    assert (await world.browser.options("/auth/userinfo", headers=headers)).status_code == 403
    token = (await world.tokens())["access_token"]
    asked = {"Origin": "https://evil.test", "Authorization": f"Bearer {token}"}
    answer = await world.browser.get("/auth/userinfo", headers=asked)
    assert "access-control-allow-origin" not in answer.headers


# Discovery and keys


async def test_discovery_does_not_believe_the_host_header(world: SmartWorld) -> None:
    for path in ("/fhir/.well-known/smart-configuration", "/auth/.well-known/openid-configuration"):
        headers = {"Host": "evil.test", "X-Forwarded-Host": "evil.test"}
        document = await world.browser.get(path, headers=headers)
        assert "evil" not in document.text
        assert document.json()["issuer"] == ISSUER


async def test_no_private_part_is_published_neither_now_nor_after_a_rotation(
    world: SmartWorld,
) -> None:
    made, now = await generate_keys(), world.clock().timestamp()
    await world.store.transaction(lambda tx: rotate_keys(tx, made, now=now, longest_token=60))
    world.clock.forward(10)
    keys = (await world.browser.get("/auth/jwks")).json()["keys"]
    assert len(keys) == 4
    for key in keys:
        assert not {"d", "p", "q", "dp", "dq", "qi", "oth", "k"} & key.keys()


async def test_a_key_that_does_not_sign_yet_is_published_and_another_kind_is_not_mixed_up(
    world: SmartWorld,
) -> None:
    """An id_token is not believed as an access token though both kinds are in one set."""
    tokens = await world.tokens()
    header = {"alg": "RS256", "typ": "at+jwt", "kid": world.server.keys.identity.kid}
    claims = jwt.decode(tokens["access_token"], world.server.keys.access, ["ES256"]).claims
    forged = jwt.encode(header, claims, world.server.keys.identity, ["RS256"])
    with pytest.raises(Exception, match="not one of this server"):
        await world.who(forged)
