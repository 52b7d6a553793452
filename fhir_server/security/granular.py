"""Granular scopes (SMART 2.2 "Finer-grained resource constraints") as search expressions."""

from datetime import UTC, datetime

from fhir_server.fhir.outcome import BUSY, FhirError, forbidden
from fhir_server.search.conditional import parse_condition
from fhir_server.search.expression import EVERYTHING, Expression
from fhir_server.search.plan import Scope as Meaning
from fhir_server.search.registry import Registry
from fhir_server.security.scopes import ResourceScope
from fhir_server.security.visibility import has_links

# Only `ap` dates depend on the time of asking, and they are refused.
_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)


def scope_expression(scope: ResourceScope, type: str, registry: Registry) -> Expression:
    """What the scope's query demands of resources of `type`; EVERYTHING without a query.

    FhirError 403 names a query that this server can't honour: an unknown parameter, a chain
    (which can't be judged on one resource), or an approximate date (which would change with
    time); 503 while what it names is being indexed. Nothing is silently widened.
    """
    if not scope.query:
        return EVERYTHING
    for code, value in scope.query:
        parameter = registry.parameter(type, code)
        if parameter is not None and parameter.kind == "date" and "ap" in value:
            raise forbidden(f"Scope {scope}: a scope can't depend on the time (ap)")
    try:
        meaning = Meaning(registry, _ANY_TIME, "")
        expression = parse_condition(meaning, type, sorted(scope.query)).where
    except FhirError as refusal:
        if refusal.status == BUSY:
            raise
        raise forbidden(f"Scope {scope}: {refusal.issues[0].diagnostics}") from None
    if has_links(expression):
        raise forbidden(f"Scope {scope}: a scope can't depend on other resources (chains, _has)")
    return expression
