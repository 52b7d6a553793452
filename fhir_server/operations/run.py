"""One operation from its URL to its answer: permitted, its parameters checked, run, recorded."""

from fhir_server.fhir.outcome import not_found, unsupported
from fhir_server.interactions.audited import read_record
from fhir_server.interactions.context import Context, FhirRequest, FhirResponse
from fhir_server.operations.operation import Operation
from fhir_server.operations.parameters import operation_request
from fhir_server.operations.registry import level_of, operation_at


async def run_operation(context: Context, request: FhirRequest) -> FhirResponse:
    """Call the operation that the request names; what stops it is raised as FhirError."""
    operation = _operation(request)
    if context.is_in_transaction and (operation.affects_state or operation.rehearses):
        raise unsupported(f"${operation.code} inside a transaction; use a batch")
    for action in operation.actions:
        if request.type is not None:
            context.access.require(request.type, action)
    response = await operation.run(context, operation_request(context, operation, request))
    if not operation.affects_state:
        record = read_record(context, request, response)
        await context.store.note(record)
    return response


def _operation(request: FhirRequest) -> Operation:
    found = operation_at(request.operation or "", level_of(request), request.type)
    if found is None:
        raise not_found(f"the operation ${request.operation}")
    return found
