"""A redis-server of the tests' own; tests that use it carry the marker `redis`."""

import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from tests.availability import program


@pytest.fixture(scope="session")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Where the server listens; it keeps everything in memory."""
    server = program("redis-server")
    assert server is not None
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = int(found.getsockname()[1])
    folder = str(tmp_path_factory.mktemp("redis"))
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
    with subprocess.Popen([server, *options], stdout=subprocess.DEVNULL) as running:
        for _ in range(200):
            if _answers(port):
                break
            time.sleep(0.05)
        yield port
        running.terminate()


@pytest.fixture
async def redis_client(redis_port: int) -> AsyncIterator[Redis]:
    """A client of the emptied server; it answers bytes."""
    client = Redis(port=redis_port)
    await client.flushall()
    yield client
    await client.aclose()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
