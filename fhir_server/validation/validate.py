"""Validation of one resource against base FHIR R4 4.0.1: a fast verdict and a full account.

Two roads from the same tables: a resource that its strict schema accepts is valid (tens of
microseconds); any other is walked, and the walker's account decides.
"""

from typing import Any

from fhir_server.fhir.definitions import resource_types
from fhir_server.fhir.outcome import Issue
from fhir_server.validation.invariants import INVARIANTS
from fhir_server.validation.schema import accepts, resources_inside
from fhir_server.validation.walker import walk

Resource = dict[str, Any]


class Validator:
    """Judges parsed resources. Schemas are compiled when their type is first seen."""

    def is_valid(self, resource: Resource) -> bool:
        """True when `issues` holds no error."""
        return is_accepted_early(resource) or not any(
            each.severity in ("error", "fatal") for each in walk(resource)
        )

    def issues(self, resource: Resource) -> tuple[Issue, ...]:
        """Every problem with its FHIRPath expression; warnings included; empty when faultless."""
        return () if is_accepted_early(resource) else walk(resource)


def is_accepted_early(resource: Any) -> bool:
    """Whether the fast road finds the resource faultless; False only means: walk it."""
    name = resource.get("resourceType") if isinstance(resource, dict) else None
    if not isinstance(name, str) or name not in resource_types():
        return False
    return (
        accepts(name).is_valid(resource)
        and all(
            each.schema is not None or each.holds(resource) for each in INVARIANTS.get(name, ())
        )
        and all(is_accepted_early(each) for each in resources_inside(resource))
    )
