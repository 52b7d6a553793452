"""Conditional delete (R4 RESTful API, "Conditional delete"): single unless the server is set to
more."""

from collections.abc import Sequence

from fhir_server.fhir.codec import encode
from fhir_server.fhir.outcome import Issue, operation_outcome, precondition_failed
from fhir_server.interactions.audited import (
    called,
    patient_of_search,
    patient_of_stored,
    write_record,
)
from fhir_server.interactions.conditions import criteria_of
from fhir_server.interactions.context import Context, FhirRequest, FhirResponse
from fhir_server.interactions.repeats import once
from fhir_server.interactions.versions import require_match
from fhir_server.interactions.write import put, tombstone
from fhir_server.storage.port import Stored, Transaction


async def conditional_delete(context: Context, request: FhirRequest) -> FhirResponse:
    """Delete what matches the criteria in the URL, if that is no more than the server deletes at
    once (412): 204 for one or none, 200 and an OperationOutcome for several."""
    query = criteria_of(context, request, limit=context.deletes_at_once + 1)

    async def unit(transaction: Transaction) -> FhirResponse:
        matches = (await transaction.find(query)).matches
        require_few(context, matches)
        if request.if_match is not None:
            require_match(request.if_match, matches[0] if len(matches) == 1 else None)
        deleted = []
        for match in matches:
            made = tombstone(context, match)
            await put(transaction, made)
            patient = patient_of_stored(context, match)
            await transaction.journal(write_record(context, made.stored, "delete", 204, patient))
            deleted.append(made.stored)
        if not deleted:
            await transaction.journal(record_of_none(context, request))
        return deleted_answer(deleted)

    return await once(context, request, unit)


def require_few(context: Context, matches: Sequence[Stored]) -> None:
    """412 when more match than are deleted at once."""
    most = context.deletes_at_once
    if len(matches) > most:
        what = "one resource is" if most == 1 else f"{most} resources are"
        text = f"more resources match than are deleted at once: at most {what}"
        raise precondition_failed(text, "multiple-matches")


def record_of_none(context: Context, request: FhirRequest) -> bytes:
    """The audit record of a deletion by criteria that nothing matched."""
    return context.audit.entry(
        interaction="delete",
        outcome="success",
        status=204,
        patient=patient_of_search(request),
        query=called(request),
    )


def deleted_answer(deleted: Sequence[Stored]) -> FhirResponse:
    """The answer to a conditional delete."""
    if len(deleted) <= 1:
        return FhirResponse(204, stored=deleted[0] if deleted else None)
    issues = [
        Issue("information", "informational", f"deleted: {each.key} version {each.version}")
        for each in deleted
    ]
    return FhirResponse(200, encode(operation_outcome(issues)))
