"""Every Counters behaves alike: in one process and in Redis."""

import asyncio
from datetime import UTC, datetime

import pytest

from fhir_server.security.rate_limit import Counters, MemoryCounters
from fhir_server.storage.redis.counters import RedisCounters


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
def counters(request: pytest.FixtureRequest) -> Counters:
    if request.param == "memory":
        return MemoryCounters(lambda: datetime.now(UTC))
    return RedisCounters(request.getfixturevalue("redis_client"))


async def test_hits_of_a_key_are_counted_from_one(counters: Counters) -> None:
    hits = [(await counters.hit("login:amina", 60)).hits for _ in range(3)]
    assert hits == [1, 2, 3]


async def test_keys_are_counted_apart(counters: Counters) -> None:
    await counters.hit("login:amina", 60)
    assert (await counters.hit("login:kofi", 60)).hits == 1


async def test_a_window_ends_when_it_was_said_to_and_a_later_hit_does_not_move_it(
    counters: Counters,
) -> None:
    await counters.hit("login:amina", 2)
    await asyncio.sleep(1.2)
    late = await counters.hit("login:amina", 2)
    assert late.hits == 2
    assert late.resets_in_seconds == 1
    await asyncio.sleep(1)
    assert (await counters.hit("login:amina", 2)).hits == 1


async def test_the_answer_says_how_long_to_wait(counters: Counters) -> None:
    assert (await counters.hit("login:amina", 900)).resets_in_seconds == 900


async def test_a_cleared_key_begins_anew(counters: Counters) -> None:
    await counters.hit("login:amina", 60)
    await counters.clear("login:amina")
    await counters.clear("never hit")
    assert (await counters.hit("login:amina", 60)).hits == 1


async def test_of_many_hits_at_once_each_is_counted(counters: Counters) -> None:
    counts = await asyncio.gather(*(counters.hit("login:amina", 60) for _ in range(50)))
    assert sorted(count.hits for count in counts) == list(range(1, 51))
