"""Users, clients and tokens carry a tenant (ADR 0018)."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from fhir_server.security.authorization.charts import view_of
from fhir_server.security.authorization.clients import register_client
from fhir_server.security.authorization.server import user_principal
from fhir_server.security.authorization.users import User, register_user
from fhir_server.security.rule_state import change
from tests.consent_world import consent
from tests.guard_world import fill
from tests.smart_world import FHIR, SmartWorld, clients, password_hash, smart_world

AMINA = User("dr.amina", "Dr Amina", frozenset({"doctor"}))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmartWorld]:
    async with smart_world(tmp_path) as opened:
        yield opened


async def move_user(world: SmartWorld, tenant: str) -> None:
    await put_user(world, replace(AMINA, tenant=tenant))


async def put_user(world: SmartWorld, user: User) -> None:
    await world.store.transaction(lambda tx: register_user(tx, user, password_hash()))


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


async def test_users_and_clients_are_kept_by_admins_of_the_default_tenant(
    world: SmartWorld,
) -> None:
    for tenant, status in (("north", 403), ("default", 200)):
        boss = User("boss", "Boss", frozenset({"admin"}), tenant=tenant)
        await world.store.transaction(
            lambda tx, boss=boss: register_user(tx, boss, password_hash())
        )
        async with world.new_browser() as browser:
            await world.sign_in("boss", browser)
            page = await browser.get("/auth/admin/users", follow_redirects=True)
            assert page.status_code == status


async def test_a_chart_that_is_kept_from_the_user_is_not_there_to_choose(
    world: SmartWorld,
) -> None:
    async def offered() -> set[str]:
        charts, who = world.server.charts, user_principal(AMINA, "app", session=None)
        view = await view_of(world.store, charts, who, now=world.clock(), base_url=FHIR)
        return {each["id"] for each in (await view.find("Patient", [])).resources}

    assert {"p1", "p2"} <= await offered()
    await fill(world.store, [consent("p1", base="OPTOUT") | {"id": "c"}])
    await world.store.transaction(lambda tx: change(tx, consents=["c"]))
    left = await offered()
    assert "p1" not in left
    assert "p2" in left
