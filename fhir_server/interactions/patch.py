"""patch (R4 RESTful API, "patch"): JSON Patch and FHIRPath Patch, plain and conditional."""

import asyncio
from typing import Protocol

from fhir_server.fhir.codec import encode, parse
from fhir_server.fhir.fhirpath_patch import fhirpath_patch
from fhir_server.fhir.narrow import refuse_subsetted
from fhir_server.fhir.outcome import FhirError, business_rule, forbidden, gone, not_found
from fhir_server.fhir.patch import json_patch
from fhir_server.interactions.conditions import criteria_of, only_match
from fhir_server.interactions.context import Context, FhirRequest, FhirResponse, Resource
from fhir_server.interactions.entries import JSON_PATCH
from fhir_server.interactions.following import follow
from fhir_server.interactions.keys import type_of
from fhir_server.interactions.links import refuse_conditional_references
from fhir_server.interactions.repeats import once
from fhir_server.interactions.versions import require_match, require_none_match
from fhir_server.interactions.write import LARGE, Submission, require_valid
from fhir_server.search.expression import Query
from fhir_server.storage.port import Key, Stored, Transaction


class Patch(Protocol):
    """Changes that were read and can be made to a resource."""

    def applied(self, resource: Resource) -> Resource:
        """What becomes of the resource; FhirError 422 when they can't be made."""


async def patch(context: Context, request: FhirRequest) -> FhirResponse:
    """200 with the next version, or with the current one when nothing changes; 404 and 410 for
    what is not there; 412 when If-Match names another version, or several match the criteria;
    422 when the patch does not fit the resource or would make it invalid."""
    changes = await _read(context, request)
    query = criteria_of(context, request) if request.id is None else None

    async def unit(transaction: Transaction) -> FhirResponse:
        key = await _target(request, query, transaction)
        current = require_patchable(request, key, await transaction.get(key))
        made = patched(context, changes, current)
        submission = Submission(key, made, encode(made), "PUT")
        return await follow(context, transaction, submission, current=current, interaction="patch")

    return await once(context, request, unit)


async def _read(context: Context, request: FhirRequest) -> Patch:
    if len(request.body) < LARGE:
        return patch_of(context, request.body, request.content_type)
    return await asyncio.to_thread(patch_of, context, request.body, request.content_type)


def patch_of(context: Context, body: bytes, content_type: str | None) -> Patch:
    """The patch in a body: JSON Patch by its content type, else a Parameters resource. FhirError
    400 when it is none."""
    if content_type == JSON_PATCH:
        return json_patch(body)
    parameters = parse(body)
    require_valid(context, parameters)
    return fhirpath_patch(parameters)


async def _target(request: FhirRequest, query: Query | None, unit: Transaction) -> Key:
    if query is None:
        return Key(type_of(request), request.id or "")
    match = await only_match(unit, query)
    if match is None:
        raise not_found(f"a {query.type} that matches the criteria")
    return match.key


def require_patchable(request: FhirRequest, key: Key, current: Stored | None) -> Stored:
    """The current version, if it is there and meets the request's conditions, and the caller
    may read what it is about to patch."""
    if current is None:
        raise not_found(key)
    if current.is_deleted:
        raise gone(key)
    require_match(request.if_match, current)
    require_none_match(request.if_none_match, current)
    if not current.body:
        raise forbidden(f"To patch {key} it must be permitted to read it")
    return current


def patched(context: Context, changes: Patch, current: Stored) -> Resource:
    """The current version with the changes made, valid, whole and still itself, without
    references by search; FhirError 422."""
    made = changes.applied(parse(current.body))
    key = current.key
    if (made.get("resourceType"), made.get("id")) != key:
        raise business_rule(f"a patch can't change what {key} is: its type and its id", "id")
    try:
        require_valid(context, made)
        refuse_subsetted(made)
        refuse_conditional_references(made)
    except FhirError as refusal:
        raise FhirError(422, refusal.issues) from None
    return made
