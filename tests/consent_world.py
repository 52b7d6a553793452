"""Consents for tests, in a line each, and a ward of two patients with records of both."""

from typing import Any

from fhir_server.security.actors import CLIENTS
from fhir_server.security.consents import (
    ACT_CODES,
    ACTIONS,
    LOINC,
    PARTICIPATION,
    PURPOSES,
    RESOURCE_TYPES,
    SCOPES,
)
from fhir_server.security.labels import CONFIDENTIALITY

Json = dict[str, Any]

LABEL = {"system": CONFIDENTIALITY, "code": "R"}


def consent(patient: str = "x", base: str | None = "OPTIN", **changes: Any) -> Json:
    """An active privacy Consent of the patient; `provision` and others may be given."""
    made: Json = {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"system": SCOPES, "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": LOINC, "code": "59284-0"}]}],
        "patient": {"reference": f"Patient/{patient}"},
    }
    if base is None:
        made["policy"] = [{"uri": "https://policy.example/"}]
    else:
        made["policyRule"] = {"coding": [{"system": ACT_CODES, "code": base}]}
    return made | changes


def deny(**conditions: Any) -> Json:
    """A provision that denies."""
    return {"type": "deny", **conditions}


def permit(**conditions: Any) -> Json:
    """A provision that permits."""
    return {"type": "permit", **conditions}


def exceptions(*rules: Json) -> Json:
    """A root provision that holds the rules."""
    return {"provision": list(rules)}


def actor(reference: str) -> Json:
    """Conditions that name a recipient by reference."""
    role = {"coding": [{"system": PARTICIPATION, "code": "PRCP"}]}
    return {"actor": [{"role": role, "reference": {"reference": reference}}]}


def client(id: str) -> Json:
    """Conditions that name a client."""
    conditions = actor("")
    conditions["actor"][0]["reference"] = {"identifier": {"system": CLIENTS, "value": id}}
    return conditions


def purpose(code: str) -> Json:
    """Conditions that name a purpose of use."""
    return {"purpose": [{"system": PURPOSES, "code": code}]}


def of_type(*types: str) -> Json:
    """Conditions that name resource types."""
    return {"class": [{"system": RESOURCE_TYPES, "code": type} for type in types]}


def of_document(code: str) -> Json:
    """Conditions that name a LOINC class of documents."""
    return {"class": [{"system": LOINC, "code": code}]}


def coded(code: str) -> Json:
    """Conditions that name a LOINC code."""
    return {"code": [{"coding": [{"system": LOINC, "code": code}]}]}


def labelled(code: str, system: str = CONFIDENTIALITY) -> Json:
    """Conditions that name a security label."""
    return {"securityLabel": [{"system": system, "code": code}]}


ACCESS = {"action": [{"coding": [{"system": ACTIONS, "code": "access"}]}]}


def observation(id: str, patient: str, **changes: Any) -> Json:
    """An Observation of the patient."""
    return {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": "8867-4"}]},
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": "2026-05-01",
    } | changes


def condition(id: str, patient: str) -> Json:
    """A Condition of the patient."""
    subject = {"reference": f"Patient/{patient}"}
    return {"resourceType": "Condition", "id": id, "subject": subject}


def document(id: str, patient: str, code: str = "11506-3") -> Json:
    """A DocumentReference of the patient, with a LOINC class."""
    return {
        "resourceType": "DocumentReference",
        "id": id,
        "status": "current",
        "type": {"coding": [{"system": LOINC, "code": code}]},
        "subject": {"reference": f"Patient/{patient}"},
        "content": [{"attachment": {"contentType": "text/plain", "data": "eA=="}}],
    }


def image(id: str, about: str) -> Json:
    """A Binary whose security context is the resource."""
    return {
        "resourceType": "Binary",
        "id": id,
        "contentType": "text/plain",
        "securityContext": {"reference": about},
        "data": "eA==",
    }


RECORDS: list[Json] = [
    {"resourceType": "Patient", "id": "x", "name": [{"family": "Mensah"}]},
    {"resourceType": "Patient", "id": "y", "name": [{"family": "Okafor"}]},
    {"resourceType": "Practitioner", "id": "amina"},
    observation("ox", "x"),
    observation("oy", "y"),
    condition("cx", "x"),
    condition("cy", "y"),
    document("dx", "x"),
    document("dy", "y"),
    image("bx", "Patient/x"),
    image("bd", "DocumentReference/dx"),
    image("by", "Patient/y"),
]
