"""The header Idempotency-Key: read strictly, and bound to the request that it came with (IETF
draft-ietf-httpapi-idempotency-key-header). `interactions/repeats.py` remembers the answers."""

import asyncio
import hashlib
from dataclasses import replace
from datetime import timedelta

import orjson

from fhir_server.fhir import idempotency_key
from fhir_server.fhir.outcome import unsupported
from fhir_server.interactions.context import FhirRequest, Repeatable
from fhir_server.interactions.write import LARGE
from fhir_server.rest.request import Headers

HEADER = idempotency_key.HEADER.lower()

WRITING = frozenset({"create", "update", "patch", "delete", "batch", "transaction", "operation"})
"""The interactions that are done once for a key."""
_SAID_BY_HEADERS = (
    "content-type",
    "if-match",
    "if-none-exist",
    "if-none-match",
    "x-security-context",
)
"""Headers without which a request would be another one."""


def key_in(headers: Headers, hours: int) -> str | None:
    """The key that was sent, as the draft's quoted string or bare; FhirError 400 when it is
    malformed, or when answers are kept for no `hours` at all."""
    text = headers.get(HEADER)
    if text is None:
        return None
    if not hours:
        raise unsupported("Idempotency-Key: this server does not remember answers")
    return idempotency_key.parsed(text)


async def once_only(
    request: FhirRequest, head: tuple[str, str, bytes], headers: Headers, *, body: bytes, hours: int
) -> FhirRequest:
    """The request, marked to be done once where it writes and has a key; `head` is its method,
    path and query as sent. What only reads may have a key too, and needs no memory."""
    key = key_in(headers, hours)
    method, path, query = head
    if key is None or method in ("GET", "HEAD") or request.interaction not in WRITING:
        return request
    if len(body) < LARGE:
        digest = hashlib.sha256(body).hexdigest()
    else:
        digest = (await asyncio.to_thread(hashlib.sha256, body)).hexdigest()
    said = [headers.get(name) for name in _SAID_BY_HEADERS]
    parts = [method, path, query.decode("latin-1"), digest, *said]
    fingerprint = hashlib.sha256(orjson.dumps(parts)).hexdigest()
    repeatable = Repeatable(("key", key), fingerprint, timedelta(hours=hours))
    return replace(request, repeatable=repeatable)
