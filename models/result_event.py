"""The AuditEvent of an AI result or refusal (R4 AuditEvent, in the shape of IHE BALP)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fhir_server.fhir.assessment import CANONICAL
from fhir_server.fhir.codec import instant

Resource = dict[str, Any]


@dataclass(frozen=True)
class RefusedCall:
    """A call that was refused: no content of it, but what was wrong and who asked."""

    status: int
    reason: str
    authorization: str | None
    client_address: str | None


DCM = "http://dicom.nema.org/resources/ontology/DCM"
EVENTS = f"{CANONICAL}/CodeSystem/audit-event"
RESULT = {"system": EVENTS, "code": "ai-result", "display": "AI result"}
REFUSAL = {"system": EVENTS, "code": "ai-refusal", "display": "AI gave no result"}


def result_event(subtype: Resource, task: Resource, *, written: str, now: datetime) -> Resource:
    """Who (the worker's Device, the Task's owner), for whom, and what was written."""
    is_result = subtype == RESULT
    owner = task["owner"]
    entities = [{"what": {"reference": written}, **_role("2", "4", "Domain Resource")}]
    if "for" in task:
        entities.insert(0, {"what": task["for"], **_role("1", "1", "Patient")})
    return {
        "resourceType": "AuditEvent",
        "type": {"system": DCM, "code": "110100", "display": "Application Activity"},
        "subtype": [subtype],
        "action": "E",
        "recorded": instant(now),
        "outcome": "0" if is_result else "4",
        "agent": [
            {
                "type": {"coding": [{"system": DCM, "code": "110150", "display": "Application"}]},
                "who": owner,
                "requestor": True,
            }
        ],
        "source": {
            "observer": owner,
            "type": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/security-source-type",
                    "code": "4",
                    "display": "Application Server",
                }
            ],
        },
        "entity": entities,
    }


def refused_call_event(call: RefusedCall, now: datetime) -> Resource:
    """A call of `/api/diagnose` that was refused before it reached the FHIR server."""
    agent: Resource = {"requestor": True, "name": "caller of /api/diagnose"}
    if call.client_address:
        agent["network"] = {"address": call.client_address, "type": "2"}
    rest = "http://terminology.hl7.org/CodeSystem/audit-event-type"
    return {
        "resourceType": "AuditEvent",
        "type": {"system": rest, "code": "rest", "display": "RESTful Operation"},
        "subtype": [{"system": EVENTS, "code": "diagnose", "display": "Diagnose"}],
        "action": "E",
        "recorded": instant(now),
        "outcome": "4",
        "outcomeDesc": _printable(f"{call.status} {call.reason}")[:500],
        "agent": [agent],
        "source": {"observer": {"display": "MedSAGE /api/diagnose"}},
    }


def _printable(text: str) -> str:
    """What a FHIR string may hold: a reason can quote a field's name just as it was sent."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def _role(kind: str, role: str, display: str) -> Resource:
    return {
        "type": {
            "system": "http://terminology.hl7.org/CodeSystem/audit-entity-type",
            "code": kind,
        },
        "role": {
            "system": "http://terminology.hl7.org/CodeSystem/object-role",
            "code": role,
            "display": display,
        },
    }
