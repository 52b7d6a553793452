"""Named queries (R4 Search, "Advanced Search", `_query`): an operation called as a search."""

from dataclasses import replace

from fhir_server.fhir.outcome import bad_parameter
from fhir_server.interactions.context import Context, FhirRequest, FhirResponse
from fhir_server.interactions.search import search_type
from fhir_server.operations.lastn import LASTN
from fhir_server.operations.operation import Operation
from fhir_server.operations.own import definition_url
from fhir_server.operations.parameters import operation_request

QUERIES: tuple[Operation, ...] = (replace(LASTN, definition=definition_url("query-lastn")),)
"""Operations on a type that change nothing and answer with a searchset."""


async def search_or_query(context: Context, request: FhirRequest) -> FhirResponse:
    """A search on a type: with the `_query` of the type that it names, else an ordinary one,
    which says of any other `_query` that it is not known."""
    operation = _query(request)
    if operation is None or request.type is None:
        return await search_type(context, request)
    if request.body:
        raise bad_parameter("a search takes its parameters from the URL or a form, not a resource")
    for action in operation.actions:
        context.access.require(request.type, action)
    rest = tuple(pair for pair in request.query if pair[0] != "_query")
    call = replace(request, query=rest)
    return await operation.run(context, operation_request(context, operation, call))


def _query(request: FhirRequest) -> Operation | None:
    names = [value for name, value in request.query if name == "_query"]
    if len(names) != 1 or request.compartment is not None:
        return None
    known = (each for each in QUERIES if each.is_at("type", request.type))
    return next((each for each in known if each.code == names[0]), None)
