"""Redis goes, hangs and comes back: hits are counted all the same and nobody is locked out; pages
of the app are refused meanwhile, in words, and sessions go on afterwards."""

import asyncio
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from deploy.health import Readiness
from fhir_server.security.rate_limit import MemoryCounters
from fhir_server.storage.redis.connect import connect
from fhir_server.storage.redis.counters import RedisCounters
from fhir_server.storage.redis.steady import RETRY_SECONDS, SteadyCounters
from smart_app.app import create_app
from smart_app.issuers import AppConfig, Issuer
from smart_app.problems import Problem
from smart_app.sessions import RedisSessionStore
from smart_app.steady_sessions import RETRY_SECONDS as SESSION_SECONDS
from smart_app.steady_sessions import SteadySessions
from tests.availability import program

pytestmark = pytest.mark.redis


class Server:
    """A redis-server that a test may stop."""

    def __init__(self, folder: Path, *, keeps: bool = False) -> None:
        self.keeps = keeps
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = int(found.getsockname()[1])
        self._folder = folder
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        server = program("redis-server")
        assert server is not None
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        options += ["--appendonly", "yes", "--appendfsync", "always"] if self.keeps else []
        self.process = subprocess.Popen(
            [server, *options, "--dir", str(self._folder)], stdout=subprocess.DEVNULL
        )
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self.process
            time.sleep(0.02)
        raise RuntimeError("redis-server does not answer")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path)
    yield running
    running.stop()


class Ticks:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def counters(server: Server, clock: Ticks) -> SteadyCounters:
    redis = connect(f"redis://127.0.0.1:{server.port}/0", 0.3)
    own = MemoryCounters(lambda: datetime.now(UTC))
    return SteadyCounters(RedisCounters(redis), own, clock)


async def test_without_redis_a_process_counts_for_itself_until_it_is_back(server: Server) -> None:
    clock = Ticks()
    steady = counters(server, clock)
    assert [(await steady.hit("a", 60)).hits for _ in range(3)] == [1, 2, 3]
    server.stop()
    assert [(await steady.hit("a", 60)).hits for _ in range(3)] == [1, 2, 3]
    server.start()
    assert (await steady.hit("a", 60)).hits == 4, "not asked again at once"
    clock.now += RETRY_SECONDS
    assert (await steady.hit("a", 60)).hits == 1, "Redis has forgotten, and counts again"


async def test_a_redis_that_hangs_holds_up_one_request_and_not_each(server: Server) -> None:
    steady = counters(server, Ticks())
    await steady.hit("a", 60)
    server.process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    hits = [(await steady.hit("a", 60)).hits for _ in range(20)]
    assert hits == list(range(1, 21))
    assert time.monotonic() - began < 2


async def test_a_limit_still_holds_without_redis(server: Server) -> None:
    steady = counters(server, Ticks())
    server.stop()
    found = await asyncio.gather(*(steady.hit("a", 60) for _ in range(9)))
    assert sorted(each.hits for each in found) == list(range(1, 10))


async def test_what_is_cleared_is_forgotten_on_both_sides(server: Server) -> None:
    clock = Ticks()
    steady = counters(server, clock)
    await steady.hit("a", 60)
    server.stop()
    await steady.hit("a", 60)
    await steady.clear("a")
    assert (await steady.hit("a", 60)).hits == 1


async def pages(store: SteadySessions, path: str) -> httpx.Response:
    """What a browser of nobody gets from the app whose sessions lie in this store."""
    issuer = Issuer("MedSAGE", "https://medsage.example/fhir", "app", {})
    config = AppConfig("https://medsage.example", (issuer,), secret=b"s" * 32)
    async with httpx.AsyncClient() as outside:
        app = create_app(config, outside, store=store)
        transport = httpx.ASGITransport(app=app, root_path="/app")
        async with httpx.AsyncClient(
            transport=transport, base_url="https://medsage.example"
        ) as http:
            return await http.get(path)


async def test_without_redis_pages_are_refused_in_words_and_sessions_go_on_after_it(
    tmp_path: Path,
) -> None:
    server, clock = Server(tmp_path, keeps=True), Ticks()
    redis = connect(f"redis://127.0.0.1:{server.port}/0", 0.3)
    sessions = SteadySessions(RedisSessionStore(redis), clock)
    await sessions.put("a", b"kept", 600)
    assert (await pages(sessions, "/s/abc/")).status_code == 401
    server.stop()
    refused = await pages(sessions, "/s/abc/")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert "Sign-ins can&#39;t be looked up now" in refused.text
    server.start()
    clock.now += SESSION_SECONDS
    assert await sessions.get("a") == b"kept"
    assert (await pages(sessions, "/s/abc/")).status_code == 401
    server.stop()


async def test_connections_from_before_fail_nothing_when_redis_is_back(tmp_path: Path) -> None:
    server = Server(tmp_path, keeps=True)
    redis = connect(f"redis://127.0.0.1:{server.port}/0", 2.0)
    store = RedisSessionStore(redis)
    names = [str(number) for number in range(10)]
    await asyncio.gather(*(store.put(name, b"kept", 600) for name in names))
    server.stop()
    server.start()
    await asyncio.sleep(0.1)  # this process hears that the connections have ended
    assert await asyncio.gather(*map(store.get, names)) == [b"kept"] * 10
    server.stop()


async def test_a_late_answer_refuses_its_own_page_alone(server: Server) -> None:
    redis = connect(f"redis://127.0.0.1:{server.port}/0", 0.3)
    sessions = SteadySessions(RedisSessionStore(redis), Ticks())
    await sessions.put("a", b"kept", 600)
    server.process.send_signal(signal.SIGSTOP)
    with pytest.raises(Problem):
        await sessions.get("a")
    server.process.send_signal(signal.SIGCONT)
    assert await sessions.get("a") == b"kept"


async def test_readiness_bears_the_loss_of_redis_but_not_its_absence_at_the_start(
    server: Server,
) -> None:
    redis = connect(f"redis://127.0.0.1:{server.port}/0", 0.3)
    ready = Readiness({"redis": redis.ping}, 0.0, borne={"redis"})
    server.stop()
    absent = await ready.problems()
    assert (list(absent), ready.is_kept_by(absent)) == (["redis"], True)
    server.start()
    assert not await ready.problems()
    server.stop()
    lost = await ready.problems()
    assert (list(lost), ready.is_kept_by(lost)) == (["redis"], False)
    server.start()
