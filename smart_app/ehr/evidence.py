"""The Provenance of copies (who, whence, which version, when) and the AuditEvent of a launch."""

from collections.abc import Sequence
from dataclasses import dataclass

from smart_app.auditing import CLIENTS, DCM, EVENTS, OBSERVER, patient_entity
from smart_app.ehr.copies import source_of
from smart_app.fhir_client import Resource
from smart_app.signing import PARTICIPANT

LIFECYCLE = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"


@dataclass(frozen=True)
class Retrieval:
    """One reading of a chart: from whom, by which client of theirs, for whom, when (an instant).
    `clinician` is a Reference: to our copy of them, or to a name alone."""

    issuer: str
    issuer_name: str
    client_id: str
    clinician: Resource
    when: str


def copy_provenance(
    retrieval: Retrieval, targets: Sequence[str], sources: Sequence[Resource]
) -> Resource:
    """The Provenance of copies `targets` (references), made of the resources `sources`."""
    app = {"identifier": {"system": CLIENTS, "value": retrieval.client_id}, **OBSERVER}
    record_system = {
        "identifier": {"value": retrieval.issuer},
        "display": retrieval.issuer_name,
    }
    provenance: Resource = {
        "resourceType": "Provenance",
        "target": [{"reference": target} for target in targets],
        "occurredDateTime": retrieval.when,
        "recorded": retrieval.when,
        "activity": {"coding": [{"system": LIFECYCLE, "code": "receive"}]},
        "agent": [
            {"type": _participant("assembler"), "who": app, "onBehalfOf": retrieval.clinician},
            {"type": _participant("custodian"), "who": record_system},
        ],
    }
    if sources:
        provenance["entity"] = [
            {"role": "source", "what": {"reference": source_of(retrieval.issuer, source)}}
            for source in sources
        ]
    return provenance


def launch_event(retrieval: Retrieval, patient: str) -> Resource:
    """The AuditEvent of a chart opened from another record system."""
    source = {"identifier": {"value": retrieval.issuer}, "display": retrieval.issuer_name}
    return {
        "resourceType": "AuditEvent",
        "type": {"system": DCM, "code": "110100", "display": "Application Activity"},
        "subtype": [{"system": EVENTS, "code": "ehr-launch"}],
        "action": "E",
        "recorded": retrieval.when,
        "outcome": "0",
        "agent": [{"who": retrieval.clinician, "requestor": True}],
        "source": {"observer": OBSERVER},
        "entity": [patient_entity(patient), {"what": source}],
    }


def _participant(code: str) -> Resource:
    return {"coding": [{"system": PARTICIPANT, "code": code}]}
