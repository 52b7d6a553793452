"""What the pages of governance read: versions, comparisons, drift, holds, the training set.

All of it with the reader's own token: the guard of the server decides who sees and does what, and
each part that is refused says so by itself.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fhir_server.fhir.ai_holds import READINGS
from fhir_server.fhir.drift import DRIFT, TRAINING_SET
from fhir_server.fhir.model_versions import AI_DEVICE, COMPARISON, DEVICE_TYPES
from smart_app.fhir_client import FhirFailure, Resource
from smart_app.presenters.drift import sites_of
from smart_app.problems import Problem
from smart_app.sections import Section, section
from smart_app.visit import Visit

_PAGE = "200"
MOST_SITES = 50
REFUSALS = frozenset({400, 403, 409, 412, 422})
"""Answers to a decision that are told on its page, in the server's own words."""


def require_governance(visit: Visit) -> None:
    """Problem `not-found` unless the reader signed in from Home at our own server: a session
    launched from a chart stays in it."""
    if not visit.session.standalone or visit.session.origin is not None:
        raise Problem("not-found")


async def load_versions(visit: Visit) -> Section[Resource]:
    """The Devices of all AI systems."""
    query = {"type": f"{DEVICE_TYPES}|{AI_DEVICE}", "_count": _PAGE}
    return await section(visit.fhir.search("Device", query))


async def load_comparisons(visit: Visit, device: str) -> Section[Resource]:
    """The comparisons of a version (`Device/x`) with others."""
    query = {"measure": COMPARISON, "subject": device, "_sort": "-date"}
    found = await section(visit.fhir.search("MeasureReport", query))
    about = tuple(r for r in found.items if r.get("subject", {}).get("reference") == device)
    return Section("loaded" if about else "empty", about) if found.is_known else found


async def load_trail(visit: Visit, device: str) -> Section[Resource]:
    """The Provenances of what was decided on a version."""
    query = {"target": device, "_sort": "-recorded", "_count": "50"}
    found = await section(visit.fhir.search("Provenance", query))
    about = tuple(p for p in found.items if _is_about(p, device))
    return Section("loaded" if about else "empty", about) if found.is_known else found


async def load_progress(visit: Visit) -> Section[Resource]:
    """The reports on the candidate training set."""
    return await section(visit.fhir.search("MeasureReport", {"measure": TRAINING_SET}))


async def load_holds(visit: Visit) -> Section[Resource]:
    """The AI readings that can be held, one for each site that ever was."""
    query = {"identifier": f"{READINGS}|", "_count": _PAGE}
    return await section(visit.fhir.search("HealthcareService", query))


@dataclass(frozen=True)
class Watch:
    """What the page on drift shows: reports, readings, versions, and the names of the sites."""

    reports: Section[Resource]
    readings: Section[Resource]
    versions: Section[Resource]
    names: Mapping[str, str]


async def load_watch(visit: Visit) -> Watch:
    """Drift and holds."""
    query = {"measure": DRIFT, "_sort": "-date", "_count": _PAGE}
    reports, readings, versions = await asyncio.gather(
        section(visit.fhir.search("MeasureReport", query)), load_holds(visit), load_versions(visit)
    )
    names = await _names(visit, sites_of(reports.items, readings.items)[:MOST_SITES])
    return Watch(reports, readings, versions, names)


def parameters(*parts: tuple[str, str, Any]) -> Resource:
    """A Parameters resource of (name, type as in `valueCode`, value)."""
    listed = [{"name": name, f"value{type_}": value} for name, type_, value in parts]
    return {"resourceType": "Parameters", "parameter": listed}


def words_of(refused: FhirFailure) -> tuple[str, ...]:
    """What the server said when it refused a decision; the failure itself for any other."""
    if refused.status not in REFUSALS:
        raise refused
    return tuple(text for text, _where in refused.problems) or (str(refused),)


async def _names(visit: Visit, sites: Sequence[str]) -> dict[str, str]:
    found = await asyncio.gather(*(_name(visit, site) for site in sites))
    return {site: name for site, name in zip(sites, found, strict=True) if name}


async def _name(visit: Visit, site: str) -> str:
    try:
        return str((await visit.fhir.read_reference(site)).get("name", ""))
    except FhirFailure as failure:
        if failure.status == 0:
            raise
        return ""


def _is_about(provenance: Resource, device: str) -> bool:
    """Whether a Provenance is of the Device itself, not of what its version made."""
    targets = (str(each.get("reference", "")) for each in provenance.get("target", ()))
    return any(target.split("/_history")[0] == device for target in targets)
