"""Content in its own media type (R4 Binary, "Serving Binary Resources using the RESTful API"; for
Media the same by a reading of ours, see docs/spec-readings.md).

A read that does not ask for a FHIR type gets the content of a Binary, and one that asks for the
type of a Media's image, sound or film gets that. What is sent to Binary in another type than
FHIR's, or is another resource, becomes the content of a Binary.
"""

import asyncio
import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import orjson

from fhir_server.fhir.codec import encode
from fhir_server.fhir.media_types import FHIR_JSON, FHIR_XML, accepted, quality, ranges_of
from fhir_server.fhir.outcome import bad_parameter, error, not_found
from fhir_server.interactions.context import Context, FhirRequest, FhirResponse, Resource
from fhir_server.interactions.keys import key_of
from fhir_server.interactions.versions import is_unmodified
from fhir_server.interactions.write import LARGE
from fhir_server.storage.port import Stored

_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(?: *;[\x20-\x7e]*)?")
_UNKNOWN = "application/octet-stream"
# What a browser shows without running anything of it; all else is saved.
_SHOWN = frozenset(
    {
        *("image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp", "image/tiff"),
        *("text/plain", "application/pdf", "audio/mpeg", "audio/wav", "audio/ogg"),
        *("video/mp4", "video/webm", "video/ogg"),
    }
)
_BY_TYPE, _BY_WILDCARD = 2, 1
_LOCAL = re.compile(r"Binary/([A-Za-z0-9\-.]{1,64})(?:/_history/([1-9][0-9]{0,17}))?")


async def content_of(context: Context, stored: Stored, request: FhirRequest) -> FhirResponse | None:
    """The content of the Binary or Media that was read, if the Accept header wants it more than
    the resource; None for the resource. FhirError 406 when it wants neither."""
    resource: Resource = await _off_loop(orjson.loads, stored.body)
    if stored.key.type == "Binary":
        return await _binary(stored, resource, request)
    return await _media(context, stored, resource, request)


async def as_binary(context: Context, request: FhirRequest) -> FhirRequest:
    """A create or update of Binary by content as the create or update of a resource. Content
    that replaces other content stays in its security context unless a new one is named."""
    binary: Resource = {"resourceType": "Binary"}
    reference = request.security_context
    if request.id is not None:
        binary["id"] = request.id
        if reference is None:
            reference = await _present_context(context, request)
    binary["contentType"] = " ".join((request.content_type or "").split())
    if reference is not None:
        binary["securityContext"] = {"reference": reference}
    if request.body:
        binary["data"] = (await _off_loop(base64.b64encode, request.body)).decode()
    return replace(request, body=encode(binary), content_type=None, security_context=None)


async def _off_loop(work: Callable[[bytes], Any], content: bytes) -> Any:
    """The result of `work`, done in a thread when there is much of it."""
    return work(content) if len(content) < LARGE else await asyncio.to_thread(work, content)


async def _present_context(context: Context, request: FhirRequest) -> str | None:
    current = await context.store.get(key_of(request))
    if current is None or current.is_deleted:
        return None
    present = orjson.loads(current.body).get("securityContext")
    if present is None:
        return None
    if "reference" not in present:
        raise bad_parameter("X-Security-Context is needed: the present one is no plain reference")
    reference: str = present["reference"]
    return reference


async def _binary(stored: Stored, resource: Resource, request: FhirRequest) -> FhirResponse | None:
    content_type = resource.get("contentType", _UNKNOWN)
    if not _wants_content(request, content_type, at_least=_BY_WILDCARD):
        return None
    if is_unmodified(stored, request.if_none_match, request.if_modified_since):
        return FhirResponse(304, stored=stored)
    body = await _off_loop(binascii.a2b_base64, resource.get("data", "").encode())
    headers = dict(_headers(stored.key.id, content_type))
    reference = resource.get("securityContext", {}).get("reference")
    if reference is not None:
        headers["X-Security-Context"] = reference
    return FhirResponse(200, body, stored, headers=headers, content_type=_sent(content_type))


async def _media(
    context: Context, stored: Stored, resource: Resource, request: FhirRequest
) -> FhirResponse | None:
    content = resource["content"]
    content_type = content.get("contentType", _UNKNOWN)
    if not _wants_content(request, content_type, at_least=_BY_TYPE):
        return None
    if "data" in content:
        if is_unmodified(stored, request.if_none_match, request.if_modified_since):
            return FhirResponse(304, stored=stored)
        body = await _off_loop(binascii.a2b_base64, content["data"].encode())
        headers = _headers(stored.key.id, content_type)
        return FhirResponse(200, body, stored, headers=headers, content_type=_sent(content_type))
    local = _LOCAL.fullmatch(content.get("url", "").removeprefix(f"{context.base_url}/"))
    if local is None:
        raise not_found(f"content of {stored.key} on this server")
    id, version = local[1], local[2]
    asked = FhirRequest("read" if version is None else "vread", "Binary", id, accept="*/*")
    if version is not None:
        asked = replace(asked, version=int(version))
    found = await context.submit(context, asked)
    # Neither version nor date of the Media says whether the Binary is still the same.
    return replace(found, stored=None, about=stored)


def _wants_content(request: FhirRequest, content_type: str, *, at_least: int) -> bool:
    """Whether content of this type is wanted more than the resource. The types of FHIR ask for
    the resource; plain JSON and XML do where the content is something else."""
    accept = request.accept or "*/*"
    ranges = ranges_of(accept)
    name = content_type.partition(";")[0].strip().lower()
    content = quality(ranges, name, at_least=at_least)
    resource = max(quality(ranges, each.name, at_least=3) for each in (FHIR_JSON, FHIR_XML))
    if content > resource:
        return True
    if accepted(accept) is None:
        raise error(406, "not-supported", f"Accept: {accept}: the content is {content_type}")
    return False


def _sent(content_type: str) -> str:
    """The media type for the header; one that is none becomes that of unknown bytes."""
    return content_type if _MEDIA_TYPE.fullmatch(content_type) else _UNKNOWN


def _headers(id: str, content_type: str) -> Mapping[str, str]:
    """What keeps a browser from running what somebody uploaded."""
    is_shown = content_type.partition(";")[0].strip().lower() in _SHOWN
    kind = "inline" if is_shown else "attachment"
    return {"Content-Disposition": f'{kind}; filename="{id}"'}
