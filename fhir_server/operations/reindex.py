"""$reindex and $reindex-status: everything indexed anew, and how far that has come (operations of
this server)."""

from typing import Any

from fhir_server.fhir.codec import encode
from fhir_server.fhir.outcome import forbidden, unsupported
from fhir_server.indexing.definitions import Definitions, Status
from fhir_server.interactions.audited import read_record
from fhir_server.interactions.context import Context, FhirResponse
from fhir_server.operations.operation import Operation, OperationRequest
from fhir_server.operations.own import definition_url
from fhir_server.security.access import OPEN_ACCESS

ADMIN = "admin"


async def reindex(context: Context, asked: OperationRequest) -> FhirResponse:
    """200 and the status, with the indexing of everything begun anew."""
    definitions = _permitted(context)
    entry = read_record(context, asked.request, FhirResponse(200))
    return _answer(await definitions.forget(entry))


async def status(context: Context, asked: OperationRequest) -> FhirResponse:
    """200 and the status."""
    return _answer(await _permitted(context).status())


def _permitted(context: Context) -> Definitions:
    """403 for everybody but administrators who may write SearchParameters."""
    access = context.access
    if access is not OPEN_ACCESS and ADMIN not in access.principal.roles:
        raise forbidden(f"The search index is for the role {ADMIN}")
    access.require("SearchParameter", "u")
    if context.definitions is None:
        raise unsupported("the search index of this server never changes")
    return context.definitions


def _answer(found: Status) -> FhirResponse:
    parts: list[dict[str, Any]] = [
        {"name": "status", "valueCode": "whole" if found.is_whole else "indexing"},
        {"name": "percent", "valueInteger": 100 if found.is_whole else found.percent},
        *({"name": "pending", "valueUri": url} for url in found.pending),
    ]
    return FhirResponse(200, encode({"resourceType": "Parameters", "parameter": parts}))


REINDEX = Operation(
    code="reindex",
    definition=definition_url("reindex"),
    levels=frozenset({"system"}),
    affects_state=True,
    run=reindex,
)
REINDEX_STATUS = Operation(
    code="reindex-status",
    definition=definition_url("reindex-status"),
    levels=frozenset({"system"}),
    run=status,
)
