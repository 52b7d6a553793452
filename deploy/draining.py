"""A process that was told to end, while others may still send it requests.

It says at `/health/ready` that it is not ready, answers all that comes, and closes each connection
with its answer, so that whoever stands in front of it goes elsewhere with the next request.
"""

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

CLOSE = (b"connection", b"close")


class IsDraining(Exception):
    """The process is about to end: what readiness says of it."""


class Draining:
    """Whether the process is about to end; those who asked are told each time that it is said."""

    def __init__(self) -> None:
        self._asked = 0
        self._listeners: list[Callable[[], None]] = []

    @property
    def has_begun(self) -> bool:
        """Whether the end was asked for."""
        return self._asked > 0

    @property
    def is_pressing(self) -> bool:
        """Whether it was asked for again: nothing is to be waited for."""
        return self._asked > 1

    def tell(self, listener: Callable[[], None]) -> None:
        """Call it when the end is asked for, and when it is asked for again; now, if it was."""
        self._listeners.append(listener)
        if self.has_begun:
            listener()

    def begin(self) -> None:
        """The end is asked for; said again, it is pressing."""
        self._asked += 1
        for listener in self._listeners:
            listener()

    async def check(self) -> None:
        """IsDraining once the end was asked for."""
        if self.has_begun:
            raise IsDraining


def closing(application: ASGIApp, draining: Draining) -> ASGIApp:
    """The application, whose answers end their connections from the moment of draining on: kept
    connections would bring further requests to the moment when they are closed, and who sends one
    just then can't know whether it was taken."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_closing(message: Message) -> None:
            if draining.has_begun and message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), CLOSE]}
            await send(message)

        await application(scope, receive, send_closing)

    return answer
