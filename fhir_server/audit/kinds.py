"""What each kind of audited interaction is called in an AuditEvent (R4, IHE BALP 1.1.5).

One line per interaction: type, subtype, action, the DICOM roles of client and server, and the
BALP profile that a successful event of this kind conforms to.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fhir_server.fhir.assessment import CANONICAL

Coding = dict[str, str]

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

REST = {"system": AUDIT_TYPES, "code": "rest", "display": "RESTful Operation"}
AUTHENTICATION = {"system": DICOM, "code": "110114", "display": "User Authentication"}

APPLICATION = {"system": DICOM, "code": "110150", "display": "Application"}
DESTINATION = {"system": DICOM, "code": "110152", "display": "Destination Role ID"}
SOURCE = {"system": DICOM, "code": "110153", "display": "Source Role ID"}
CUSTODIAN = {"system": PROVENANCE_ROLES, "code": "custodian", "display": "Custodian"}
TOKEN_SERVER = {"system": USER_AGENTS, "code": "AuthzOauthService"}
AUTHOR = {"system": PARTICIPATION, "code": "AUT", "display": "author (originator)"}
RECIPIENT = {"system": PARTICIPATION, "code": "IRCP", "display": "information recipient"}


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
    return Kind(REST, {"system": RESTFUL, "code": code}, action)


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


def _lifecycle(code: str, display: str, own: str) -> Kind:
    stage = {"system": LIFECYCLE, "code": code, "display": display}
    return Kind(stage, {"system": OWN_SUBTYPES, "code": own}, "E", client=APPLICATION)


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
    "login": _sign_in({"system": DICOM, "code": "110122", "display": "Login"}),
    "logout": _sign_in({"system": DICOM, "code": "110123", "display": "Logout"}),
    "launch": _sign_in({"system": OWN_SUBTYPES, "code": "launch"}),
    "authorize": _sign_in({"system": OWN_SUBTYPES, "code": "authorize"}),
    "token": _sign_in({"system": IHE_EVENTS, "code": "ITI-71", "display": "Get Access Token"}),
    "ai-result": _lifecycle("originate", "Originate/Retain Record Lifecycle Event", "ai-result"),
    "sign": _lifecycle("attest", "Attest Record Lifecycle Event", "sign"),
    "print": _lifecycle("report", "Report (Output) Record Lifecycle Event", "print"),
}
