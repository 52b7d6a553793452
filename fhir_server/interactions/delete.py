"""delete (R4 RESTful API, "delete"): history stays, and deleting twice is no mistake."""

from fhir_server.interactions.audited import patient_of_stored, write_record
from fhir_server.interactions.conditional_delete import conditional_delete
from fhir_server.interactions.context import Context, FhirRequest, FhirResponse
from fhir_server.interactions.keys import key_of
from fhir_server.interactions.repeats import once
from fhir_server.interactions.versions import require_match
from fhir_server.interactions.write import put, tombstone
from fhir_server.storage.port import Transaction


async def delete(context: Context, request: FhirRequest) -> FhirResponse:
    """204 with the ETag of the deletion, also when there was nothing left to delete; 412 when
    If-Match names another version. Without an id in the URL it is a conditional delete."""
    if request.id is None:
        return await conditional_delete(context, request)
    key = key_of(request)

    async def unit(transaction: Transaction) -> FhirResponse:
        current = await transaction.get(key)
        require_match(request.if_match, current)
        if current is None or current.is_deleted:
            patient = key.id if key.type == "Patient" else None
            await transaction.journal(
                context.audit.entry(
                    interaction="delete", outcome="success", status=204, key=key, patient=patient
                )
            )
            return FhirResponse(204, stored=current)
        made = tombstone(context, current)
        await put(transaction, made)
        patient = patient_of_stored(context, current)
        await transaction.journal(write_record(context, made.stored, "delete", 204, patient))
        return FhirResponse(204, stored=made.stored)

    return await once(context, request, unit)
