"""read and vread (R4 RESTful API, "read", "vread", "Conditional read")."""

from fhir_server.fhir.narrow import narrowed, narrowing_of_read
from fhir_server.fhir.outcome import FhirError, gone, not_found
from fhir_server.interactions.content import content_of
from fhir_server.interactions.context import Context, FhirRequest, FhirResponse
from fhir_server.interactions.keys import key_of
from fhir_server.interactions.versions import etag, http_date, is_unmodified
from fhir_server.storage.port import Stored


async def read(context: Context, request: FhirRequest) -> FhirResponse:
    """The current version; 404 never was, 410 deleted, 304 when the caller has it already."""
    key = key_of(request)
    stored = await context.store.get(key)
    if stored is None:
        raise not_found(key)
    return await _answer(context, stored, request)


async def vread(context: Context, request: FhirRequest) -> FhirResponse:
    """One version, current or not; 404 when there is none, 410 when it is a deletion."""
    key = key_of(request)
    stored = await context.store.get(key, request.version)
    if stored is None:
        raise not_found(f"{key} version {request.version}")
    return await _answer(context, stored, request)


async def _answer(context: Context, stored: Stored, request: FhirRequest) -> FhirResponse:
    if stored.is_deleted:
        refusal = gone(f"{stored.key} version {stored.version}")
        headers = {"ETag": etag(stored.version), "Last-Modified": http_date(stored.updated)}
        raise FhirError(refusal.status, refusal.issues, headers)
    if request.accept is not None:
        content = await content_of(context, stored, request)
        if content is not None:
            return content
    narrowing = narrowing_of_read(request.query, stored.key.type) if request.query else None
    if is_unmodified(stored, request.if_none_match, request.if_modified_since):
        return FhirResponse(304, stored=stored)
    body = stored.body if narrowing is None else narrowed(stored.body, narrowing)
    return FhirResponse(200, body, stored)
