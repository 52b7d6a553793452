"""What every answer of the server carries, whichever part gave it: a request id and the headers
that keep browsers from guessing; and what every log line says of the request. Pure ASGI."""

import re
from collections.abc import Awaitable, Callable

from fhir_server.rest.request import Message, Receive, Scope, Send
from fhir_server.rest.trace import ANSWERING, Answering

Headers = tuple[tuple[bytes, bytes], ...]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

REQUEST_ID = "medsage.request_id"
"""The scope's key for the request id."""

_GIVEN = re.compile(rb"[A-Za-z0-9\-._]{1,64}")
_SAFE: Headers = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; base-uri 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""What an answer says that does not say otherwise: nothing runs, is kept, framed or embedded."""

STRICT_TRANSPORT: Headers = ((b"strict-transport-security", b"max-age=31536000"),)
"""Said by whoever ends TLS: the proxy, or a process with a certificate of its own."""


class RequestIds:
    """Gives each request an id: the caller's X-Request-Id where it is a plain token, so that
    one id can be followed through several systems, else a new one. Says it in each log line, with
    the trace of the caller. Adds safe headers, and those of `also`, where the answer does not have
    them."""

    def __init__(self, app: Application, new_id: Callable[[], str], also: Headers = ()) -> None:
        self._app = app
        self._new_id = new_id
        self._added = (*_SAFE, *also)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _given(scope) or self._new_id()
        scope[REQUEST_ID] = request_id
        own = (b"x-request-id", request_id.encode())

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = list(message.get("headers", ()))
                present = {name for name, _ in given}
                added = (each for each in self._added if each[0] not in present)
                message["headers"] = [*given, *added, own]
            await send(message)

        outer = ANSWERING.set(Answering(request_id, scope["headers"]))
        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            ANSWERING.reset(outer)


def _given(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            return value.decode() if _GIVEN.fullmatch(value) else None
    return None
