"""Every SessionStore of the app behaves alike: in memory, in Redis, and sealed."""

import asyncio
import time

import pytest

from smart_app.sealing import SealedStore
from smart_app.sessions import MemorySessionStore, RedisSessionStore, SessionStore

SECRET = b"0123456789abcdef0123456789abcdef"


@pytest.fixture(params=["memory", "sealed", pytest.param("redis", marks=pytest.mark.redis)])
def store(request: pytest.FixtureRequest) -> SessionStore:
    memory = MemorySessionStore(time.monotonic)
    if request.param == "memory":
        return memory
    if request.param == "sealed":
        return SealedStore(memory, SECRET)
    redis = RedisSessionStore(request.getfixturevalue("redis_client"))
    return SealedStore(redis, SECRET)


async def test_what_was_put_can_be_read_until_it_is_deleted(store: SessionStore) -> None:
    assert await store.get("a") is None
    await store.put("a", b"one", 60)
    await store.put("a", b"two", 60)
    assert await store.get("a") == b"two"
    await store.delete("a")
    assert await store.get("a") is None


async def test_of_many_takers_one_gets_the_value(store: SessionStore) -> None:
    await store.put("a", b"once", 60)
    taken = await asyncio.gather(*(store.take("a") for _ in range(10)))
    assert taken.count(b"once") == 1
    assert taken.count(None) == 9


async def test_of_many_claims_one_holds_until_it_is_given_up(store: SessionStore) -> None:
    claims = await asyncio.gather(*(store.claim("lock", 60) for _ in range(10)))
    assert sum(claims) == 1
    await store.delete("lock")
    assert await store.claim("lock", 60)


async def test_values_end_after_their_time(store: SessionStore) -> None:
    await store.put("a", b"short", 1)
    assert await store.claim("lock", 1)
    await asyncio.sleep(1.2)
    assert await store.get("a") is None
    assert await store.take("a") is None
    assert await store.claim("lock", 60)


async def test_a_sealed_value_is_not_readable_below_and_not_under_another_name() -> None:
    below = MemorySessionStore(time.monotonic)
    sealed = SealedStore(below, SECRET)
    await sealed.put("grant:1", b"access token", 60)
    stored = await below.get("grant:1")
    assert stored is not None
    assert b"access" not in stored
    await below.put("grant:2", stored, 60)
    assert await sealed.get("grant:2") is None
    assert await SealedStore(below, SECRET[::-1]).get("grant:1") is None


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        SealedStore(MemorySessionStore(time.monotonic), b"short")
