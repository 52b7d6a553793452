"""HTTP out: a FhirResponse as status, headers and body (R4 RESTful API, "HTTP Headers")."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping

from fhir_server.fhir.codec import encode, pretty
from fhir_server.fhir.media_types import FHIR_JSON
from fhir_server.fhir.outcome import FhirError, operation_outcome
from fhir_server.fhir.xml import pretty_xml, xml_of
from fhir_server.interactions.context import FhirRequest, FhirResponse
from fhir_server.interactions.entries import done
from fhir_server.interactions.versions import etag, http_date
from fhir_server.interactions.write import LARGE
from fhir_server.rest.request import Asked, Message, Send

_WRITES = frozenset({"create", "update", "patch", "delete"})
_ALWAYS = (
    # Patient data may be kept only by the caller itself, and asked for again each time.
    (b"cache-control", b"private, no-cache"),
    (b"vary", b"accept, authorization, origin, prefer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; sandbox"),
)
Header = tuple[bytes, bytes]


async def rendered(asked: Asked, response: FhirResponse) -> bytes:
    """The body to send: as much as Prefer wants, in the form that was asked for. What is sent
    in a media type of its own stays as it is."""
    body = _preferred(asked.request, response)
    if not body or response.content_type is not None:
        return body
    return await _formed(asked, body)


async def send_response(
    send: Send, asked: Asked, response: FhirResponse, *, body: bytes, base_url: str
) -> None:
    """Send what the interaction answered, with its `rendered` body or in its own pieces."""
    headers = [*_version_headers(response, base_url), *_plain(response.headers)]
    own = response.content_type
    content_type = asked.media_type.content_type if own is None else own.encode("latin-1")
    if response.chunks is not None:
        headers.append((b"content-type", content_type))
        await _send_chunks(send, response.status, response.chunks, headers)
        return
    await send_bytes(
        send, status=response.status, body=body, headers=headers, content_type=content_type
    )


async def send_refusal(send: Send, refusal: FhirError, asked: Asked) -> None:
    """Send an OperationOutcome."""
    await send_bytes(
        send,
        status=refusal.status,
        body=await _formed(asked, encode(operation_outcome(refusal.issues))),
        headers=_plain(refusal.headers),
        content_type=asked.media_type.content_type,
    )


async def _formed(asked: Asked, body: bytes) -> bytes:
    """The JSON resource in the form that was asked for; a large one is changed in a thread."""
    if asked.media_type.syntax == "json":
        return pretty(body) if asked.request.is_pretty else body
    if len(body) < LARGE:
        return _as_xml(body, is_pretty=asked.request.is_pretty)
    return await asyncio.to_thread(_as_xml, body, is_pretty=asked.request.is_pretty)


def _as_xml(body: bytes, *, is_pretty: bool) -> bytes:
    return pretty_xml(xml_of(body)) if is_pretty else xml_of(body)


async def send_bytes(
    send: Send,
    *,
    status: int,
    body: bytes,
    headers: Iterable[Header],
    content_type: bytes = FHIR_JSON.content_type,
) -> None:
    """Send a body that is ready; without one there is no Content-Type."""
    sent = [*_ALWAYS, *headers]
    if body:
        sent.append((b"content-type", content_type))
    if status not in (204, 304):
        sent.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": sent})
    await send({"type": "http.response.body", "body": body})


def without_body(send: Send) -> Send:
    """`send` for the answer to a HEAD: what GET would answer, headers alone."""

    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return send_head


async def _send_chunks(
    send: Send, status: int, chunks: AsyncIterator[bytes], headers: Iterable[Header]
) -> None:
    """Send a body while it is made. A failure on the way cuts the connection: what has arrived
    then is no whole JSON, so nobody takes the part for the whole."""
    sent = [*_ALWAYS, *headers]
    await send({"type": "http.response.start", "status": status, "headers": sent})
    async for chunk in chunks:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _preferred(request: FhirRequest, response: FhirResponse) -> bytes:
    if response.status in (204, 304):
        return b""
    if request.interaction not in _WRITES:
        return response.body
    match request.prefer_return:
        case "minimal":
            return b""
        case "OperationOutcome":
            # Several deletions are told by an OperationOutcome of their own.
            is_told = request.interaction == "delete" and response.body
            return response.body if is_told else encode(done(response))
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
