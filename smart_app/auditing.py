"""AuditEvents that only the app can write: signatures, prints, and requests that it refused.

Signatures and prints are written as the user, in the act. A refusal often has no user, so the app
writes it in its own name (client credentials, `system/AuditEvent.c`), after the answer is sent.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime

import httpx

from fhir_server.fhir.assessment import CANONICAL
from smart_app.discovery import IssuerUnreachable, SmartConfiguration
from smart_app.fhir_client import FhirClient, FhirFailure, Resource
from smart_app.issuers import Issuer
from smart_app.launch.exchange import TokenEndpoint, TokenRefused
from smart_app.launch.scopes import AUDIT_SCOPE
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
            _patient(patient),
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
        event["entity"] = [_patient(session.patient)]
    return event


class AppAudit:
    """Writes events in the app's own name; its token is kept until a minute before it expires."""

    def __init__(self, http: httpx.AsyncClient, clock: Callable[[], datetime]) -> None:
        self._http = http
        self._clock = clock
        self._tokens: dict[str, tuple[float, str]] = {}

    async def write(
        self, issuer: Issuer, configuration: SmartConfiguration, event: Resource
    ) -> None:
        """Store the event at the issuer's FHIR server. A failure is logged: it must not keep a
        refusal from being told."""
        endpoint = TokenEndpoint(self._http, issuer, configuration)

        async def token() -> str:
            return await self._token(endpoint)

        try:
            await FhirClient(self._http, issuer.fhir_base, token).create(event)
        except (FhirFailure, TokenRefused, IssuerUnreachable) as error:
            log.error("refusal not audited: %s", error, extra={"cause": event["outcomeDesc"]})

    async def _token(self, endpoint: TokenEndpoint) -> str:
        now = self._clock()
        expires, token = self._tokens.get(endpoint.issuer.fhir_base, (0.0, ""))
        if expires - 60 < now.timestamp():
            answer = await endpoint.by_own_credentials(AUDIT_SCOPE, now)
            token = answer["access_token"]
            expires = now.timestamp() + float(answer.get("expires_in", 300))
            self._tokens[endpoint.issuer.fhir_base] = (expires, token)
        return token


def _patient(patient: str) -> Resource:
    return {"what": {"reference": f"Patient/{patient}"}, "role": _role("1", "Patient")}


def _role(code: str, display: str) -> Resource:
    return {"system": OBJECT_ROLES, "code": code, "display": display}
