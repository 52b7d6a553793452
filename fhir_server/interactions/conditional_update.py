"""Conditional update (R4 RESTful API, "Conditional update")."""

from fhir_server.fhir.outcome import conflict, invalid
from fhir_server.interactions.conditions import criteria_of, only_match
from fhir_server.interactions.context import Context, FhirRequest, FhirResponse, Resource
from fhir_server.interactions.following import follow, status_of_update
from fhir_server.interactions.keys import type_of
from fhir_server.interactions.repeats import once
from fhir_server.interactions.versions import require_match
from fhir_server.interactions.write import Submission
from fhir_server.storage.port import Key, Stored, Transaction


async def conditional_update(
    context: Context, request: FhirRequest, resource: Resource
) -> FhirResponse:
    """Update the one resource that matches the criteria in the URL (400 when the body has
    another id); where none matches, create it, under the id in the body if there is one (409
    when that is taken); 412 when several match."""
    type, id = type_of(request), resource.get("id")
    query = criteria_of(context, request)
    new = Key(type, id if id is not None else context.new_id())

    async def unit(transaction: Transaction) -> FhirResponse:
        match = await only_match(transaction, query)
        key = require_target(match, type, id) or new
        current = await transaction.get(key) if match or id is not None else None
        if match is None:
            refuse_unmatched(context, request, key, current, is_given=id is not None)
        else:
            status_of_update(context, request, key, current)
        method = "POST" if match is None and id is None else "PUT"
        submission = Submission(key, resource, request.body, method)
        return await follow(context, transaction, submission, current=current, interaction="update")

    return await once(context, request, unit)


def require_target(match: Stored | None, type: str, id: str | None) -> Key | None:
    """The key of the match, None without one; 400 when the body has another id."""
    if match is None:
        return None
    if id not in (None, match.key.id):
        text = f"the criteria match {match.key}, the body has the id {id!r}"
        raise invalid(text, f"{type}.id")
    return match.key


def refuse_unmatched(
    context: Context, request: FhirRequest, key: Key, current: Stored | None, *, is_given: bool
) -> None:
    """Raise unless a conditional update that matches nothing may create under `key`: 412 when
    If-Match asks for a version, 403 or 405 where the caller or the server may not create, 409
    when a resource with the id that the body gives is there and does not match."""
    require_match(request.if_match, None)
    if not is_given:
        context.access.require(key.type, "c")
        return
    if current is not None and not current.is_deleted:
        raise conflict(f"{key} is there and does not match the criteria")
    status_of_update(context, request, key, current)
