"""MedSAGE as a process of its own, and what the tests ask it without a browser."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from deploy.demo.doctor import doctors_token
from deploy.demo.loading import demo_tokens
from tests.availability import ROOT

Resource = dict[str, Any]
T = TypeVar("T")

START = "from deploy.cli import main; main()"
_START_SECONDS = 120.0
_STOP_SECONDS = 30.0
_PATIENCE_SECONDS = 30.0


@dataclass
class Installation:
    """A running server: `origin` is its base URL, `ehr` the simulated EHR on another site (a
    number is not the same site as a name), `fhir` an HTTP client with a service's token; `folder`
    holds its data."""

    port: int
    folder: Path
    origin: str = field(init=False)
    ehr: str = field(init=False)
    fhir: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.origin = f"http://localhost:{self.port}"
        self.ehr = f"http://127.0.0.1:{self.port}/ehr/"
        self.fhir = self.as_bearer(_aside(self._service_token))

    def as_user(self, user: str) -> httpx.Client:
        """A FHIR client with a token of this user of the demonstration."""

        async def token() -> str:
            async with httpx.AsyncClient(timeout=60) as http:
                return await doctors_token(http, self.origin, user)

        return self.as_bearer(_aside(token))

    def as_bearer(self, token: str) -> httpx.Client:
        """A FHIR client with this token."""
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=f"{self.origin}/fhir/", headers=headers, timeout=60)

    def read(self, reference: str) -> Resource:
        """One resource, as the service sees it."""
        answer = self.fhir.get(reference)
        assert answer.status_code == 200, (reference, answer.text)
        found: Resource = answer.json()
        return found

    def search(self, type_: str, by: httpx.Client | None = None, **query: str) -> list[Resource]:
        """The matches of a search on one page, as the service or `by` sees them."""
        answer = (by or self.fhir).get(type_, params={"_count": "100", **query})
        assert answer.status_code == 200, (type_, query, answer.text)
        return [entry["resource"] for entry in answer.json().get("entry", ())]

    async def _service_token(self) -> str:
        async with httpx.AsyncClient(timeout=60) as http:
            token = await demo_tokens(http, self.origin).token()
        assert token is not None
        return token


def _aside(work: Callable[[], Coroutine[Any, Any, str]]) -> str:
    """Playwright's loop runs in this thread, so others run in one of their own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(work())).result()


def eventually(look: Callable[[], T], is_there: Callable[[T], bool]) -> T:
    """What `look` finds, as soon as it is there; what it found last when time is up."""
    end = time.monotonic() + _PATIENCE_SECONDS
    found = look()
    while not is_there(found) and time.monotonic() < end:
        time.sleep(0.2)
        found = look()
    return found


@contextmanager
def served(folder: Path, **settings: str) -> Iterator[Installation]:
    """`medsage serve` on a free port with its data in `folder`; stopped at the end. `settings`
    are MEDSAGE variables in lower case without the prefix."""
    port = _free_port()
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MEDSAGE_")}
    given = {f"MEDSAGE_{name.upper()}": value for name, value in settings.items()}
    command = [sys.executable, "-c", START, "serve", "--port", str(port), "--data", str(folder)]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,  # a developer's own .env must not be read
            env={**kept, **given, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
            stdout=log,
            stderr=log,
        )
    try:
        _wait(process, port, folder / "log")
        yield Installation(port, folder)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health/ready", timeout=30).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"the server did not start:\n{log.read_text()[-3000:]}")
