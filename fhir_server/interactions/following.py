"""The version that follows the current one: written with its audit record, or left out where it
would say the same (R4 RESTful API, "update", "Update as Create", "patch")."""

from fhir_server.fhir.outcome import error
from fhir_server.interactions.audited import patient_of_stored, patient_of_terms, write_record
from fhir_server.interactions.context import Context, FhirRequest, FhirResponse
from fhir_server.interactions.same import is_same
from fhir_server.interactions.versions import require_match, require_none_match
from fhir_server.interactions.write import Submission, draft, owned, put
from fhir_server.storage.port import Key, Stored, Transaction


def status_of_update(
    context: Context, request: FhirRequest, key: Key, current: Stored | None
) -> int:
    """201 or 200; raises when a condition fails or the caller may not create by update."""
    require_match(request.if_match, current)
    require_none_match(request.if_none_match, current)
    if current is not None and not current.is_deleted:
        return 200
    if current is None and not context.allows_update_create:
        raise error(405, "not-supported", f"{key} is not known; ids are given here")
    return 201


async def follow(
    context: Context,
    unit: Transaction,
    submission: Submission,
    *,
    current: Stored | None,
    interaction: str,
) -> FhirResponse:
    """Make `submission` the version after `current`: 201 where nothing is there now, else 200;
    where it says the same, 200 and the current version."""
    submission = owned(context, submission)
    if current is not None and is_same(current, submission.body):
        await unit.keep(current)
        patient = patient_of_stored(context, current)
        await unit.journal(write_record(context, current, interaction, 200, patient))
        return FhirResponse(200, current.body, current)
    status = 201 if current is None or current.is_deleted else 200
    made = draft(context, submission, current)
    await put(unit, made)
    patient = patient_of_terms(submission.key, made.terms)
    await unit.journal(write_record(context, made.stored, interaction, status, patient))
    return FhirResponse(status, made.stored.body, made.stored, is_created=status == 201)
