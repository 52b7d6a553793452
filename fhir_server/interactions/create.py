"""create, plain and conditional (R4 RESTful API, "create", "Conditional create")."""

from fhir_server.interactions.audited import patient_of_stored, patient_of_terms, write_record
from fhir_server.interactions.conditions import criteria, only_match
from fhir_server.interactions.content import as_binary
from fhir_server.interactions.context import Context, FhirRequest, FhirResponse
from fhir_server.interactions.keys import type_of
from fhir_server.interactions.links import refuse_conditional_references
from fhir_server.interactions.repeats import once
from fhir_server.interactions.write import Submission, accepted, draft
from fhir_server.storage.port import Draft, Key, Stored, Transaction


async def create(context: Context, request: FhirRequest) -> FhirResponse:
    """201 with a new id. With If-None-Exist: 200 and the one that matches, if there is one;
    412 when several do."""
    if request.content_type is not None:
        request = await as_binary(context, request)
    resource = await accepted(context, request)
    refuse_conditional_references(resource)
    key = Key(type_of(request), context.new_id())
    made = draft(context, Submission(key, resource, request.body, "POST"), None)
    if request.if_none_exist is not None:
        return await _create_unless_found(context, request, made, request.if_none_exist)
    record = _record(context, made)

    async def unit(transaction: Transaction) -> FhirResponse:
        await transaction.put(made, 0)
        await transaction.journal(record)
        return _created(made.stored)

    return await once(context, request, unit)


async def _create_unless_found(
    context: Context, request: FhirRequest, made: Draft, text: str
) -> FhirResponse:
    query = criteria(context, made.stored.key.type, text)

    async def unit(transaction: Transaction) -> FhirResponse:
        match = await only_match(transaction, query)
        if match is not None:
            await transaction.journal(_record_found(context, match))
            return _found(context, match)
        await transaction.put(made, 0)
        await transaction.journal(_record(context, made))
        return _created(made.stored)

    return await once(context, request, unit)


def _created(stored: Stored) -> FhirResponse:
    return FhirResponse(201, stored.body, stored, is_created=True)


def _found(context: Context, stored: Stored) -> FhirResponse:
    # Without a body (Prefer: return=minimal) this is all that tells which one it is.
    location = {"Location": f"{context.base_url}/{stored.key}/_history/{stored.version}"}
    return FhirResponse(200, stored.body, stored, headers=location)


def _record(context: Context, made: Draft) -> bytes:
    patient = patient_of_terms(made.stored.key, made.terms)
    return write_record(context, made.stored, "create", 201, patient)


def _record_found(context: Context, stored: Stored) -> bytes:
    return write_record(context, stored, "create", 200, patient_of_stored(context, stored))
