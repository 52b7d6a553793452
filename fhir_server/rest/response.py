"""HTTP out: a FhirResponse as status, headers and body (R4 RESTful API, "HTTP Headers")."""

from collections.abc import Iterable, Mapping

from fhir_server.fhir.codec import encode, pretty
from fhir_server.fhir.outcome import FhirError, operation_outcome
from fhir_server.interactions.context import FhirRequest, FhirResponse
from fhir_server.interactions.entries import done
from fhir_server.interactions.versions import etag, http_date
from fhir_server.rest.request import FHIR_JSON, Asked, MediaType, Send

_WRITES = frozenset({"create", "update", "delete"})
_CONTENT_TYPE: Mapping[MediaType, bytes] = {
    "application/fhir+json": b"application/fhir+json; charset=utf-8",
    "application/json": b"application/json; charset=utf-8",
}
_ALWAYS = (
    # Patient data may be kept only by the caller itself, and asked for again each time.
    (b"cache-control", b"private, no-cache"),
    (b"vary", b"accept, authorization, origin, prefer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; sandbox"),
)
Header = tuple[bytes, bytes]


async def send_response(send: Send, asked: Asked, response: FhirResponse, base_url: str) -> None:
    """Send what the interaction answered, as far as Prefer wants it."""
    body = _preferred(asked.request, response)
    headers = [*_version_headers(response, base_url), *_plain(response.headers)]
    await send_bytes(
        send,
        status=response.status,
        body=pretty(body) if body and asked.request.is_pretty else body,
        headers=headers,
        media_type=asked.media_type,
    )


async def send_refusal(send: Send, refusal: FhirError, asked: Asked) -> None:
    """Send an OperationOutcome."""
    body = encode(operation_outcome(refusal.issues))
    await send_bytes(
        send,
        status=refusal.status,
        body=pretty(body) if asked.request.is_pretty else body,
        headers=_plain(refusal.headers),
        media_type=asked.media_type,
    )


async def send_bytes(
    send: Send,
    *,
    status: int,
    body: bytes,
    headers: Iterable[Header],
    media_type: MediaType = FHIR_JSON,
) -> None:
    """Send a body that is ready; without one there is no Content-Type."""
    sent = [*_ALWAYS, *headers]
    if body:
        sent.append((b"content-type", _CONTENT_TYPE[media_type]))
    if status not in (204, 304):
        sent.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": sent})
    await send({"type": "http.response.body", "body": body})


def _preferred(request: FhirRequest, response: FhirResponse) -> bytes:
    if response.status in (204, 304):
        return b""
    if request.interaction not in _WRITES:
        return response.body
    match request.prefer_return:
        case "minimal":
            return b""
        case "OperationOutcome":
            return encode(done(response))
        case _:
            return response.body


def _version_headers(response: FhirResponse, base_url: str) -> list[Header]:
    stored = response.stored
    if stored is None:
        return []
    headers = [
        (b"etag", etag(stored.version).encode()),
        (b"last-modified", http_date(stored.updated).encode()),
    ]
    if response.is_created:
        location = f"{base_url}/{stored.key}/_history/{stored.version}"
        headers.append((b"location", location.encode()))
    return headers


def _plain(headers: Mapping[str, str]) -> list[Header]:
    return [
        (name.lower().encode(), value.encode("latin-1", "replace"))
        for name, value in headers.items()
    ]
