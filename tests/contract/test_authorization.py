"""What is spent once is spent once, and what ends together ends together, on both stores: codes,
refresh tokens, assertions, registrations, keys."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from fhir_server.fhir.outcome import FhirError
from fhir_server.security.authorization.approval import (
    NotDecidable,
    approve_client,
    end_grants,
    pending_clients,
    reject_client,
)
from fhir_server.security.authorization.clients import record_of
from fhir_server.security.keys import generate_keys, read_keys, rotate_keys
from fhir_server.security.signing_keys import NotRotatable
from tests.smart_world import Clock, SmartWorld, clients, smart_world_over
from tests.stores import Place


@pytest.fixture
async def world(place: Place) -> AsyncIterator[SmartWorld]:
    clock = Clock(datetime.now(UTC).replace(microsecond=0))
    place.clock.now = clock.now
    async with smart_world_over(await place.store(), clock) as opened:
        yield opened


async def _is_ended(world: SmartWorld, token: str) -> bool:
    try:
        await world.who(token)
    except FhirError as refusal:
        return refusal.status == 401
    return False


async def test_of_many_at_once_one_redeems_a_code_and_the_others_end_what_it_got(
    world: SmartWorld,
) -> None:
    code = await world.code()
    answers = await asyncio.gather(*(world.redeem(code) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400]
    won = next(answer.json() for answer in answers if answer.status_code == 200)
    assert await _is_ended(world, won["access_token"])


async def test_of_many_at_once_one_refreshes_and_the_family_ends(world: SmartWorld) -> None:
    for scope in ("openid online_access", "openid offline_access"):
        first = await world.tokens(scope=scope)
        other = await world.tokens(scope=scope)
        answers = await asyncio.gather(*(world.refresh(first["refresh_token"]) for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400]
        won = next(answer.json() for answer in answers if answer.status_code == 200)
        again = await world.refresh(won["refresh_token"])
        assert again.json()["error"] == "invalid_grant"
        for token in (first["access_token"], won["access_token"]):
            assert await _is_ended(world, token)
        assert not await _is_ended(world, other["access_token"])


async def test_of_many_at_once_one_uses_an_assertion(world: SmartWorld) -> None:
    form = {"grant_type": "client_credentials", "scope": "system/Task.r", **world.proof("service")}
    answers = await asyncio.gather(
        *(world.browser.post("/auth/token", data=form) for _ in range(4))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401]


async def test_a_used_refresh_token_is_recognised_as_long_as_its_family_lives(
    world: SmartWorld, place: Place
) -> None:
    first = await world.tokens(scope="openid offline_access")
    second = (await world.refresh(first["refresh_token"])).json()
    world.clock.forward(20 * 24 * 3600)
    place.clock.now = world.clock.now
    assert (await world.refresh(first["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await world.refresh(second["refresh_token"])).json()["error"] == "invalid_grant"


async def test_a_backend_token_that_was_given_back_stays_so(world: SmartWorld) -> None:
    form = {"grant_type": "client_credentials", "scope": "system/Task.r"}
    token = (await world.token("service", **form)).json()["access_token"]
    await world.browser.post("/auth/revoke", data={**world.proof("service"), "token": token})
    assert await _is_ended(world, token)


async def test_of_two_administrators_at_once_one_decides(world: SmartWorld) -> None:
    service = next(client for client in clients() if client.id == "service")
    waiting = record_of(replace(service, status="pending"))
    await world.store.transaction(lambda tx: tx.put_record(waiting))
    seen = (await pending_clients(world.store))[0].revision
    decisions: list[Any] = [approve_client, reject_client, approve_client]

    async def decide(decision: Any) -> None:
        await world.store.transaction(lambda tx: decision(tx, "service", revision=seen))

    outcomes = await asyncio.gather(
        *(decide(decision) for decision in decisions), return_exceptions=True
    )
    assert sum(outcome is None for outcome in outcomes) == 1
    assert all(isinstance(one, NotDecidable) for one in outcomes if one is not None)


async def test_all_grants_of_a_client_end_whatever_their_number(world: SmartWorld) -> None:
    tokens = [await world.tokens(scope="openid offline_access") for _ in range(3)]
    other = await world.tokens("public-app", scope="openid offline_access")
    assert await end_grants(world.store, "app") == 3
    assert all([await _is_ended(world, one["access_token"]) for one in tokens])
    assert not await _is_ended(world, other["access_token"])


async def test_of_two_rotations_at_once_one_takes_place(world: SmartWorld) -> None:
    made, now = await generate_keys(), world.clock().timestamp()

    async def rotate() -> None:
        await world.store.transaction(lambda tx: rotate_keys(tx, made, now=now, longest_token=3600))

    outcomes = await asyncio.gather(rotate(), rotate(), return_exceptions=True)
    assert [type(one) for one in outcomes if one is not None] == [NotRotatable]
    assert len(await read_keys(world.store)) == 4
