"""HTTP/1.1, over TLS or not, in as few steps as can be: what the load is sent with.

Each caller has an address of its own on the loopback network, as each has on the internet: the
front counts requests and connections by address, and one address for all would be refused.
"""

import asyncio
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import httptools

_IDLE_SECONDS = 50.0
"""Shorter than the front keeps a connection, so that none is used as it is closed."""
_FIRST = int(IPv4Address("127.1.0.1"))


class NoAnswer(Exception):
    """The connection was refused or cut, or nothing came in time."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; names of headers in lower case, each with all its values."""

    status: int
    headers: Mapping[str, Sequence[str]]
    body: bytes

    def header(self, name: str) -> str:
        """The first value; empty when there is none."""
        return next(iter(self.headers.get(name, ())), "")


@dataclass(frozen=True)
class Door:
    """Where the service is reached: its public origin, and how its certificate is judged."""

    origin: str
    ca_file: Path | None = None
    tls: ssl.SSLContext | None = field(init=False)

    def __post_init__(self) -> None:
        is_safe = self.origin.startswith("https:")
        trust = ssl.create_default_context(cafile=str(self.ca_file)) if is_safe else None
        object.__setattr__(self, "tls", trust)

    @property
    def name(self) -> str:
        """Host and port, as the header Host has them."""
        return urlsplit(self.origin).netloc

    @property
    def port(self) -> int:
        """The port that is connected to, on this machine's loopback."""
        found = urlsplit(self.origin)
        return found.port or (443 if found.scheme == "https" else 80)


class _Line(asyncio.Protocol):
    """One connection, with one request under way at most."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiting: asyncio.Future[Answer] | None = None
        self._headers: dict[str, list[str]] = {}
        self._body: list[bytes] = []
        self._is_kept = False
        self.used = time.monotonic()

    @property
    def is_open(self) -> bool:
        """Whether another request may be sent; a connection that the other side has ended is
        closing before it tells so."""
        is_closing = self._transport is None or self._transport.is_closing()
        return self._is_kept and not is_closing

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._is_kept = True

    async def ask(self, request: bytes) -> Answer:
        """Send it; NoAnswer when the connection ends first."""
        if self._transport is None or not self.is_open:
            raise NoAnswer("cut")
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await self._waiting
        finally:
            self._waiting = None
            self.used = time.monotonic()

    def close(self) -> None:
        """Hang up."""
        self._is_kept = False
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        answer = Answer(self._parser.get_status_code(), self._headers, b"".join(self._body))
        if not self._parser.should_keep_alive():
            self._is_kept = False
        self._parser, self._headers, self._body = httptools.HttpResponseParser(self), {}, []
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_kept = False
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(NoAnswer("cut"))


@dataclass
class Caller:
    """Somebody at an address of this machine's loopback network, with a few connections that are
    kept open; who asks when all are taken waits for one."""

    door: Door
    number: int
    lines: int = 6
    _idle: list[_Line] = field(default_factory=list, init=False)
    _free: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._free = asyncio.Semaphore(self.lines)

    @property
    def address(self) -> str:
        """Its own address: number 0 has 127.1.0.1."""
        return str(IPv4Address(_FIRST + self.number))

    async def ask(self, request: bytes, seconds: float) -> Answer:
        """The answer to a request as it goes over the wire; NoAnswer when there is none within
        so many seconds."""
        try:
            async with asyncio.timeout(seconds), self._free:
                return await self._asked(request)
        except TimeoutError as late:
            raise NoAnswer("late") from late
        except OSError as refused:
            raise NoAnswer("refused") from refused

    async def _asked(self, request: bytes) -> Answer:
        line = self._taken() or await self._opened()
        try:
            answer = await line.ask(request)
        except BaseException:  # a late or cut answer must never be taken for the next one's
            line.close()
            raise
        if line.is_open:
            self._idle.append(line)
        else:
            line.close()
        return answer

    def _taken(self) -> _Line | None:
        while self._idle:
            line = self._idle.pop()
            if line.is_open and time.monotonic() - line.used < _IDLE_SECONDS:
                return line
            line.close()
        return None

    async def _opened(self) -> _Line:
        tls = self.door.tls
        _, line = await asyncio.get_running_loop().create_connection(
            _Line,
            "127.0.0.1",
            self.door.port,
            ssl=tls,
            server_hostname=urlsplit(self.door.origin).hostname if tls else None,
            local_addr=(self.address, 0),
        )
        return line

    def close(self) -> None:
        """Hang up all connections."""
        for line in self._idle:
            line.close()
        self._idle.clear()


def request(
    door: Door, method: str, path: str, headers: Mapping[str, str], body: bytes = b""
) -> bytes:
    """A request as it goes over the wire."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {door.name}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body or method in ("POST", "PUT"):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
