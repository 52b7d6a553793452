"""A process that has too much in hand refuses what comes, at once, so that what it has taken is
answered in time: one that takes everything is late with everything, and then nobody is answered.
"""

from collections.abc import Iterator, Mapping

import orjson
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fhir_server.fhir.outcome import busy, operation_outcome
from fhir_server.tallies import Tally

RETRY_SECONDS = 2
_SAID = "there is too much to do now; nothing was taken"
_PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport"'
    ' content="width=device-width"><title>Too much to do</title><h1>MedSAGE has too much to do'
    " now</h1><p>Nothing was sent or changed. Try again in a few seconds.</p></html>"
)


class Shedding(Collector):
    """Answers with `front` while fewer than `limit` requests to the parts are in hand, and the
    others with 503 and Retry-After; a part that is named in `refusals` says it in its own words.

    In hand is a request until the head of its answer: a stream of events costs little and may
    last for long. What is outside the parts is always answered: health, metrics, and `/api`,
    which waits for an analysis."""

    def __init__(
        self,
        front: ASGIApp,
        limit: int,
        parts: Mapping[str, ASGIApp],
        refusals: Mapping[str, ASGIApp],
        registry: CollectorRegistry,
    ) -> None:
        self._front = front
        self._limit = limit
        self._parts = parts
        self._refusals = refusals
        self._in_hand = 0
        self._shed = Tally(
            "medsage_requests_shed",
            "Requests refused because too many were in hand, by part of the service",
            ("part",),
            registry,
        )
        for part in parts:
            self._shed.add((part,), 0)
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """How many are in hand, and how many may be."""
        yield GaugeMetricFamily("medsage_requests_in_hand", "Begun, unanswered", self._in_hand)
        yield GaugeMetricFamily("medsage_requests_in_hand_limit", "At the most", self._limit)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        part = scope["path"][1:].partition("/")[0] if scope["type"] == "http" else ""
        if part not in self._parts:
            await self._front(scope, receive, send)
        elif self._in_hand >= self._limit:
            self._shed.add((part,))
            await self._refusals.get(part, _refused)(scope, receive, send)
        else:
            await self._answered(scope, receive, send)

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_in_hand = True
        self._in_hand += 1

        def done() -> None:
            nonlocal is_in_hand
            self._in_hand -= is_in_hand
            is_in_hand = False

        async def send_and_let_go(message: Message) -> None:
            if message["type"] == "http.response.start":
                done()
            await send(message)

        try:
            await self._front(scope, receive, send_and_let_go)
        finally:
            done()


async def _refused(scope: Scope, receive: Receive, send: Send) -> None:
    await _refusal(Request(scope))(scope, receive, send)


def _refusal(request: Request) -> Response:
    refusal = busy(_SAID, RETRY_SECONDS)
    if request.url.path.startswith("/fhir"):
        body = orjson.dumps(operation_outcome(refusal.issues))
        return Response(body, 503, refusal.headers, "application/fhir+json")
    if "text/html" in request.headers.get("accept", ""):
        return HTMLResponse(_PAGE, 503, refusal.headers)
    told = {"error": "temporarily_unavailable", "error_description": _SAID}
    return Response(orjson.dumps(told), 503, refusal.headers, "application/json")
