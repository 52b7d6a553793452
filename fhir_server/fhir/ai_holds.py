"""The hold of a site's AI reading, as a HealthcareService (R4): `active` false is held.

Why this type: it says when and why something is not available, everybody on the staff may read it,
and those who may write it are admins, not the clinicians whose results it holds back. Its versions
are the trail of holds and releases; a Provenance says who and from what.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fhir_server.fhir.assessment import CANONICAL
from fhir_server.fhir.codec import instant
from fhir_server.fhir.drift import MONITORING, UNNAMED

Resource = dict[str, Any]

MODEL = "malaria-cell"
"""The model whose reading is held; its key in `models.registry`."""
READINGS = f"{CANONICAL}/identifier/ai-reading"
AI_READING = {"system": MONITORING, "code": "ai-reading", "display": "AI reading of images"}
EVERYWHERE = "everywhere"
"""In the place of a site: the whole tenant."""
LONGEST_REASON = 1000


class HoldRefused(Exception):
    """A hold or a release that makes no sense; the text says why."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold in force: where, since when (an instant), and why."""

    site: str | None
    since: str
    reason: str


@dataclass(frozen=True, slots=True)
class Act:
    """Who holds or releases (a reference), when, and from what: MeasureReports or other resources
    that the Provenance names."""

    by: str
    at: datetime
    sources: tuple[str, ...] = ()


def key_of(site: str | None) -> str:
    """The business identifier of a site's AI reading."""
    return f"{MODEL}@{site or UNNAMED}"


def hold_in(reading: Resource) -> Hold | None:
    """The hold that a HealthcareService says; None when it is available."""
    if reading.get("active", True):
        return None
    last = reading["notAvailable"][-1]
    value = next(i["value"] for i in reading["identifier"] if i["system"] == READINGS)
    site = str(value).removeprefix(f"{MODEL}@")
    named = None if site == UNNAMED else site
    return Hold(named, last["during"]["start"], last["description"])


def released_at(reading: Resource | None) -> datetime | None:
    """When the last hold ended; None when there was none, or one is in force."""
    last = (reading or {}).get("notAvailable", [])[-1:]
    end = last[0]["during"].get("end") if last else None
    return None if end is None else datetime.fromisoformat(end)


def hold_entries(
    reading: Resource | None, site: str | None, reason: str, act: Act, new_uuid: Callable[[], str]
) -> list[Resource]:
    """The entries that hold a site, for a transaction; HoldRefused when it is held already."""
    text = _reason(reason)
    ended = [] if reading is None else reading.get("notAvailable", [])
    if reading is not None and not reading.get("active", True):
        raise HoldRefused(f"the AI reading at {site or UNNAMED} is held already")
    began = {"description": text, "during": {"start": instant(act.at)}}
    held = {**(reading or _reading(site)), "active": False, "notAvailable": [*ended, began]}
    return _entries(held, text, act, new_uuid)


def release_entries(
    reading: Resource | None, reason: str, act: Act, new_uuid: Callable[[], str]
) -> list[Resource]:
    """The entries that release a site; HoldRefused when it is not held, or without a reason."""
    text = _reason(reason)
    if reading is None or reading.get("active", True):
        raise HoldRefused("the AI reading there is not held")
    *before, last = reading["notAvailable"]
    ended = {**last, "during": {**last["during"], "end": instant(act.at)}}
    released = {**reading, "active": True, "comment": text, "notAvailable": [*before, ended]}
    return _entries(released, text, act, new_uuid)


def _reading(site: str | None) -> Resource:
    made: Resource = {
        "resourceType": "HealthcareService",
        "identifier": [{"system": READINGS, "value": key_of(site)}],
        "type": [{"coding": [AI_READING]}],
        "name": f"AI reading of images by {MODEL}",
    }
    if site and site.startswith("Organization/"):
        made["providedBy"] = {"reference": site}
    if site and site.startswith("Location/"):
        made["location"] = [{"reference": site}]
    return made


def _entries(
    reading: Resource, reason: str, act: Act, new_uuid: Callable[[], str]
) -> list[Resource]:
    if "id" in reading:
        url = f"HealthcareService/{reading['id']}"
        version = reading["meta"]["versionId"]
        request = {"method": "PUT", "url": url, "ifMatch": f'W/"{version}"'}
    else:
        url = f"urn:uuid:{new_uuid()}"
        value = reading["identifier"][0]["value"]
        condition = f"identifier={READINGS}|{value}"
        request = {"method": "POST", "url": "HealthcareService", "ifNoneExist": condition}
    provenance: Resource = {
        "resourceType": "Provenance",
        "target": [{"reference": url}],
        "recorded": instant(act.at),
        "reason": [{"text": reason}],
        "agent": [{"who": {"reference": act.by}}],
    }
    if act.sources:
        provenance["entity"] = [
            {"role": "source", "what": {"reference": source}} for source in act.sources
        ]
    return [
        {"fullUrl": url, "resource": reading, "request": request},
        {"resource": provenance, "request": {"method": "POST", "url": "Provenance"}},
    ]


def _reason(reason: str) -> str:
    text = " ".join(reason.split())
    if not text:
        raise HoldRefused("a hold or a release says why")
    return text[:LONGEST_REASON]
