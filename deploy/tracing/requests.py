"""Requests as spans: those that are answered, named by the template of their path, and those that
are sent, with the trace that they belong to."""

import httpx
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deploy.route_names import told_in
from fhir_server import spans
from fhir_server.rest.trace import HEADER

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_QUIET = ("/health", "/api/metrics")
"""What looks at a process every few seconds is no request of anybody's."""
_FAILED = 500


class TracedRequests:
    """A span for each request that `app` answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(_QUIET):
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = told_in(scope)
        wanted = HEADER.encode()
        given = next((value for name, value in scope["headers"] if name == wanted), None)
        parent = None if given is None else given.decode("latin-1")
        with spans.span(
            method, "server", parent=parent, attributes={"http.request.method": method}
        ) as span:

            async def send_noting(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.note("http.response.status_code", message["status"])
                    if message["status"] >= _FAILED:
                        span.note("error.type", str(message["status"]))
                await send(message)

            try:
                await self._app(scope, receive, send_noting)
            finally:
                span.note("http.route", route.name)
                span.called(f"{method} {route.name}")


class TracedTransport(httpx.AsyncBaseTransport):
    """Requests that are sent while a span is open are spans of it, and hand its trace on."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Up to the head of the answer."""
        method = request.method if request.method in _METHODS else "other"
        attributes = {"http.request.method": method}
        with spans.within(method, "client", attributes=attributes) as span:
            if (own := spans.current()) is not None:
                request.headers[HEADER] = own
            response = await self._inner.handle_async_request(request)
            span.note("http.response.status_code", response.status_code)
            return response

    async def aclose(self) -> None:
        """Close the one that sends."""
        await self._inner.aclose()
