"""Criteria in a request: in its URL, in If-None-Exist, and in conditional references (R4 RESTful
API, "Conditional create", "Conditional update" …; Transaction processing rules)."""

import hashlib
from collections.abc import Mapping

from fhir_server.fhir.codec import SEPARATOR
from fhir_server.fhir.outcome import bad_parameter, precondition_failed
from fhir_server.interactions.context import Context, FhirRequest
from fhir_server.interactions.keys import type_of
from fhir_server.search.conditional import ENOUGH, parse_condition
from fhir_server.search.expression import AllOf, Expression, Query
from fhir_server.search.plan import Scope
from fhir_server.storage.port import Stored, Transaction

UNDERSTOOD: Mapping[str, frozenset[str]] = {
    "create": frozenset({"if_none_exist"}),
    "update": frozenset({"if_match", "if_none_match"}),
    "patch": frozenset({"if_match", "if_none_match"}),
    "delete": frozenset({"if_match"}),
    "read": frozenset({"if_none_match", "if_modified_since"}),
    "vread": frozenset({"if_none_match", "if_modified_since"}),
}
"""The conditions that each interaction honours. Of the others, the two that only save a transfer
may be ignored (RFC 9110); a condition on a write may not."""

_HEADERS = {"if_match": "If-Match", "if_none_exist": "If-None-Exist"}


def require_understood(request: FhirRequest) -> None:
    """400 when the request carries a condition that its interaction would have to ignore."""
    honoured = UNDERSTOOD.get(request.interaction, frozenset())
    for name, header in _HEADERS.items():
        if getattr(request, name) is not None and name not in honoured:
            raise bad_parameter(f"{header} has no meaning for {request.interaction}")


def criteria(context: Context, type: str, text: str) -> Query:
    """The query for `text`, with or without `Type?` in front. 400 when it names an unknown
    parameter; 412 when it is empty; 403 when the caller may not search the type, since the
    answer would tell what a search tells."""
    context.access.require(type, "s")
    require_no_separator(text)
    return parse_condition(Scope(context.registry, context.clock(), context.base_url), type, text)


def criteria_of(context: Context, request: FhirRequest, *, limit: int = ENOUGH) -> Query:
    """The query for the criteria in the URL of a conditional interaction, with the refusals of
    `criteria`."""
    type = type_of(request)
    context.access.require(type, "s")
    scope = Scope(context.registry, context.clock(), context.base_url)
    return parse_condition(scope, type, request.query, limit=limit)


async def only_match(unit: Transaction, query: Query) -> Stored | None:
    """The one resource that matches; None when nothing does, and then nobody else who asks the
    same can create one before this unit has ended. 412 when several match."""
    matches = (await unit.find(query)).matches
    if not matches:
        # Only where nothing is there yet must two at once be kept apart.
        await unit.reserve(reservation(query))
        matches = (await unit.find(query)).matches
    if len(matches) > 1:
        raise precondition_failed("several resources match the criteria", "multiple-matches")
    return matches[0] if matches else None


def require_no_separator(query: str) -> None:
    """400 when an encoded query has U+001F, with which terms are built: a value that has it
    could reach over the border of its own."""
    if SEPARATOR in query or "%1f" in query.lower():
        raise bad_parameter("the control character U+001F is not allowed in a search")


def reservation(query: Query) -> str:
    """The name under which everyone who creates by the same criteria meets."""
    digest = hashlib.sha256(_canonical(query.where).encode()).hexdigest()
    return f"{query.type}?{digest}"


def _canonical(where: Expression) -> str:
    if isinstance(where, AllOf):
        return "&".join(sorted(map(repr, where.tests)))
    return repr(where)
