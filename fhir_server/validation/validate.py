"""Validation of one resource against base FHIR R4 4.0.1: a fast verdict and a full account.

Two roads from the same tables: a resource that its strict schema accepts is valid (tens of
microseconds); any other is walked, and the walker's account decides.
"""

from collections.abc import Iterator
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
    if not isinstance(resource, dict):
        return False
    if "contained" in resource:
        return _is_accepted(resource, with_contained=True) and _contains_well(resource)
    return _is_accepted(resource) and all(map(is_accepted_early, resources_inside(resource)))


def _is_accepted(resource: Resource, *, with_contained: bool = False) -> bool:
    name = resource.get("resourceType")
    return (
        isinstance(name, str)
        and name in resource_types()
        and accepts(name, with_contained=with_contained).is_valid(resource)
        and all(
            each.schema is not None or each.holds(resource) for each in INVARIANTS.get(name, ())
        )
    )


def _contains_well(resource: Resource) -> bool:
    """The plain case: each contained resource is valid, unique and referred to, and no
    reference leads nowhere."""
    contained = resource["contained"]
    if resources_inside(resource) or any(
        "contained" in each or "meta" in each for each in contained
    ):
        return False
    ids = [each["id"] for each in contained]
    return (
        all(_is_accepted(each, with_contained=True) for each in contained)
        and len(set(ids)) == len(ids)
        and {f"#{id}" for id in ids} == set(_local_references(resource))
    )


def _local_references(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _local_references(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            if not isinstance(each, str):
                yield from _local_references(each)
            elif key == "reference" and each.startswith("#"):
                yield each
