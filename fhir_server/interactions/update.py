"""update (R4 RESTful API, "update", "Update as Create", "Managing Resource Contention")."""

from fhir_server.fhir.narrow import refuse_subsetted
from fhir_server.fhir.outcome import error, invalid
from fhir_server.interactions.audited import patient_of_terms, write_record
from fhir_server.interactions.content import as_binary
from fhir_server.interactions.context import Context, FhirRequest, FhirResponse, Resource
from fhir_server.interactions.keys import key_of
from fhir_server.interactions.links import refuse_conditional_references
from fhir_server.interactions.versions import require_match, require_none_match
from fhir_server.interactions.write import Submission, accepted, draft, put
from fhir_server.storage.port import Key, Stored, Transaction


async def update(context: Context, request: FhirRequest) -> FhirResponse:
    """200 with the next version; 201 when the id was free or deleted and creating is allowed;
    412 when If-Match names another version."""
    key = key_of(request)
    if request.content_type is not None:
        request = await as_binary(context, request)
    resource = await accepted(context, request)
    require_same_id(resource, key)
    refuse_subsetted(resource)
    refuse_conditional_references(resource)
    submission = Submission(key, resource, request.body, "PUT")

    async def unit(transaction: Transaction) -> FhirResponse:
        current = await transaction.get(key)
        status = status_of_update(context, request, current)
        made = draft(context, submission, current)
        await put(transaction, made)
        patient = patient_of_terms(key, made.terms)
        await transaction.journal(write_record(context, made.stored, "update", status, patient))
        return FhirResponse(status, made.stored.body, made.stored, is_created=status == 201)

    return await context.store.transaction(unit)


def require_same_id(resource: Resource, key: Key) -> None:
    """400 unless the body has the id of the URL."""
    found = resource.get("id")
    if found != key.id:
        said = "no id" if found is None else f"the id {found!r}"
        raise invalid(f"the URL says {key}, the body has {said}", f"{key.type}.id")


def status_of_update(context: Context, request: FhirRequest, current: Stored | None) -> int:
    """201 or 200; raises when a condition fails or the caller may not create by update."""
    require_match(request.if_match, current)
    require_none_match(request.if_none_match, current)
    if current is not None and not current.is_deleted:
        return 200
    if current is None and not context.allows_update_create:
        raise error(405, "not-supported", f"{key_of(request)} is not known; ids are given here")
    return 201
