"""The body of a request: taken in, and made what its interaction reads (R4 RESTful API, "Content
Types and encodings"; for raw content R4 Binary, "Serving Binary Resources").

Interactions see JSON. XML becomes it here; what an interaction takes beside resources, and the
content of a Binary, stays as it was sent. (The form of a search is `form.py`'s.)
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import replace
from typing import Any

import msgspec

from fhir_server.fhir.media_types import (
    FHIR_JSON,
    FHIR_XML,
    SPOKEN,
    is_unicode,
    media_range,
    sent_as,
)
from fhir_server.fhir.outcome import FhirError, bad_parameter, error, too_large
from fhir_server.fhir.xml import json_of, root_name
from fhir_server.interactions.context import FhirRequest
from fhir_server.interactions.entries import JSON_PATCH
from fhir_server.interactions.write import LARGE

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Headers = Mapping[str, str]

PLAIN: Mapping[str, frozenset[str]] = {"patch": frozenset({JSON_PATCH})}
"""What an interaction takes beside resources, just as it was sent: `FhirRequest.content_type`
then says what it is."""
PATCH_FORMATS = (JSON_PATCH, FHIR_JSON.name, FHIR_XML.name)
"""What a patch is sent as (CapabilityStatement.patchFormat; Accept-Patch, RFC 5789)."""
_RAW = frozenset({"create", "update"})


class Disconnected(Exception):
    """The client went away before its request was complete."""


async def body_of(receive: Receive, headers: Headers, limit: int) -> bytes:
    """The whole body; 413 as soon as it is known to be larger than `limit` bytes."""
    announced = headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def require_spoken(request: FhirRequest, headers: Headers) -> None:
    """415, before anything of the body is read, unless its type is one that the interaction
    takes."""
    if headers.get("content-encoding", "identity") != "identity":
        raise _not_spoken(request, "Content-Encoding: send the body as it is")
    content_type = headers.get("content-type")
    if content_type is None:
        if _has_body(headers):
            raise _not_spoken(request, f"Content-Type is missing; {_spoken(request)}")
    elif not (
        _is_raw(request) or _is_as_sent(request, content_type) or sent_as(content_type) is not None
    ):
        raise _not_spoken(request, f"Content-Type: {content_type}; {_spoken(request)}")


def _not_spoken(request: FhirRequest, text: str) -> FhirError:
    refusal = error(415, "not-supported", text)
    if request.interaction != "patch":
        return refusal
    return replace(refusal, headers={"Accept-Patch": ", ".join(PATCH_FORMATS)})


async def with_body(request: FhirRequest, headers: Headers, body: bytes) -> FhirRequest:
    """The request with its body as the interaction reads it. Raises FhirError 400 for XML that
    is none, or a form that can't be read."""
    content_type = headers.get("content-type")
    if content_type is None:
        return replace(request, body=body)
    if _is_as_sent(request, content_type):
        return replace(request, body=body, content_type=media_range(content_type).name)
    if _is_raw(request):
        context = headers.get("x-security-context")
        if not await _off_loop(_is_binary, body, content_type):
            return replace(request, body=body, content_type=content_type, security_context=context)
        if context is not None:
            raise bad_parameter("X-Security-Context is for content; a Binary says it itself")
    form = sent_as(content_type)
    if form is not None and form.syntax == "xml":
        body = await _off_loop(json_of, body)
    return replace(request, body=body)


async def _off_loop(work: Callable[..., Any], body: bytes, *more: Any) -> Any:
    """The result of `work`, done in a thread when the body is large."""
    if len(body) < LARGE:
        return work(body, *more)
    return await asyncio.to_thread(work, body, *more)


def _has_body(headers: Headers) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


def _is_raw(request: FhirRequest) -> bool:
    """Whether the body may be the content of a Binary."""
    return request.type == "Binary" and request.interaction in _RAW


def _is_as_sent(request: FhirRequest, content_type: str) -> bool:
    given = media_range(content_type)
    return given.name in PLAIN.get(request.interaction, ()) and is_unicode(given)


def _spoken(request: FhirRequest) -> str:
    others = sorted(PLAIN.get(request.interaction, ()))
    return "; ".join((SPOKEN, *(f"{each} is taken here" for each in others)))


class _Head(msgspec.Struct):
    resourceType: str | None = None


def _is_binary(body: bytes, content_type: str) -> bool:
    """Whether what is sent to Binary is a Binary resource; any other resource is content too. A
    body of a FHIR type that can't be parsed counts as a resource, to be refused as such."""
    form = sent_as(content_type)
    if form is None:
        return False
    if form.syntax == "xml":
        return _is_binary_xml(body, is_fhir=form.name == "application/fhir+xml")
    try:
        return msgspec.json.decode(body, type=_Head).resourceType == "Binary"
    except msgspec.ValidationError:
        return False
    except (msgspec.DecodeError, UnicodeDecodeError):
        return True


def _is_binary_xml(body: bytes, *, is_fhir: bool) -> bool:
    try:
        return root_name(body) == "Binary"
    except FhirError:
        # Other XML may well have a document type.
        return is_fhir or b"<!DOCTYPE" not in body


def _too_large(limit: int) -> Exception:
    return too_large(f"the body is larger than {limit} bytes")
