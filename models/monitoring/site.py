"""The site of an analysis: the Location or Organization where its images were taken.

Read once, when the Task is claimed, and noted on the Task and on what is made from it: a site that
changes its name or an Encounter that is moved later changes no figure.
"""

from typing import Any

from fhir_server.fhir.assessment import CANONICAL
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
    """The resource with its site noted; as it is when none is known or one is noted."""
    if site is None or site_in(resource) is not None:
        return resource
    noted = {"url": SITE, "valueReference": {"reference": site}}
    return {**resource, "extension": [*resource.get("extension", ()), noted]}


async def site_of(fhir: FhirClient, task: Resource) -> str | None:
    """The site of a Task: noted already, its location, or who provides its encounter.

    An Encounter that can't be read names no site; other failures are FhirFailure.
    """
    noted = site_in(task) or task.get("location", {}).get("reference")
    if isinstance(noted, str):
        return noted
    encounter = task.get("encounter", {}).get("reference", "")
    if not encounter.startswith("Encounter/"):
        return None
    try:
        found = await fhir.read(encounter)
    except FhirFailure as failure:
        if failure.status in (403, 404, 410):
            return None
        raise
    provider = found.get("serviceProvider", {}).get("reference")
    return provider if isinstance(provider, str) else None
