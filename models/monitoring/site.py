"""The site of an analysis: the Location or Organization where its images were taken.

Read once, when the Task is claimed, and noted on the Task and on what is made from it: a site that
changes its name or an Encounter that is moved later changes no figure.
"""

from typing import Any

from fhir_server.fhir.assessment import CANONICAL
from fhir_server.fhir.reference import parse_reference, relative_to
from models.fhir_client import FhirClient, FhirFailure

Resource = dict[str, Any]

SITE = f"{CANONICAL}/StructureDefinition/site"


def site_in(resource: Resource) -> str | None:
    """The site noted on a Task or a result; None when none is known."""
    return next(
        (
            str(each["valueReference"]["reference"])
            for each in resource.get("extension", ())
            if each.get("url") == SITE and "reference" in each.get("valueReference", {})
        ),
        None,
    )


def with_site(resource: Resource, site: str | None) -> Resource:
    """The resource with its site noted, in this spelling; as it is when none is known."""
    if site is None or site_in(resource) == site:
        return resource
    others = [each for each in resource.get("extension", ()) if each.get("url") != SITE]
    noted = {"url": SITE, "valueReference": {"reference": site}}
    return {**resource, "extension": [*others, noted]}


async def site_of(fhir: FhirClient, task: Resource) -> str | None:
    """The site of a Task: noted already, its location, or who provides its encounter.

    One site has one name, however it is referred to: a hold is found by it, and drift counted.
    An Encounter that can't be read names no site; other failures are FhirFailure.
    """
    named = site_in(task) or _referred(task, "location")
    if named is not None:
        return _one_name(named, fhir.base_url)
    encounter = _one_name(_referred(task, "encounter") or "", fhir.base_url) or ""
    if not encounter.startswith("Encounter/"):
        return None
    try:
        found = await fhir.read(encounter)
    except FhirFailure as failure:
        if failure.status in (403, 404, 410):
            return None
        raise
    return _one_name(_referred(found, "serviceProvider") or "", fhir.base_url)


def _referred(resource: Resource, element: str) -> str | None:
    reference = resource.get(element, {}).get("reference")
    return reference if isinstance(reference, str) else None


def _one_name(reference: str, base_url: str) -> str | None:
    """`Type/id` for a resource of this server, by its address or a version of it too; another
    server's as it stands; None for what is contained, which is nobody else's site."""
    try:
        parsed = parse_reference(relative_to(reference, base_url))
    except ValueError:
        return None
    if parsed.kind == "relative":
        return f"{parsed.type}/{parsed.id}"
    return None if parsed.kind == "contained" else reference
