"""A client that is not the limit: keep-alive connections on one event loop, one request at a
time on each, parsed in C."""

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import httptools

LONGEST_SECONDS = 900.0

NAME = "asyncio and httptools on uvloop, one process beside the server"


@dataclass
class Load:
    """What was measured: latencies in seconds, answers by status, and the time it took."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)

    def figures(self) -> dict[str, Any]:
        """Requests per second and percentiles in milliseconds."""
        ordered = sorted(self.latencies)
        return {
            "requests": len(ordered),
            "per_second": round(len(ordered) / self.seconds, 1) if self.seconds else 0.0,
            "p50_ms": round(percentile(ordered, 50) * 1000, 2),
            "p99_ms": round(percentile(ordered, 99) * 1000, 2),
            "refused": sum(count for status, count in self.statuses.items() if status >= 400),
        }


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The value that `percent` of the ordered values do not exceed; 0 for no values."""
    if not ordered:
        return 0.0
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def request(
    method: str, path: str, *, body: bytes = b"", token: str | None = None, kind: str = ""
) -> bytes:
    """One HTTP request as bytes; `kind` is the media type of its body."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Accept: application/fhir+json"]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    if body or method in ("POST", "PUT"):
        kind = kind or "application/fhir+json"
        lines += [f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


Answered = Callable[[int, bytes], None]
"""What is done with each answer: its status and body."""


class _Connection(asyncio.Protocol):
    """Sends a request when the one before it is answered, until there are none."""

    def __init__(self, waiting: Iterator[bytes], load: Load, answered: Answered | None) -> None:
        self._waiting = waiting
        self._load = load
        self._answered = answered
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._sent = 0.0
        self._transport: asyncio.Transport | None = None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._next()

    def _next(self) -> None:
        assert self._transport is not None
        following = next(self._waiting, None)
        if following is None:
            self._transport.close()
            return
        self._sent = time.perf_counter()
        self._transport.write(following)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except Exception as failure:
            self.connection_lost(failure)

    def on_body(self, body: bytes) -> None:
        if self._answered is not None:
            self._body.append(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        self._load.latencies.append(time.perf_counter() - self._sent)
        self._load.statuses[status] = self._load.statuses.get(status, 0) + 1
        if self._answered is not None:
            self._answered(status, b"".join(self._body))
            self._body.clear()
        self._parser = httptools.HttpResponseParser(self)
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.done.done():
            return
        if exc is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(exc)


async def drive(
    port: int, requests: Iterable[bytes], clients: int, *, answered: Answered | None = None
) -> Load:
    """Send the requests over `clients` connections, each as soon as the one before is answered."""
    loop = asyncio.get_running_loop()
    waiting, load = iter(requests), Load()
    began = time.perf_counter()
    opened = [
        await loop.create_connection(
            lambda: _Connection(waiting, load, answered), "127.0.0.1", port
        )
        for _ in range(clients)
    ]
    async with asyncio.timeout(LONGEST_SECONDS):
        await asyncio.gather(*(connection.done for _, connection in opened))
    load.seconds = time.perf_counter() - began
    return load


def for_seconds(requests: Sequence[bytes], seconds: float) -> Iterator[bytes]:
    """The requests over and over until the time is up."""
    end = time.perf_counter() + seconds
    while True:
        for each in requests:
            if time.perf_counter() >= end:
                return
            yield each
