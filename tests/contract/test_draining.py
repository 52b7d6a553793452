"""The orderly end of a process: what it says, what it still answers, whom it sends elsewhere."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.types import Receive, Scope, Send

from deploy.background import Background, Work
from deploy.draining import Draining
from deploy.health import Readiness, health_router
from deploy.serving import bound, serve
from tests.availability import ROOT, nginx
from tests.nginx_door import free_port, wait_for

DRAIN_SECONDS = 0.3


def started(port: int, drain_seconds: float = DRAIN_SECONDS) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.draining_server", str(port), str(drain_seconds)]
    process = subprocess.Popen(command, cwd=ROOT)
    wait_for(port, 60)
    return process


@contextmanager
def balanced(folder: Path, ports: Sequence[int]) -> Iterator[str]:
    """nginx before these ports: it sends again only what nobody can have taken."""
    own, servers = free_port(), " ".join(f"server 127.0.0.1:{port} max_fails=0;" for port in ports)
    rooms = " ".join(
        f"{name}_temp_path {folder}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"pid {folder}/pid; daemon off; worker_processes 1; events {{}}\n"
        f"http {{ access_log off; {rooms} upstream server {{ zone s 64k; {servers} keepalive 16; }}"
        f" server {{ listen 127.0.0.1:{own}; location / {{ proxy_pass http://server;"
        ' proxy_http_version 1.1; proxy_set_header Connection ""; } } }'
    )
    program = nginx()
    assert program is not None
    command = [program, "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    # Started by root, nginx would give its workers another user, who can't write to our folder.
    command += ["-g", "user root;"] if os.geteuid() == 0 else []
    running = subprocess.Popen(command)
    try:
        wait_for(own)
        yield f"http://127.0.0.1:{own}/"
    finally:
        running.terminate()
        running.wait(10)


@pytest.mark.nginx
async def test_no_request_is_refused_while_each_of_two_is_started_anew(tmp_path: Path) -> None:
    ports = [free_port(), free_port()]
    processes = [started(port) for port in ports]
    seen: Counter[tuple[str, int]] = Counter()
    is_over = False

    async def ask(http: httpx.AsyncClient, url: str, method: str) -> None:
        while not is_over:
            seen[method, (await http.request(method, url, content=b"x")).status_code] += 1

    with balanced(tmp_path, ports) as url:
        async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
            asking = [asyncio.create_task(ask(http, url, m)) for m in ("GET", "POST") * 4]
            for number, port in enumerate(ports):
                await asyncio.sleep(0.2)
                processes[number].send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(processes[number].wait, 30) == 0
                processes[number] = await asyncio.to_thread(started, port)
            await asyncio.sleep(0.2)
            is_over = True
            await asyncio.gather(*asking)
    for process in processes:
        process.kill()
        process.wait()
    assert {status for _, status in seen} == {200}, seen
    assert min(seen.values()) > 20


async def test_an_end_waits_for_what_is_under_way_and_hurries_when_asked_twice() -> None:
    port = free_port()
    process = await asyncio.to_thread(started, port, 20.0)
    url = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
        assert "connection" not in (await http.get(f"{url}/x")).headers
        long = asyncio.create_task(http.get(f"{url}/long"))
        await asyncio.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        answer = await long
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert (await http.get(f"{url}/x")).headers["connection"] == "close", "still taken"
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.wait, 15) == 0
    assert time.monotonic() - began < 15
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


class Entrance(socket.socket):
    """A listening socket at which somebody calls in the moment when its queue was found empty for
    the last time."""

    caller: socket.socket | None = None

    def dup(self) -> "Entrance":
        copy = Entrance(self.family, self.type, self.proto, fileno=os.dup(self.fileno()))
        copy.caller = self.caller
        return copy

    def accept(self) -> tuple[socket.socket, object]:
        try:
            return super().accept()
        except BlockingIOError:
            if self.caller is not None:
                self.caller.connect_ex(self.getsockname())
            raise


async def test_who_calls_between_the_last_look_and_the_close_is_refused_and_not_reset() -> None:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("nobody is let in")

    loop, draining = asyncio.get_running_loop(), Draining()
    with bound("127.0.0.1", 0) as taken, socket.socket() as caller:
        entrance = Entrance(taken.family, taken.type, taken.proto, fileno=taken.detach())
        caller.setblocking(False)
        config = uvicorn.Config(answer, lifespan="off", log_config=None)
        serving = asyncio.create_task(serve(config, entrance, draining, 0.0))
        await asyncio.sleep(0.1)
        entrance.caller = caller
        draining.begin()
        await serving
        # A connection that was made, and reset with the request on its way, might have been heard.
        with pytest.raises(ConnectionRefusedError):
            await asyncio.wait_for(loop.sock_recv(caller, 1), 10)


async def test_readiness_says_at_once_that_a_process_leaves() -> None:
    async def works() -> None:
        return

    draining = Draining()
    readiness = Readiness({"store": works}, 60.0, draining.check)
    app = FastAPI()
    app.include_router(health_router(readiness, CollectorRegistry(), "1"))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://medsage"
    ) as http:
        assert (await http.get("/health/ready")).status_code == 200
        draining.begin()
        leaving = await http.get("/health/ready")
        assert (leaving.status_code, leaving.headers["retry-after"]) == (503, "5")
        assert leaving.json()["checks"] == {"store": "ok", "process": "IsDraining"}
        assert (await http.get("/health")).status_code == 200, "it lives"


async def test_a_part_that_fails_is_looked_at_once_for_all_who_ask_meanwhile() -> None:
    looks = 0

    async def hangs() -> None:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0.05)
        raise OSError

    readiness = Readiness({"store": hangs}, 60.0)
    assert await readiness.problems() == {"store": "OSError"}
    found = await asyncio.gather(*(readiness.problems() for _ in range(20)))
    assert (looks, found) == (2, [{"store": "OSError"}] * 20)


async def test_work_begins_nothing_new_from_the_moment_the_end_is_asked_for() -> None:
    is_told, draining = asyncio.Event(), Draining()
    work = Background([Work(is_told.wait, is_told.set)])  # type: ignore[arg-type]
    async with work.running():
        draining.tell(work.stop)
        await work.check()
        draining.begin()
        assert is_told.is_set()
