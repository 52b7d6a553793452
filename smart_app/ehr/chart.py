"""What is read from another record system for one launch: the patient, and of the chart what the
app shows. A refusal or failure of one part leaves the others; only the patient must be readable.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from fhir_server.fhir.assessment import BLOOD_GROUP, BLOOD_PRESSURE, LOINC, VITAL_SIGNS
from smart_app.ehr.copies import is_withdrawn
from smart_app.fhir_client import FhirClient, FhirFailure, Resource
from smart_app.launch.scopes import allows
from smart_app.problems import Problem

CHART_SECONDS = 25.0
NEWEST_OF_EACH = 10
OBSERVED = (
    *(sign.loinc for sign in VITAL_SIGNS.values()),
    *(str(code["code"]) for code in (BLOOD_PRESSURE, BLOOD_GROUP)),
)
ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
"""FHIR's ids, and the longer ones with underscores that some servers give."""
_MALFORMED = (KeyError, TypeError, AttributeError, ValueError)


@dataclass(frozen=True)
class Listing:
    """What one part of the chart gave. `gap` is "forbidden" or "failed" when it gave nothing;
    `is_whole` says that nothing else of the kind is there."""

    type: str
    found: tuple[Resource, ...] = ()
    gap: str | None = None
    is_whole: bool = True


Reading = Callable[[], Awaitable[Listing]]


def id_in(value: object, type_: str) -> str | None:
    """The id of a launch context: a bare id or, from some servers, a reference; None for anything
    that could lead elsewhere."""
    text = str(value).removeprefix(f"{type_}/") if isinstance(value, str | int) else ""
    return text if ID.fullmatch(text) and text not in {".", ".."} else None


async def read_patient(ehr: FhirClient, patient: str) -> Resource:
    """The Patient of the launch; a Problem says why it can't be had."""
    try:
        found = await ehr.read("Patient", patient)
    except FhirFailure as failure:
        if failure.status == 0:
            raise Problem("ehr-unreachable") from failure
        raise Problem("no-chart", (f"Patient: {_told(failure)}",)) from failure
    if found.get("resourceType") != "Patient" or found.get("id") != patient:
        raise Problem("no-chart", ("Patient: the answer is about something else",))
    return found


async def read_chart(
    ehr: FhirClient, scope: str, patient: str, encounter: str | None
) -> Sequence[Listing]:
    """The parts of the chart that the granted `scope` lets the app read."""
    readings: dict[str, Reading] = {
        "AllergyIntolerance": lambda: _listed(ehr, "AllergyIntolerance", {"patient": patient}),
        "Observation": lambda: _observations(ehr, patient),
    }
    if encounter is not None:
        readings["Encounter"] = lambda: _encounter(ehr, encounter)
    return await asyncio.gather(*(_part(t, scope, reading) for t, reading in readings.items()))


async def _part(type_: str, scope: str, reading: Reading) -> Listing:
    action = "r" if type_ == "Encounter" else "s"
    if not allows(scope, type_, action):
        return Listing(type_, gap="forbidden", is_whole=False)
    try:
        async with asyncio.timeout(CHART_SECONDS):
            return await reading()
    except FhirFailure as failure:
        gap = "forbidden" if failure.status in {401, 403} else "failed"
        return Listing(type_, gap=gap, is_whole=False)
    except (TimeoutError, *_MALFORMED):
        return Listing(type_, gap="failed", is_whole=False)


async def _listed(ehr: FhirClient, type_: str, query: Mapping[str, str]) -> Listing:
    found, is_whole = await ehr.listing(type_, query)
    return Listing(type_, _sound(found, type_), is_whole=is_whole)


async def _observations(ehr: FhirClient, patient: str) -> Listing:
    codes = ",".join(f"{LOINC}|{code}" for code in OBSERVED)
    try:
        listing = await _listed(ehr, "Observation", {"patient": patient, "code": codes})
    except FhirFailure as failure:
        if failure.status not in {400, 422}:
            raise
        # Some servers take no list of codes.
        query = {"patient": patient, "category": "vital-signs"}
        listing = await _listed(ehr, "Observation", query)
        return Listing("Observation", listing.found, is_whole=False)
    return listing


async def _encounter(ehr: FhirClient, encounter: str) -> Listing:
    found = await ehr.read("Encounter", encounter)
    return Listing("Encounter", _sound([found], "Encounter"), is_whole=False)


def newest_of_each(observations: Sequence[Resource]) -> list[Resource]:
    """The newest Observations of each code that the app shows."""
    chosen: list[Resource] = []
    for code in OBSERVED:
        same = [o for o in observations if code in _codes(o)]
        same.sort(key=_observed, reverse=True)
        chosen += [o for o in same[:NEWEST_OF_EACH] if o not in chosen]
    return chosen


def _codes(observation: Resource) -> set[str]:
    coding = observation.get("code", {}).get("coding", ())
    return {c.get("code", "") for c in coding if c.get("system") == LOINC}


def _observed(observation: Resource) -> str:
    period = observation.get("effectivePeriod", {})
    found = (
        observation.get("effectiveDateTime")
        or observation.get("effectiveInstant")
        or period.get("end")
        or period.get("start")
        or observation.get("issued")
    )
    return str(found or "")


def _sound(found: Sequence[Resource], type_: str) -> tuple[Resource, ...]:
    return tuple(
        each
        for each in found
        if each.get("resourceType") == type_
        and id_in(each.get("id"), type_) == each["id"]
        and not is_withdrawn(each)
    )


def _told(failure: FhirFailure) -> str:
    words = "; ".join(text for text, _where in failure.problems)
    return f"{failure.status} {words}"[:300].strip()
