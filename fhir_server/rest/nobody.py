"""Requests that were refused because nobody is known to send them, counted for their address: for
parts of a process that know no principals themselves. Pure ASGI."""

from fhir_server.fhir.codec import encode
from fhir_server.fhir.outcome import FhirError, operation_outcome
from fhir_server.rest.middleware import Application
from fhir_server.rest.request import Message, Receive, Scope, Send
from fhir_server.security.limits import RateLimits

_UNKNOWN = 401


class CountsNobody:
    """Answers 429 in place of 401, once there were too many from one address."""

    def __init__(self, app: Application, limits: RateLimits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        address = client[0] if client else None
        is_replaced = False

        async def counted(message: Message) -> None:
            nonlocal is_replaced
            if message["type"] == "http.response.start" and message["status"] == _UNKNOWN:
                try:
                    await self._limits.of_nobody(address)
                except FhirError as refusal:
                    is_replaced = True
                    await _refuse(send, refusal)
            if not is_replaced:
                await send(message)

        await self._app(scope, receive, counted)


async def _refuse(send: Send, refusal: FhirError) -> None:
    body = encode(operation_outcome(refusal.issues))
    headers = {
        **refusal.headers,
        "content-type": "application/fhir+json; charset=utf-8",
        "content-length": str(len(body)),
        "cache-control": "no-store",
    }
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
