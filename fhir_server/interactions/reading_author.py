"""In whose name readings and feedback are written: a person writes their own, and nobody changes or
deletes another's.

Two readers who agree, and a third where they differ, say what a case teaches (ADR 0022), and
feedback can hold a site; written in any name, one person could be all of them. Services may write
them: the app does so for readers whose record system is another one.
"""

from typing import Any

from fhir_server.fhir.assessment import FINDINGS
from fhir_server.fhir.codec import parse
from fhir_server.fhir.feedback import ADJUDICATED_READING, AI_FEEDBACK, FIRST_READING
from fhir_server.fhir.outcome import forbidden
from fhir_server.security.principal import Principal
from fhir_server.storage.port import Stored

OBSERVATION = "Observation"
_CODES = (FIRST_READING, ADJUDICATED_READING, AI_FEEDBACK["code"])
_TRACES = tuple(f'"{code}"'.encode() for code in _CODES)


def require_own_reading(
    resource: dict[str, Any], current: Stored | None, writer: Principal | None
) -> None:
    """FhirError 403 when a person writes a reading in another name than their own, or changes
    another's. `writer` None is the server itself."""
    if writer is None or writer.acts_for_itself:
        return
    if _is_reading(resource) and not _is_own(resource, writer):
        raise forbidden("Readings and feedback name as performer who writes them, and nobody else")
    if current is not None:
        require_no_others_reading(current, writer)


def require_no_others_reading(current: Stored, writer: Principal) -> None:
    """FhirError 403 when a person changes or deletes what is stored of another's reading."""
    # Most Observations are none: their bodies need not be parsed to see that.
    if writer.acts_for_itself or not any(trace in current.body for trace in _TRACES):
        return
    stored = parse(current.body)
    if _is_reading(stored) and not _is_own(stored, writer):
        raise forbidden(f"{current.key} is somebody else's reading: it is theirs to change")


def _is_reading(observation: dict[str, Any]) -> bool:
    codings = observation.get("code", {}).get("coding", ())
    return any(c.get("system") == FINDINGS and c.get("code") in _CODES for c in codings)


def _is_own(observation: dict[str, Any], writer: Principal) -> bool:
    named = [each.get("reference") for each in observation.get("performer", ())]
    return named == [writer.fhir_user]
