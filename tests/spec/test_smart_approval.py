"""Clients that registered themselves: nothing works before an administrator approves it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from fhir_server.security.authorization.approval import (
    NotDecidable,
    approve_client,
    approved,
    end_grants,
    pending_clients,
    reject_client,
    rejected,
    remove_client,
)
from fhir_server.security.authorization.clients import Client, record_of
from fhir_server.security.authorization.consents import Consent, consent_to, remember
from fhir_server.security.authorization.records import apply
from fhir_server.storage.port import Record
from tests.smart_world import SmartWorld, clients, smart_world

SERVICE = next(client for client in clients() if client.id == "service")
PENDING = replace(SERVICE, status="pending", registered=1.0)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmartWorld]:
    async with smart_world(tmp_path) as opened:
        yield opened


async def _keep(world: SmartWorld, client: Client, days: int | None = None) -> None:
    expires = None if days is None else world.clock() + timedelta(days=days)
    made = record_of(client)
    record = Record(made.kind, made.id, made.value, expires=expires)
    await world.store.transaction(lambda tx: tx.put_record(record))


async def _ask(world: SmartWorld) -> tuple[int, str]:
    answer = await world.token("service", grant_type="client_credentials", scope="system/Task.r")
    return answer.status_code, answer.json().get("error_description", "")


def test_a_decision_is_made_once_and_never_on_what_works() -> None:
    assert approved(PENDING).status == "active"
    assert approved(rejected(PENDING)).status == "active"  # an administrator may think again
    for decide in (approved, rejected):
        with pytest.raises(NotDecidable):
            decide(SERVICE)
    with pytest.raises(NotDecidable):
        rejected(rejected(PENDING))


def test_an_administrator_may_grant_less_than_was_asked_for_and_never_more() -> None:
    assert approved(PENDING, "system/Task.r").scopes == "system/Task.r"
    for beyond in ("system/Task.rud", "system/Patient.r", "openid", "system/Task.x"):
        with pytest.raises(NotDecidable, match="scopes"):
            approved(PENDING, beyond)


async def test_a_pending_client_gets_no_token_and_is_told_why(world: SmartWorld) -> None:
    assert (await _ask(world))[0] == 200
    await _keep(world, PENDING)
    status, text = await _ask(world)
    assert (status, "approval" in text) == (401, True)
    await world.store.transaction(lambda tx: approve_client(tx, "service"))
    assert (await _ask(world))[0] == 200


async def test_a_rejected_client_gets_no_token_and_is_told_so(world: SmartWorld) -> None:
    await _keep(world, PENDING)
    await world.store.transaction(lambda tx: reject_client(tx, "service"))
    status, text = await _ask(world)
    assert (status, "refused" in text) == (401, True)
    assert await pending_clients(world.store) == []


async def test_a_pending_app_gets_no_code_nor_cors(world: SmartWorld) -> None:
    await world.sign_in()
    app = next(client for client in clients() if client.id == "app")
    await _keep(world, replace(app, status="pending"))
    answer = await world.authorize()
    assert answer.status_code == 400
    assert "location" not in answer.headers
    headers = {"Origin": "https://app.test", "Access-Control-Request-Method": "POST"}
    assert (await world.browser.options("/auth/token", headers=headers)).status_code == 403


async def test_those_that_wait_are_listed_oldest_first_with_their_revision(
    world: SmartWorld,
) -> None:
    await _keep(world, replace(PENDING, id="late", registered=9.0))
    await _keep(world, replace(PENDING, id="soon", registered=2.0))
    waiting = await pending_clients(world.store)
    assert [(one.client.id, one.revision) for one in waiting] == [("soon", 1), ("late", 1)]


async def test_what_was_changed_since_it_was_looked_at_is_not_approved(world: SmartWorld) -> None:
    await _keep(world, PENDING)
    seen = next(one for one in await pending_clients(world.store) if one.client.id == "service")
    await _keep(world, replace(PENDING, scopes="system/*.cruds"))
    for decide in (approve_client, reject_client):
        with pytest.raises(NotDecidable, match="changed"):
            await world.store.transaction(
                lambda tx, decide=decide: decide(tx, "service", revision=seen.revision)
            )
    with pytest.raises(NotDecidable, match="no client"):
        await world.store.transaction(lambda tx: approve_client(tx, "nobody"))


async def test_a_request_that_nobody_decides_ends_and_an_approved_client_does_not(
    world: SmartWorld,
) -> None:
    await _keep(world, PENDING, days=30)
    await _keep(world, replace(PENDING, id="other"), days=30)
    await world.store.transaction(lambda tx: approve_client(tx, "service"))
    world.clock.forward(31 * 24 * 3600)
    assert (await _ask(world))[0] == 200
    assert await world.store.record("client", "other") is None


async def test_a_consent_is_not_remembered_for_another_client_of_the_same_id(
    world: SmartWorld,
) -> None:
    consent = Consent("app", "dr.amina", "openid", "openid", 1.0)
    await world.store.transaction(lambda tx: apply(tx, remember(consent)))
    await end_grants(world.store, "app")
    assert await consent_to(world.store, "dr.amina", "app") is None


async def test_removing_a_client_ends_what_was_granted_to_it_and_nothing_else(
    world: SmartWorld,
) -> None:
    tokens = await world.tokens(scope="openid offline_access")
    other = await world.tokens("public-app", scope="openid offline_access")
    removed = await world.store.transaction(lambda tx: remove_client(tx, "app"))
    assert removed.name == "MedSAGE app"
    assert await end_grants(world.store, "app") == 1
    with pytest.raises(Exception, match="revoked"):
        await world.who(tokens["access_token"])
    assert (await world.refresh(tokens["refresh_token"])).json()["error"] == "invalid_client"
    assert (await world.who(other["access_token"])).subject == "dr.amina"
    with pytest.raises(NotDecidable):
        await world.store.transaction(lambda tx: remove_client(tx, "app"))
