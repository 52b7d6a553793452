"""Requests to a process by the part that answers them, whatever they ask for: the pages of the app
and of the authorization server too."""

import logging
import time
from collections.abc import Collection

from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fhir_server.tallies import Tally, Times

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)
_LATER = "other"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_log = logging.getLogger("medsage.requests")


class MeasuredRequests:
    """Counts and times what `app` answers: up to the head of the answer, since the stream of a
    page's progress lasts as long as the page. A line for each is logged, at the level debug; of
    those that failed at warning. Neither names the path, which may hold what belongs to a
    patient."""

    def __init__(self, app: ASGIApp, registry: CollectorRegistry, parts: Collection[str]) -> None:
        self._app = app
        self._parts = parts
        self._requests = Tally(
            "medsage_http_requests",
            "Requests answered, by part of the service",
            ("part", "method", "status"),
            registry,
        )
        self._seconds = Times(
            (
                "medsage_http_request_seconds",
                "Time to the head of the answer, by part of the service",
            ),
            ("part",),
            _BUCKETS,
            registry,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        segment = scope["path"][1:].partition("/")[0]
        part = segment if segment in self._parts else _LATER
        method = scope["method"] if scope["method"] in _METHODS else _LATER

        async def send_noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._note(part, method, message["status"], time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, send_noted)

    def _note(self, part: str, method: str, status: int, seconds: float) -> None:
        self._requests.add((part, method, str(status)))
        self._seconds.observe((part,), seconds)
        level = logging.WARNING if status >= 500 else logging.DEBUG
        if _log.isEnabledFor(level):
            facts = {"part": part, "method": method, "status": status, "seconds": round(seconds, 4)}
            _log.log(level, "answered", extra=facts)
