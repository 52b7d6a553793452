"""AuditEvents that only the app can write: signatures, prints, and requests that it refused.

Signatures and prints are written as the user, in the act. A refusal often has no user, so the app
writes it in its own name (client credentials, `system/AuditEvent.c`), after the answer is sent.
"""

import logging
from collections.abc import Mapping
from datetime import datetime

import httpx

from fhir_server.fhir.assessment import CANONICAL
from smart_app.discovery import IssuerUnreachable, SmartConfiguration
from smart_app.fhir_client import FhirClient, FhirFailure, Resource
from smart_app.issuers import Issuer
from smart_app.launch.exchange import TokenRefused
from smart_app.launch.scopes import AUDIT_SCOPE
from smart_app.own_tokens import OwnTokens
from smart_app.sessions import Session
from smart_app.signing import Signer

log = logging.getLogger("medsage.app")

EVENTS = f"{CANONICAL}/CodeSystem/audit-event"
CLIENTS = f"{CANONICAL}/identifier/client"
LIFECYCLE = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
DCM = "http://dicom.nema.org/resources/ontology/DCM"
OBJECT_ROLES = "http://terminology.hl7.org/CodeSystem/object-role"
SECURITY_ALERT = {"system": DCM, "code": "110113", "display": "Security Alert"}
OBSERVER = {"display": "MedSAGE app"}
# Events of the user: local code → (lifecycle code, AuditEvent.action)
ACTIONS: Mapping[str, tuple[str, str]] = {
    "signature": ("attest", "U"),
    "print": ("report", "R"),
    "download": ("transmit", "R"),
    "report-sent": ("transmit", "R"),
    "ai-feedback": ("amend", "U"),
}


def audit_event(event: str, subject: Resource, patient: str, signer: Signer) -> Resource:
    """The AuditEvent of a signature or a print of `subject`, about the Patient with this id."""
    lifecycle, action = ACTIONS[event]
    reference = f"{subject['resourceType']}/{subject['id']}"
    who = {"reference": signer.reference, "display": signer.name}
    return {
        "resourceType": "AuditEvent",
        "type": {"system": LIFECYCLE, "code": lifecycle},
        "subtype": [{"system": EVENTS, "code": event}],
        "action": action,
        "recorded": signer.when,
        "outcome": "0",
        "agent": [{"who": who, "requestor": True}],
        "source": {"observer": OBSERVER},
        "entity": [
            patient_entity(patient),
            {"what": {"reference": reference}, "role": _role("3", "Report")},
        ],
    }


def refusal_event(
    cause: str, when: datetime, *, client_id: str, session: Session | None, address: str | None
) -> Resource:
    """The AuditEvent of a request that the app refused for `cause`. `session` is given only when
    the request was shown to belong to it."""
    agent: Resource = {
        "who": {"identifier": {"system": CLIENTS, "value": client_id}, "display": client_id},
        "requestor": True,
    }
    if session is not None and session.fhir_user:
        agent["who"] = {"reference": session.fhir_user, "display": session.user_name}
    if address:
        agent["network"] = {"address": address, "type": "2"}
    event: Resource = {
        "resourceType": "AuditEvent",
        "type": SECURITY_ALERT,
        "subtype": [{"system": EVENTS, "code": "app-refusal"}],
        "action": "E",
        "recorded": when.isoformat(timespec="milliseconds"),
        "outcome": "4",
        "outcomeDesc": cause,
        "agent": [agent],
        "source": {"observer": OBSERVER},
    }
    if session is not None and session.patient:
        event["entity"] = [patient_entity(session.patient)]
    return event


class AppAudit:
    """Writes events in the app's own name."""

    def __init__(self, http: httpx.AsyncClient, tokens: OwnTokens) -> None:
        self._http = http
        self._tokens = tokens

    async def write(
        self, issuer: Issuer, configuration: SmartConfiguration, event: Resource
    ) -> None:
        """Store the event at the issuer's FHIR server. A failure is logged: it must not keep a
        refusal from being told."""

        async def token() -> str:
            return await self._tokens.token(issuer, configuration, AUDIT_SCOPE)

        try:
            await FhirClient(self._http, issuer.fhir_base, token).create(event)
        except (FhirFailure, TokenRefused, IssuerUnreachable) as error:
            log.error("refusal not audited: %s", error, extra={"cause": event["outcomeDesc"]})


def patient_entity(patient: str) -> Resource:
    """AuditEvent.entity for the Patient with this id."""
    return {"what": {"reference": f"Patient/{patient}"}, "role": _role("1", "Patient")}


def _role(code: str, display: str) -> Resource:
    return {"system": OBJECT_ROLES, "code": code, "display": display}
