"""Users, clients and tokens carry a tenant (ADR 0018)."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from fhir_server.security.authorization.clients import register_client
from fhir_server.security.authorization.users import User, register_user
from tests.smart_world import SmartWorld, _password_hash, clients, smart_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmartWorld]:
    async with smart_world(tmp_path) as opened:
        yield opened


async def move_user(world: SmartWorld, tenant: str) -> None:
    user = User("dr.amina", "Dr Amina", frozenset({"doctor"}), tenant=tenant)
    await world.store.transaction(lambda tx: register_user(tx, user, _password_hash()))


async def move_client(world: SmartWorld, id: str, tenant: str) -> None:
    (client,) = [replace(each, tenant=tenant) for each in clients() if each.id == id]
    await world.store.transaction(lambda tx: register_client(tx, client))


async def test_a_token_is_of_its_users_tenant(world: SmartWorld) -> None:
    tokens = await world.tokens()
    assert (await world.who(tokens["access_token"])).tenant == "default"
    await move_user(world, "north")
    refreshed = (await world.refresh(tokens["refresh_token"])).json()
    assert (await world.who(refreshed["access_token"])).tenant == "north"


async def test_a_services_token_is_of_the_services_tenant(world: SmartWorld) -> None:
    await move_client(world, "service", "north")
    form = {"grant_type": "client_credentials", "scope": "system/Task.rus"}
    token = (await world.token("service", **form)).json()["access_token"]
    assert (await world.who(token)).tenant == "north"


async def test_an_app_of_a_tenant_serves_its_users_alone(world: SmartWorld) -> None:
    await move_client(world, "app", "north")
    refused = await world.redeem(await world.code())
    assert refused.json()["error"] == "invalid_grant"
    assert "another tenant's" in refused.json()["error_description"]
    await move_user(world, "north")
    assert (await world.redeem(await world.code())).status_code == 200


async def test_a_user_who_has_moved_on_leaves_the_app_behind(world: SmartWorld) -> None:
    await move_client(world, "app", "north")
    await move_user(world, "north")
    tokens = await world.tokens()
    await move_user(world, "east")
    refused = await world.refresh(tokens["refresh_token"])
    assert refused.json()["error"] == "invalid_grant"
