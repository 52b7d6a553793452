"""What the pages of governance read: versions, comparisons, drift, holds, the training set.

All of it with the reader's own token: the guard of the server decides who sees and does what, and
each part that is refused says so by itself.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fhir_server.fhir.ai_holds import READINGS
from fhir_server.fhir.codec import instant
from fhir_server.fhir.drift import DRIFT, TRAINING_SET
from fhir_server.fhir.model_versions import (
    AI_DEVICE,
    COMPARISON,
    DECISION,
    DEVICE_TYPES,
    is_decision,
)
from smart_app.fhir_client import FhirFailure, Resource
from smart_app.page_by_page import Part, every, in_time
from smart_app.presenters.drift import Counted, sites_of
from smart_app.presenters.elements import show_name
from smart_app.presenters.times import show_time
from smart_app.problems import Problem
from smart_app.sections import Section, section
from smart_app.visit import Visit

_PAGE = "200"
_AT_ONCE = 20
_DRIFT = (("measure", DRIFT), ("_sort", "-date"), ("_count", _PAGE), ("_total", "accurate"))
SHOWN = timedelta(days=31)
"""Reports of drift of so many days are on one page."""
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
    """The Provenances of what was decided on a version: those that the server itself marked. What
    others write about the Device is no decision, whoever it names."""
    marked = f"{DECISION['system']}|{DECISION['code']}"
    query = {"target": device, "_tag": marked, "_sort": "-recorded", "_count": _PAGE}
    found = await section(visit.fhir.search("Provenance", query))
    about = tuple(p for p in found.items if is_decision(p) and _is_about(p, device))
    return Section("loaded" if about else "empty", about) if found.is_known else found


async def load_people(visit: Visit, references: Sequence[str]) -> Mapping[str, str]:
    """The names of these Practitioners; those that can't be read are left out."""
    ids = [each.partition("/")[2] for each in references if each.startswith("Practitioner/")]
    if not ids:
        return {}
    found = await section(visit.fhir.search("Practitioner", {"_id": ",".join(ids)}))
    return {
        f"Practitioner/{each['id']}": show_name(each["name"], family_first=False)
        for each in found.items
        if each.get("name")
    }


async def load_progress(visit: Visit) -> Section[Resource]:
    """The reports on the candidate training set."""
    return await section(visit.fhir.search("MeasureReport", {"measure": TRAINING_SET}))


async def load_holds(visit: Visit) -> Section[Resource]:
    """The AI readings that are held: all of them."""
    query = {"identifier": f"{READINGS}|", "active": "false", "_count": _PAGE}
    return await section(every(visit, "HealthcareService", query))


@dataclass(frozen=True)
class Watch:
    """What the page on drift shows: reports and which of them were read, readings, versions, and
    the names of the sites."""

    reports: Section[Resource]
    counted: Counted
    readings: Section[Resource]
    versions: Section[Resource]
    names: Mapping[str, str]


async def load_watch(visit: Visit, until: datetime | None) -> Watch:
    """Drift, as reported in SHOWN up to `until` (None: now), and holds."""
    (reports, counted), readings, versions = await asyncio.gather(
        _load_drift(visit, until), load_holds(visit), load_versions(visit)
    )
    names = await _names(visit, sites_of(reports.items, readings.items))
    return Watch(reports, counted, readings, versions, names)


async def _load_drift(visit: Visit, until: datetime | None) -> tuple[Section[Resource], Counted]:
    """The newest reports first, so that what the time is too short for are the oldest."""
    since = (until or visit.parts.clock()) - SHOWN
    dates = [("date", f"ge{instant(since)}")]
    if until is not None:
        dates.append(("date", f"le{instant(until)}"))
    parts: list[Part] = []

    async def read() -> list[Resource]:
        query = [*_DRIFT, *dates]
        parts.extend([part async for part in in_time(visit, "MeasureReport", query)])
        return [each for part in parts for each in part.matches]

    reports = await section(read())
    is_all = not parts or not parts[-1].following
    back_to = instant(since) if is_all else str(reports.items[-1]["date"])
    of = next((part.total for part in parts), None)
    return reports, Counted(len(reports.items), of, show_time(back_to), back_to, is_all)


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
    """The names of the sites; those that can't be read are left out."""
    named: dict[str, str] = {}
    for at in range(0, len(sites), _AT_ONCE):
        some = sites[at : at + _AT_ONCE]
        found = await asyncio.gather(*(_name(visit, site) for site in some))
        named |= {site: name for site, name in zip(some, found, strict=True) if name}
    return named


async def _name(visit: Visit, site: str) -> str:
    try:
        return str((await visit.fhir.read_reference(site)).get("name", ""))
    except FhirFailure as failure:
        if failure.status == 0:
            raise
        return ""


def _is_about(provenance: Resource, device: str) -> bool:
    """Whether a Provenance is of the Device itself."""
    targets = (str(each.get("reference", "")) for each in provenance.get("target", ()))
    return any(target.split("/_history")[0] == device for target in targets)
