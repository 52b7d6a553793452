"""Granular scopes (SMART 2.2 "Finer-grained resource constraints") as search expressions."""

from datetime import UTC, datetime

from fhir_server.fhir.outcome import BUSY, FhirError, forbidden
from fhir_server.search.conditional import parse_condition
from fhir_server.search.expression import EVERYTHING, Expression
from fhir_server.search.plan import Scope as Meaning
from fhir_server.search.registry import Registry
from fhir_server.security.scopes import ResourceScope
from fhir_server.security.visibility import has_links

# What means the same at three moments means the same at any: only one of them can be as far from
# a date as another.
_MOMENTS = tuple(datetime(year, 1, 1, tzinfo=UTC) for year in (2000, 2030, 2090))


def scope_expression(scope: ResourceScope, type: str, registry: Registry) -> Expression:
    """What the scope's query demands of resources of `type`; EVERYTHING without a query.

    FhirError 403 names a query that this server can't honour: an unknown parameter, a chain
    (which can't be judged on one resource), or an approximate date or an age (which would change
    with time); 503 while what it names is being indexed. Nothing is silently widened.
    """
    if not scope.query:
        return EVERYTHING
    query = sorted(scope.query)
    try:
        meanings = [Meaning(registry, moment, "") for moment in _MOMENTS]
        expression, *others = [parse_condition(each, type, query).where for each in meanings]
    except FhirError as refusal:
        if refusal.status == BUSY:
            raise
        raise forbidden(f"Scope {scope}: {refusal.issues[0].diagnostics}") from None
    if any(other != expression for other in others):
        raise forbidden(f"Scope {scope}: a scope can't depend on the time (ap, age)")
    if has_links(expression):
        raise forbidden(f"Scope {scope}: a scope can't depend on other resources (chains, _has)")
    return expression
