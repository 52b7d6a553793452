"""Answers on a socket until a signal asks for the end, and ends so that no request is refused.

SIGTERM or SIGINT: for `drain_seconds` everything is still taken and answered, each answer closing
its connection. Then the socket is closed: what was on its way is taken first, and who connects from
now on is told so before a request is sent. What is under way may finish for GRACE_SECONDS. A second
signal waits for nothing.
"""

import asyncio
import ctypes
import signal
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import uvicorn

from deploy.draining import Draining, closing

GRACE_SECONDS = 6
"""What answers under way may take at the end."""
KEEP_ALIVE_SECONDS = 75
"""Longer than a proxy keeps a connection that nobody uses (nginx: 60): whoever closes first should
be the one that sends."""
BACKLOG = 2048
_BPF_RETURN, _SO_ATTACH_FILTER = 0x06, 26
_FIRST_BYTES_SECONDS = 0.2
"""Until the requests of connections that were taken last have come."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class CantListen(Exception):
    """The address or port can't be had; the text says why."""


def bound(host: str, port: int) -> socket.socket:
    """The address, taken but not listened on: who connects is refused, and goes elsewhere, until
    there is somebody to answer. CantListen when it is taken by another."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    taken = socket.socket(family, socket.SOCK_STREAM)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((host, port))
    except OSError as problem:
        raise CantListen(_refused((host, port), problem)) from problem
    return taken


@contextmanager
def heeding(draining: Draining) -> Iterator[None]:
    """Within it the signals ask for the end, in place of killing the process."""
    loop = asyncio.get_running_loop()
    for each in _SIGNALS:
        loop.add_signal_handler(each, draining.begin)
    try:
        yield
    finally:
        for each in _SIGNALS:
            loop.remove_signal_handler(each)


async def serve(
    config: uvicorn.Config, listening: socket.socket, draining: Draining, drain_seconds: float
) -> None:
    """Answer with the application of `config` until the end was asked for and came. CantListen
    when another process was faster."""
    config.app = closing(config.app, draining)  # type: ignore[arg-type]
    config.timeout_graceful_shutdown = GRACE_SECONDS
    config.timeout_keep_alive = KEEP_ALIVE_SECONDS
    config.backlog = BACKLOG
    if draining.has_begun:
        return
    try:
        listening.listen(BACKLOG)
    except OSError as problem:
        raise CantListen(_refused(listening.getsockname(), problem)) from problem
    server = _Server(config)
    loop = asyncio.get_running_loop()

    def end() -> None:
        server.force_exit = server.force_exit or draining.is_pressing
        loop.call_later(0.0 if draining.is_pressing else drain_seconds, server.leave)

    draining.tell(end)
    await server.serve([listening])


class _Server(uvicorn.Server):
    """Leaves the signals to others: uvicorn's own handling raises them once more when it has
    ended, which kills the process before the work behind the requests is finished."""

    def leave(self) -> None:
        """End as soon as nothing is under way."""
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for each in sockets or ():
            await self._take_the_last(each)
        await super().shutdown(sockets)

    async def _take_the_last(self, listening: socket.socket) -> None:
        """Stop listening without losing whom the kernel has connected already: their requests are
        on the way, and would be answered with a reset."""
        loop = asyncio.get_running_loop()
        with listening.dup() as queue:
            for server in self.servers:
                server.close()
            listening.close()
            queue.setblocking(False)
            _let_nobody_in(queue)
            last = list(_waiting(queue))
        for connection in last:
            await loop.connect_accepted_socket(self._protocol, connection, ssl=self.config.ssl)
        # Those that were taken just before may not have been heard yet either.
        await asyncio.sleep(_FIRST_BYTES_SECONDS)

    def _protocol(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made


def _let_nobody_in(queue: socket.socket) -> None:
    """Who connects between the last accept and the close would be reset with the request on its
    way, which a proxy must not send again. A filter drops their first packet instead (socket(7),
    SO_ATTACH_FILTER): it comes again, finds nobody listening, and goes elsewhere. Linux only."""
    drops_all = ctypes.create_string_buffer(struct.pack("HBBI", _BPF_RETURN, 0, 0, 0))
    program = struct.pack("HP", 1, ctypes.addressof(drops_all))
    with suppress(OSError):
        queue.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def _waiting(queue: socket.socket) -> Iterator[socket.socket]:
    """Those whom the kernel has connected and nobody has taken yet."""
    while True:
        try:
            connection, _ = queue.accept()
        except OSError:
            return
        yield connection


def _refused(address: Sequence[object], problem: OSError) -> str:
    return f"can't listen on {address[0]}:{address[1]}: {problem.strerror}"
