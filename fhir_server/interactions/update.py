"""update (R4 RESTful API, "update", "Managing Resource Contention")."""

from fhir_server.fhir.narrow import refuse_subsetted
from fhir_server.fhir.outcome import invalid
from fhir_server.interactions.conditional_update import conditional_update
from fhir_server.interactions.content import as_binary
from fhir_server.interactions.context import Context, FhirRequest, FhirResponse, Resource
from fhir_server.interactions.following import follow, status_of_update
from fhir_server.interactions.keys import key_of
from fhir_server.interactions.links import refuse_conditional_references
from fhir_server.interactions.repeats import once
from fhir_server.interactions.write import Submission, accepted
from fhir_server.storage.port import Key, Transaction


async def update(context: Context, request: FhirRequest) -> FhirResponse:
    """200 with the next version, or with the current one when nothing changes; 201 when the id
    was free or deleted and creating is allowed; 412 when If-Match names another version. Without
    an id in the URL it is a conditional update."""
    if request.content_type is not None:
        request = await as_binary(context, request)
    resource = await accepted(context, request)
    refuse_subsetted(resource)
    refuse_conditional_references(resource)
    if request.id is None:
        return await conditional_update(context, request, resource)
    key = key_of(request)
    require_same_id(resource, key)
    submission = Submission(key, resource, request.body, "PUT")

    async def unit(transaction: Transaction) -> FhirResponse:
        current = await transaction.get(key)
        status_of_update(context, request, key, current)
        return await follow(context, transaction, submission, current=current, interaction="update")

    return await once(context, request, unit)


def require_same_id(resource: Resource, key: Key) -> None:
    """400 unless the body has the id of the URL."""
    found = resource.get("id")
    if found != key.id:
        said = "no id" if found is None else f"the id {found!r}"
        raise invalid(f"the URL says {key}, the body has {said}", f"{key.type}.id")
