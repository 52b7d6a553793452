"""What each kind of audited interaction is called in an AuditEvent (R4, IHE BALP 1.1.5).

One line per interaction: type, subtype, action, the DICOM roles of client and server, and the
BALP profile that a successful event of this kind conforms to.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from fhir_server.fhir.assessment import CANONICAL


class Coding(NamedTuple):
    """A code of a system, with its display where the system gives one."""

    system: str
    code: str
    display: str | None = None

    def as_json(self) -> dict[str, str]:
        coding = {"system": self.system, "code": self.code}
        return coding if self.display is None else {**coding, "display": self.display}


AUDIT_TYPES = "http://terminology.hl7.org/CodeSystem/audit-event-type"
RESTFUL = "http://hl7.org/fhir/restful-interaction"
DICOM = "http://dicom.nema.org/resources/ontology/DCM"
PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
PROVENANCE_ROLES = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
LIFECYCLE = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
USER_AGENTS = "https://profiles.ihe.net/ITI/BALP/CodeSystem/UserAgentTypes"
IHE_EVENTS = "urn:ihe:event-type-code"
BALP = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/"
OWN_SUBTYPES = f"{CANONICAL}/CodeSystem/audit-subtype"

REST = Coding(AUDIT_TYPES, "rest", "RESTful Operation")
AUTHENTICATION = Coding(DICOM, "110114", "User Authentication")
SECURITY = Coding(DICOM, "110113", "Security Alert")
EXPORT = Coding(DICOM, "110106", "Export")
IMPORT = Coding(DICOM, "110107", "Import")
ACTIVITY = Coding(DICOM, "110100", "Application Activity")

APPLICATION = Coding(DICOM, "110150", "Application")
DESTINATION = Coding(DICOM, "110152", "Destination Role ID")
SOURCE = Coding(DICOM, "110153", "Source Role ID")
CUSTODIAN = Coding(PROVENANCE_ROLES, "custodian", "Custodian")
TOKEN_SERVER = Coding(USER_AGENTS, "AuthzOauthService")
AUTHOR = Coding(PARTICIPATION, "AUT", "author (originator)")
RECIPIENT = Coding(PARTICIPATION, "IRCP", "information recipient")


@dataclass(frozen=True)
class Kind:
    """The codes of one kind of event. `profile` is the BALP profile without a patient,
    `patient_profile` the one with; `has_query` when the search itself is the entity."""

    type: Coding
    subtype: Coding
    action: str
    client: Coding = SOURCE
    server: Coding = DESTINATION
    user: Coding = AUTHOR
    profile: str | None = None
    patient_profile: str | None = None
    has_query: bool = False


def _rest(code: str, action: str) -> Kind:
    return Kind(REST, Coding(RESTFUL, code), action)


def _reading(code: str) -> Kind:
    return replace(_rest(code, "R"), client=DESTINATION, server=SOURCE, user=RECIPIENT)


def _profiled(kind: Kind, name: str) -> Kind:
    profile, patient_profile = f"{BALP}IHE.BasicAudit.{name}", f"{BALP}IHE.BasicAudit.Patient{name}"
    return replace(kind, profile=profile, patient_profile=patient_profile)


def _search(code: str) -> Kind:
    return replace(_profiled(_rest(code, "E"), "Query"), user=RECIPIENT, has_query=True)


def _sign_in(subtype: Coding) -> Kind:
    return Kind(
        AUTHENTICATION, subtype, "E", client=APPLICATION, server=TOKEN_SERVER, user=RECIPIENT
    )


def _people(subtype: Coding) -> Kind:
    return Kind(SECURITY, subtype, "U", client=APPLICATION, server=TOKEN_SERVER)


def _lifecycle(code: str, display: str, own: str) -> Kind:
    stage = Coding(LIFECYCLE, code, display)
    return Kind(stage, Coding(OWN_SUBTYPES, own), "E", client=APPLICATION)


KINDS: Mapping[str, Kind] = {
    "read": _profiled(_reading("read"), "Read"),
    "vread": _profiled(_reading("vread"), "Read"),
    "history-instance": _reading("history-instance"),
    "history-type": _reading("history-type"),
    "history-system": _reading("history-system"),
    "capabilities": _reading("capabilities"),
    "create": _profiled(_rest("create", "C"), "Create"),
    "update": _profiled(_rest("update", "U"), "Update"),
    "patch": _profiled(_rest("patch", "U"), "Update"),
    "delete": replace(
        _profiled(_rest("delete", "D"), "Delete"), client=APPLICATION, server=CUSTODIAN
    ),
    "search-type": _search("search-type"),
    "search-system": _search("search-system"),
    "transaction": _rest("transaction", "E"),
    "batch": _rest("batch", "E"),
    "operation": _rest("operation", "E"),
    "async-status": _rest("operation", "R"),
    "async-cancel": _rest("operation", "E"),
    "login": _sign_in(Coding(DICOM, "110122", "Login")),
    "logout": _sign_in(Coding(DICOM, "110123", "Logout")),
    "launch": _sign_in(Coding(OWN_SUBTYPES, "launch")),
    "authorize": _sign_in(Coding(OWN_SUBTYPES, "authorize")),
    "choose-context": _sign_in(Coding(OWN_SUBTYPES, "choose-context")),
    "token": _sign_in(Coding(IHE_EVENTS, "ITI-71", "Get Access Token")),
    "user-create": replace(_people(Coding(OWN_SUBTYPES, "user-create")), action="C"),
    "user-roles": _people(Coding(DICOM, "110136", "Security Roles Changed")),
    "user-security": _people(Coding(DICOM, "110137", "User security Attributes Changed")),
    "session-end": _people(Coding(OWN_SUBTYPES, "session-end")),
    "consent": _people(Coding(OWN_SUBTYPES, "consent")),
    "client-registration": _sign_in(Coding(OWN_SUBTYPES, "client-registration")),
    "signing-keys": _sign_in(Coding(OWN_SUBTYPES, "signing-keys")),
    "emergency-begin": _sign_in(Coding(OWN_SUBTYPES, "emergency-begin", "Emergency access begun")),
    "emergency-end": _sign_in(Coding(OWN_SUBTYPES, "emergency-end", "Emergency access ended")),
    "backup": Kind(EXPORT, Coding(OWN_SUBTYPES, "backup"), "R"),
    "restore": Kind(IMPORT, Coding(OWN_SUBTYPES, "restore"), "C"),
    "migrate": Kind(ACTIVITY, Coding(OWN_SUBTYPES, "migrate"), "E"),
    "ai-result": _lifecycle("originate", "Originate/Retain Record Lifecycle Event", "ai-result"),
    "sign": _lifecycle("attest", "Attest Record Lifecycle Event", "sign"),
    "hand-over": _lifecycle("extract", "Extract Record Lifecycle Event", "hand-over"),
    "erase": replace(
        _lifecycle("destroy", "Destroy/Delete Record Lifecycle Event", "erase"), action="D"
    ),
    "hold": _lifecycle("hold", "Add Legal Hold Record Lifecycle Event", "hold"),
    "unhold": _lifecycle("unhold", "Remove Legal Hold Record Lifecycle Event", "unhold"),
    "print": _lifecycle("report", "Report (Output) Record Lifecycle Event", "print"),
}
