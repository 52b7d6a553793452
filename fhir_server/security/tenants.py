"""Tenants that share one store: a resource belongs to the tenant of whoever created it, by a
security label that the server alone sets (ADR 0018).

What the default tenant made bears no label, so that one who has no other tenants pays nothing.
"""

from typing import Any

from fhir_server.fhir.assessment import CANONICAL
from fhir_server.fhir.compartments import SHARED_TYPES
from fhir_server.fhir.outcome import business_rule
from fhir_server.search import terms
from fhir_server.search.expression import EVERYTHING, NOTHING, Expression, HasTerm, Not
from fhir_server.security.labels import PARAMETER, label_key, label_term
from fhir_server.security.scopes import Action

Resource = dict[str, Any]

DEFAULT = "default"
TENANTS = f"{CANONICAL}/CodeSystem/tenant"
"""The code system of the labels; a code is the tenant's name."""

DIRECTORY = frozenset(
    {
        "Endpoint", "HealthcareService", "InsurancePlan", "Location", "Medication", "Organization",
        "OrganizationAffiliation", "Practitioner", "PractitionerRole", "ResearchStudy", "Substance",
    }
)  # fmt: skip
DEFINITIONS = SHARED_TYPES - DIRECTORY
"""What is everybody's to read, and the default tenant's to write: search parameters, profiles,
value sets … People and places belong to a tenant."""


def tenant_filter(type: str, action: Action, tenant: str) -> Expression:
    """The resources of a type that a caller of the tenant may touch, where there are several."""
    is_default = tenant == DEFAULT
    if type in DEFINITIONS:
        return EVERYTHING if is_default or action in ("r", "s") else NOTHING
    if is_default:
        return Not(HasTerm(terms.key(type, PARAMETER, "|"), terms.bounded(TENANTS)))
    return HasTerm(label_key(type), label_term(tenant, TENANTS))


def in_tenant(resource: Resource, tenant: str) -> Resource:
    """The resource as one of the tenant: the same object where nothing is missing. FhirError 422
    when it says that it is another's."""
    labels = resource.get("meta", {}).get("security", ())
    given = [each.get("code") for each in labels if each.get("system") == TENANTS]
    own = [] if tenant == DEFAULT else [tenant]
    if given == own:
        return resource
    if given:
        raise business_rule(
            f"meta.security: the labels of {TENANTS} are the server's own; leave them as they are",
            f"{resource['resourceType']}.meta.security",
        )
    meta = {**resource.get("meta", {}), "security": [*labels, tenant_label(tenant)]}
    return {**resource, "meta": meta}


def tenant_of(resource: Resource) -> str:
    """Whose the resource is."""
    labels = resource.get("meta", {}).get("security", ())
    found = [each.get("code") for each in labels if each.get("system") == TENANTS]
    return str(found[0]) if found else DEFAULT


def tenant_label(tenant: str) -> dict[str, str]:
    """The Coding that says whose a resource is."""
    return {"system": TENANTS, "code": tenant}
