"""A proxy between the MongoDB driver and its server that does to commands what a table says."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from bench.faults.table import FAULTS, Document
from bench.faults.wire import Message, received, reply

Choose = Callable[[Document], str | None]
"""The name of the fault that a command meets, if any."""


@dataclass
class Proxy:
    """`uri` is where the driver connects; `choose` may be replaced at any time; `met` counts the
    faults by name."""

    uri: str
    choose: Choose
    met: Counter[str] = field(default_factory=Counter)


class _Link:
    """One connection of the driver and its own to the server."""

    def __init__(self, proxy: Proxy, streams: "tuple[_Stream, _Stream]") -> None:
        self._proxy = proxy
        (self._asking, self._answering), (self._replying, self._sending) = streams
        self._waiting: dict[int, tuple[str, Document]] = {}

    async def run(self) -> None:
        """Until one side hangs up or a fault cuts."""
        ways = {asyncio.create_task(way) for way in (self._forth(), self._back())}
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for writer in (self._answering, self._sending):
                writer.close()

    async def _forth(self) -> None:
        while (message := await received(self._asking)) is not None:
            command = message.document()
            name = self._proxy.choose(command) if command else None
            if name is not None and FAULTS[name].fits(command):
                self._proxy.met[name] += 1
                if not await self._meets(name, message, command):
                    return
                continue
            await _sent(self._sending, message.content)

    async def _meets(self, name: str, message: Message, command: Document) -> bool:
        """Do what the fault says; False when the connection is cut at once."""
        fault = FAULTS[name]
        await asyncio.sleep(fault.seconds)
        if fault.reaches:
            self._waiting[message.number] = (name, command)
            await _sent(self._sending, message.content)
            return True
        if fault.cuts or fault.answer is None:
            return False
        await _sent(self._answering, reply(message.number, fault.answer(command, {})))
        return True

    async def _back(self) -> None:
        while (message := await received(self._replying)) is not None:
            name, command = self._waiting.pop(message.answers, ("", {}))
            content = message.content
            if name:
                fault = FAULTS[name]
                if fault.cuts:
                    return
                if fault.answer is not None:
                    content = reply(message.answers, fault.answer(command, message.document()))
            await _sent(self._answering, content)


_Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _sent(writer: asyncio.StreamWriter, content: bytes) -> None:
    writer.write(content)
    await writer.drain()


@asynccontextmanager
async def proxy(uri: str, choose: Choose) -> AsyncIterator[Proxy]:
    """A proxy before the server of `uri`, as long as the context is open."""
    parts = urlsplit(uri)
    made = Proxy("", choose)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A connection that is still open when the loop ends is cancelled.
        with suppress(ConnectionError, asyncio.CancelledError):
            server = await asyncio.open_connection(parts.hostname, parts.port)
            await _Link(made, ((reader, writer), server)).run()

    listening = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    # The driver must not go round the proxy to the address that the server says it has; it looks
    # often, as the server itself never said that it was no primary.
    made.uri = f"mongodb://127.0.0.1:{port}/?directConnection=true&heartbeatFrequencyMS=500"
    try:
        yield made
    finally:
        listening.close()
