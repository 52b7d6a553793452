"""The holds of AI readings on a FHIR server (their shape is `fhir_server.fhir.ai_holds`)."""

from typing import Any

from fhir_server.fhir.ai_holds import (
    EVERYWHERE,
    MODEL,
    READINGS,
    Act,
    Hold,
    HoldRefused,
    hold_entries,
    hold_in,
    key_of,
    release_entries,
    released_at,
)
from models.fhir_client import FhirClient

__all__ = [
    "EVERYWHERE",
    "MODEL",
    "READINGS",
    "Act",
    "Hold",
    "HoldRefused",
    "hold_at",
    "hold_entries",
    "hold_in",
    "holds",
    "key_of",
    "reading_at",
    "release_entries",
    "released_at",
]

Resource = dict[str, Any]


async def hold_at(fhir: FhirClient, site: str | None) -> Hold | None:
    """The hold that an analysis at this site falls under; None when it may go on."""
    wanted = ",".join(f"{READINGS}|{key_of(each)}" for each in (EVERYWHERE, site))
    async for reading in fhir.search("HealthcareService", [("identifier", wanted)]):
        found = hold_in(reading)
        if found is not None:
            return found
    return None


async def holds(fhir: FhirClient) -> list[Hold]:
    """All holds in force."""
    query = [("identifier", f"{READINGS}|"), ("active", "false")]
    found = [hold_in(each) async for each in fhir.search("HealthcareService", query)]
    return sorted((hold for hold in found if hold), key=lambda each: each.since)


async def reading_at(fhir: FhirClient, site: str | None) -> Resource | None:
    """The HealthcareService of a site's AI reading; None when it was never held."""
    query = [("identifier", f"{READINGS}|{key_of(site)}")]
    async for reading in fhir.search("HealthcareService", query):
        return reading
    return None
