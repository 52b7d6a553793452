"""What every answer of the server carries, whichever part gave it: a request id and the headers
that keep browsers from guessing; and what every log line says of the request. Pure ASGI."""

import re
from collections.abc import Awaitable, Callable

from structlog.contextvars import bound_contextvars

from fhir_server.rest.request import Message, Receive, Scope, Send
from fhir_server.rest.trace import CURRENT, HEADER, trace_of

Headers = tuple[tuple[bytes, bytes], ...]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

REQUEST_ID = "medsage.request_id"
"""The scope's key for the request id."""

_GIVEN = re.compile(r"[A-Za-z0-9\-._]{1,64}", re.ASCII)
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
        trace = trace_of(_header(scope, HEADER.encode()))
        scope[REQUEST_ID] = request_id
        own = (b"x-request-id", request_id.encode())

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = list(message.get("headers", ()))
                present = {name for name, _ in given}
                added = (each for each in self._added if each[0] not in present)
                message["headers"] = [*given, *added, own]
            await send(message)

        outer = CURRENT.set(trace)
        try:
            # The tenant is bound by who knows it; here it is only kept from staying.
            with bound_contextvars(request_id=request_id, trace_id=trace.id, tenant=None):
                await self._app(scope, receive, send_with_headers)
        finally:
            CURRENT.reset(outer)


def _given(scope: Scope) -> str | None:
    given = _header(scope, b"x-request-id")
    return given if given is not None and _GIVEN.fullmatch(given) else None


def _header(scope: Scope, wanted: bytes) -> str | None:
    return next(
        (value.decode("latin-1") for name, value in scope["headers"] if name == wanted), None
    )
