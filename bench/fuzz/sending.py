"""Sends requests as they are and says what came back, or that nothing did."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass

ANSWER_SECONDS = 60.0
_NO_BODY = frozenset({204, 304})


@dataclass(frozen=True)
class Answer:
    """`status` is 0 where no whole answer came."""

    status: int
    body: bytes = b""


NONE = Answer(0)


class Sender:
    """One connection, opened again when the server has closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def answer(self, request: bytes) -> Answer:
        """The server's answer to the request."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._exchange(request)
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            self.close()
            return NONE

    def close(self) -> None:
        """Let go of the connection."""
        if self._streams is not None:
            with suppress(OSError):
                self._streams[1].close()
        self._streams = None

    async def _exchange(self, request: bytes) -> Answer:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=2**20)
        reader, writer = self._streams
        writer.write(request)
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        headers = _headers(head)
        is_bare = status in _NO_BODY or request.startswith(b"HEAD ")
        body = b"" if is_bare else await _body(reader, headers)
        if headers.get(b"connection") == b"close":
            self.close()
        return Answer(status, body)


def _headers(head: bytes) -> dict[bytes, bytes]:
    lines = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    return {name.lower(): value.strip() for name, _, value in lines}


async def _body(reader: asyncio.StreamReader, headers: dict[bytes, bytes]) -> bytes:
    if headers.get(b"transfer-encoding") != b"chunked":
        return await reader.readexactly(int(headers.get(b"content-length", b"0")))
    parts: list[bytes] = []
    while (size := int(await reader.readuntil(b"\r\n"), 16)) > 0:
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return b"".join(parts)
