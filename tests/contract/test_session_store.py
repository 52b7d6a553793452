"""Every SessionStore of the app behaves alike: in memory, in Redis, and sealed."""

import asyncio
import os
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from smart_app.sealing import SealedStore
from smart_app.sessions import MemorySessionStore, RedisSessionStore, SessionStore

SECRET = b"0123456789abcdef0123456789abcdef"


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A redis-server of our own, in memory only."""
    program = shutil.which("redis-server")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("redis-server is not installed")
        pytest.skip("redis-server is not installed")
    port, folder = _free_port(), tmp_path_factory.mktemp("redis")
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with subprocess.Popen([program, *options], stdout=subprocess.DEVNULL) as server:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port
        server.terminate()


@pytest.fixture(params=["memory", "sealed", pytest.param("redis", marks=pytest.mark.redis)])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[SessionStore]:
    memory = MemorySessionStore(time.monotonic)
    if request.param == "memory":
        yield memory
    elif request.param == "sealed":
        yield SealedStore(memory, SECRET)
    else:
        from redis.asyncio import Redis

        client = Redis(port=request.getfixturevalue("redis_port"))
        await client.flushall()
        yield SealedStore(RedisSessionStore(client), SECRET)
        await client.aclose()


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
