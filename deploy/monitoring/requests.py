"""Requests to a process by the part that answers them, whatever they ask for: the pages of the app
and of the authorization server too."""

import logging
import time
from collections.abc import Collection
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deploy.route_names import Route, told_in
from fhir_server.tallies import Tally, Times

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)
_LATER = "other"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_LEVELS = ((500, logging.WARNING), (400, logging.INFO), (0, logging.DEBUG))
_log = logging.getLogger("medsage.requests")


class _Answer(NamedTuple):
    part: str
    method: str
    status: int
    seconds: float


class MeasuredRequests:
    """Counts and times what `app` answers: up to the head of the answer, since the stream of a
    page's progress lasts as long as the page. A line for each is logged when its answer has ended:
    of those that failed at warning, of those that were refused at info, of all others at debug. It
    names the template of the path; the path itself may hold what belongs to a patient."""

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

        answer: _Answer | None = None
        route = told_in(scope)

        async def send_noted(message: Message) -> None:
            nonlocal answer
            if message["type"] == "http.response.start":
                answer = _Answer(part, method, message["status"], time.perf_counter() - began)
                self._count(answer)
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        except Exception:
            if answer is None:  # whoever serves this answers so
                answer = _Answer(part, method, 500, time.perf_counter() - began)
                self._count(answer)
            raise
        finally:
            if answer is not None:
                _tell(answer, route)

    def _count(self, answer: _Answer) -> None:
        self._requests.add((answer.part, answer.method, str(answer.status)))
        self._seconds.observe((answer.part,), answer.seconds)


def _tell(answer: _Answer, route: Route) -> None:
    level = next(level for least, level in _LEVELS if answer.status >= least)
    if _log.isEnabledFor(level):
        facts = {**answer._asdict(), "seconds": round(answer.seconds, 4), "route": route.name}
        _log.log(level, "answered", extra=facts)
