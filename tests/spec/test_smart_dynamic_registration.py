"""Dynamic client registration (RFC 7591) and its management (RFC 7592): what registers itself
waits for approval, and is opened by its own token alone."""

from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir_server.security.authorization.approval import approve_client, reject_client
from fhir_server.security.authorization.client_metadata import read_metadata
from fhir_server.security.authorization.clients import (
    BadRegistration,
    client_from,
    register_client,
)
from fhir_server.security.authorization.registration import MOST_PER_HOUR
from tests.smart_world import ISSUER, VERIFIER, SmartWorld, answer_of, ec_key, smart_world

APP: dict[str, Any] = {
    "client_name": "Growth charts",
    "redirect_uris": ["https://growth.test/callback"],
    "grant_types": ["authorization_code", "refresh_token"],
    "token_endpoint_auth_method": "none",
    "scope": "openid fhirUser launch/patient user/Patient.rs",
    "contacts": ["it@growth.test"],
    "client_uri": "https://growth.test/",
}
SERVICE: dict[str, Any] = {
    "client_name": "Quality measures",
    "grant_types": ["client_credentials"],
    "token_endpoint_auth_method": "private_key_jwt",
    "jwks": {"keys": [ec_key("quality").as_dict(private=False)]},
    "scope": "system/Observation.rs",
}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmartWorld]:
    async with smart_world(tmp_path) as opened:
        yield opened


async def _register(world: SmartWorld, metadata: Any, **changes: Any) -> httpx.Response:
    body = {**metadata, **changes} if changes else metadata
    return await world.browser.post("/auth/register", json=body)


async def _registered(world: SmartWorld, metadata: Any, **changes: Any) -> dict[str, Any]:
    answer = await _register(world, metadata, **changes)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def _manage(
    world: SmartWorld, made: dict[str, Any], method: str = "GET", body: Any = None
) -> httpx.Response:
    headers = {"Authorization": f"Bearer {made['registration_access_token']}"}
    url = made["registration_client_uri"]
    return await world.browser.request(method, url, headers=headers, json=body)


async def _approve(world: SmartWorld, made: dict[str, Any]) -> None:
    await world.store.transaction(lambda tx: approve_client(tx, made["client_id"]))


async def _use(world: SmartWorld, made: dict[str, Any]) -> httpx.Response:
    """What the registered public app gets on asking for a code."""
    asked = world.asking() | {
        "client_id": made["client_id"],
        "redirect_uri": APP["redirect_uris"][0],
        "scope": "openid user/Patient.rs",
        "prompt": "none",
    }
    return await world.browser.get("/auth/authorize", params=asked)


async def test_a_registration_is_answered_with_what_was_registered(world: SmartWorld) -> None:
    answer = await _register(world, APP)
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json()
    assert {name: made[name] for name in APP} == {**APP, "scope": APP["scope"]}
    assert made["client_id_issued_at"] == int(world.clock().timestamp())
    assert made["registration_client_uri"] == f"{ISSUER}/register/{made['client_id']}"
    assert made["status"] == "pending"
    assert "client_secret" not in made
    assert (await world.journal("client-registration"))[-1]["client"] == made["client_id"]


async def test_nothing_works_before_an_administrator_approves_it(world: SmartWorld) -> None:
    await world.sign_in()
    made = await _registered(world, APP)
    assert (await _use(world, made)).status_code == 400
    await _approve(world, made)
    assert answer_of(await _use(world, made))["error"] == "consent_required"
    assert (await _manage(world, made)).json()["status"] == "active"


async def test_a_rejected_client_reads_so_and_does_not_work(world: SmartWorld) -> None:
    await world.sign_in()
    made = await _registered(world, APP)
    await world.store.transaction(lambda tx: reject_client(tx, made["client_id"]))
    assert (await _manage(world, made)).json()["status"] == "rejected"
    assert (await _use(world, made)).status_code == 400


async def test_a_backend_service_registers_its_key_and_gets_a_token_once_approved(
    world: SmartWorld,
) -> None:
    made = await _registered(world, SERVICE)
    form = {"grant_type": "client_credentials", "scope": "system/Observation.rs"}
    for status in (401, 200):
        proof = world.proof(made["client_id"], key=ec_key("quality"))
        assert (await world.token("x", **form, **proof)).status_code == status
        if status == 401:
            await _approve(world, made)


async def test_a_backend_service_registers_the_address_of_its_keys(world: SmartWorld) -> None:
    url = "https://quality.test/jwks"
    world.web.publish(url, ec_key("quality"))
    by_url = {name: SERVICE[name] for name in SERVICE if name != "jwks"} | {"jwks_uri": url}
    made = await _registered(world, by_url)
    form = {"grant_type": "client_credentials", "scope": "system/Observation.rs"}
    proof = world.proof(made["client_id"], key=ec_key("quality"))
    assert (await world.token("x", **form, **proof)).status_code == 401
    assert world.web.asked == []  # nothing is fetched for who is not approved
    await _approve(world, made)
    proof = world.proof(made["client_id"], key=ec_key("quality"))
    assert (await world.token("x", **form, **proof)).status_code == 200


async def test_an_app_with_a_secret_is_told_it_once_and_it_is_kept_as_a_digest(
    world: SmartWorld,
) -> None:
    made = await _registered(world, APP, token_endpoint_auth_method="client_secret_basic")
    assert len(made["client_secret"]) >= 43
    assert made["client_secret_expires_at"] == 0
    await _approve(world, made)
    basic = b64encode(f"{made['client_id']}:{made['client_secret']}".encode()).decode()
    form = {"grant_type": "authorization_code", "code": "x", "code_verifier": VERIFIER}
    headers = {"Authorization": f"Basic {basic}"}
    answer = await world.browser.post("/auth/token", data=form, headers=headers)
    assert answer.json()["error"] == "invalid_grant"  # the client was authenticated
    again = (await _manage(world, made)).json()
    assert "client_secret" not in again
    kept = str(await world.store.records("client"))
    assert made["client_secret"] not in kept
    assert made["registration_access_token"] not in kept


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"redirect_uris": []}, "invalid_redirect_uri", "redirect_uris"),
        ({"redirect_uris": ["http://growth.test/"]}, "invalid_redirect_uri", "https"),
        ({"redirect_uris": ["https://growth.test/#x"]}, "invalid_redirect_uri", "exact"),
        ({"redirect_uris": ["javascript:alert(1)"]}, "invalid_redirect_uri", "https"),
        ({"redirect_uris": ["https://growth.test:0/"]}, "invalid_redirect_uri", "https"),
        ({"redirect_uris": "https://growth.test/"}, "invalid_client_metadata", "redirect_uris"),
        ({"client_name": ""}, "invalid_client_metadata", "name"),
        ({"client_name": "x" * 201}, "invalid_client_metadata", "client_name"),
        ({"client_name": "a\u202eb"}, "invalid_client_metadata", "client_name"),
        ({"client_name": 7}, "invalid_client_metadata", "client_name"),
        ({"scope": ""}, "invalid_client_metadata", "scope"),
        ({"scope": "user/Patient.dr"}, "invalid_client_metadata", "user/Patient.dr"),
        ({"grant_types": ["implicit"]}, "invalid_client_metadata", "implicit"),
        ({"grant_types": ["refresh_token"]}, "invalid_client_metadata", "refresh_token"),
        ({"response_types": ["token"]}, "invalid_client_metadata", "response_types"),
        ({"grant_types": ["client_credentials"]}, "invalid_client_metadata", "key"),
        ({"token_endpoint_auth_method": "client_secret_post"}, "invalid_client_metadata", "auth"),
        ({"jwks_uri": "https://growth.test/jwks"}, "invalid_client_metadata", "auth_method"),
        ({"software_statement": "x.y.z"}, "invalid_client_metadata", "software_statement"),
        ({"request_uris": []}, "invalid_client_metadata", "request_uris"),
        ({"client_id": "app"}, "invalid_client_metadata", "client_id"),
        ({"client_secret": "mine"}, "invalid_client_metadata", "client_secret"),
        ({"id_token_signed_response_alg": "none"}, "invalid_client_metadata", "RS256"),
        ({"contacts": ["x"] * 21}, "invalid_client_metadata", "contacts"),
        ({"client_uri": "javascript:x"}, "invalid_client_metadata", "client_uri"),
    ],
)
def test_unsound_metadata_is_refused_by_name(
    changes: dict[str, Any], error: str, says: str
) -> None:
    with pytest.raises(BadRegistration, match=says) as caught:
        read_metadata("x", APP | changes)
    assert caught.value.error == error


async def test_the_refusals_have_the_codes_of_rfc_7591_and_are_audited(world: SmartWorld) -> None:
    for changes, error in (
        ({"redirect_uris": ["http://growth.test/"]}, "invalid_redirect_uri"),
        ({"scope": "éverything"}, "invalid_client_metadata"),
    ):
        answer = await _register(world, APP, **changes)
        assert (answer.status_code, answer.json()["error"]) == (400, error)
        assert answer.text.isascii()
    bodies = ("", "[]", "{", "null", "[" * 5000)
    for body in bodies:
        headers = {"Content-Type": "application/json"}
        answer = await world.browser.post("/auth/register", content=body, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")
    form = await world.browser.post("/auth/register", data={"client_name": "x"})
    assert form.status_code == 400
    journal = await world.journal("client-registration")
    assert [entry["outcome"] for entry in journal] == ["refused"] * (3 + len(bodies))


async def test_plain_http_keys_are_refused_where_the_server_itself_has_https(
    world: SmartWorld,
) -> None:
    by_url = {name: SERVICE[name] for name in SERVICE if name != "jwks"}
    answer = await _register(world, by_url, jwks_uri="http://localhost:9000/jwks")
    assert (answer.status_code, "https" in answer.text) == (400, True)


async def test_what_is_not_known_is_left_out_and_said_and_gives_no_rights(
    world: SmartWorld,
) -> None:
    made = await _registered(
        world, APP, is_preapproved=True, is_ehr=True, status="active", logo_uri="https://g.test/l"
    )
    assert made["ignored_metadata"] == ["is_ehr", "is_preapproved", "logo_uri", "status"]
    assert made["status"] == "pending"
    record = await world.store.record("client", made["client_id"])
    assert record is not None
    assert not any(record.value[name] for name in ("is_preapproved", "is_ehr"))


async def test_too_many_registrations_from_one_address_are_refused_for_a_while(
    world: SmartWorld,
) -> None:
    answers = [await _register(world, APP) for _ in range(MOST_PER_HOUR + 1)]
    assert [answer.status_code for answer in answers] == [201] * MOST_PER_HOUR + [429]
    assert answers[-1].headers["retry-after"] == "3600"
    world.clock.forward(3600)
    assert (await _register(world, APP)).status_code == 201


async def test_a_registration_that_nobody_approves_is_forgotten(world: SmartWorld) -> None:
    made = await _registered(world, APP)
    world.clock.forward(31 * 24 * 3600)
    assert (await _manage(world, made)).status_code == 401


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_a_registration_is_opened_by_its_own_token_alone(
    world: SmartWorld, method: str
) -> None:
    made, other = await _registered(world, APP), await _registered(world, SERVICE)
    url = made["registration_client_uri"]
    tokens = ("", "x", other["registration_access_token"], (await world.tokens())["access_token"])
    for token in tokens:
        headers = {"Authorization": f"Bearer {token}"}
        answer = await world.browser.request(method, url, headers=headers, json=APP)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert (await world.browser.request(method, url)).status_code == 401
    for unknown in ("nobody", "app"):  # `app` was registered by an administrator: it has no token
        headers = {"Authorization": f"Bearer {made['registration_access_token']}"}
        answer = await world.browser.request(
            method, f"/auth/register/{unknown}", headers=headers, json=APP
        )
        assert answer.status_code == 401
    assert (await _manage(world, made)).json()["client_name"] == "Growth charts"


async def test_a_change_has_to_be_approved_again_and_the_same_again_does_not(
    world: SmartWorld,
) -> None:
    made = await _registered(world, APP)
    await _approve(world, made)
    named = {**APP, "client_id": made["client_id"]}
    same = (await _manage(world, made, "PUT", named)).json()
    assert same["status"] == "active"
    wider = {**named, "scope": "openid user/*.cruds"}
    changed = (await _manage(world, made, "PUT", wider)).json()
    assert (changed["status"], changed["scope"]) == ("pending", "openid user/*.cruds")
    await world.sign_in()
    assert (await _use(world, made)).status_code == 400
    await _approve(world, made)
    assert answer_of(await _use(world, made))["error"] == "consent_required"


async def test_a_change_leaves_what_an_administrator_set(world: SmartWorld) -> None:
    made = await _registered(world, APP)
    record = await world.store.record("client", made["client_id"])
    assert record is not None
    known = replace(client_from(record), is_preapproved=True, frame_origins=("https://ehr.test",))
    await world.store.transaction(lambda tx: register_client(tx, known))
    await _manage(world, made, "PUT", {**APP, "client_id": made["client_id"], "contacts": []})
    changed = await world.store.record("client", made["client_id"])
    assert changed is not None
    assert client_from(changed) == replace(known, contacts=())


async def test_a_change_replaces_all_and_names_its_client(world: SmartWorld) -> None:
    made = await _registered(world, APP)
    named = {**APP, "client_id": made["client_id"]}
    less = {name: named[name] for name in named if name != "contacts"}
    assert "contacts" not in (await _manage(world, made, "PUT", less)).json()
    for wrong in (
        APP,
        {**APP, "client_id": "app"},
        {**named, "client_secret": "chosen"},
        {**named, "registration_access_token": "chosen"},
        {**named, "client_id_issued_at": 1},
        {**named, "redirect_uris": ["http://x.test/"]},
    ):
        assert (await _manage(world, made, "PUT", wrong)).status_code == 400


async def test_a_change_to_a_secret_makes_one_and_a_further_change_keeps_it(
    world: SmartWorld,
) -> None:
    made = await _registered(world, APP)
    named = {**APP, "client_id": made["client_id"]}
    with_secret = {**named, "token_endpoint_auth_method": "client_secret_basic"}
    secret = (await _manage(world, made, "PUT", with_secret)).json()["client_secret"]
    kept = {**with_secret, "client_name": "Charts", "client_secret": secret}
    again = await _manage(world, made, "PUT", kept)
    assert (again.status_code, "client_secret" in again.json()) == (200, False)


async def test_a_client_takes_its_registration_back(world: SmartWorld) -> None:
    made = await _registered(world, APP)
    assert (await _manage(world, made, "DELETE")).status_code == 204
    assert (await _manage(world, made)).status_code == 401
    assert (await world.journal("client-registration"))[-2]["detail"] == "removed by itself"


async def test_an_operator_may_close_registration_and_discovery_says_so(tmp_path: Path) -> None:
    async with smart_world(tmp_path, takes_registrations=False) as world:
        assert (await _register(world, APP)).status_code == 403
        for path in (
            "/fhir/.well-known/smart-configuration",
            "/auth/.well-known/openid-configuration",
        ):
            assert "registration_endpoint" not in (await world.browser.get(path)).json()
