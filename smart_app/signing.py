"""Signing a report: one transaction of report, finding, Provenance and AuditEvent.

The report becomes `final` only if it is still the version that the clinician saw (If-Match).
"""

import base64
from dataclasses import dataclass

from fhir_server.fhir.ai_labels import concluded_by_person
from smart_app.fhir_client import Resource

PARTICIPANT = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
COMPLETION = "http://terminology.hl7.org/CodeSystem/v3-DocumentCompletion"
SIGNATURE_TYPE = {
    "system": "urn:iso-astm:E1762-95:2013",
    "code": "1.2.840.10065.1.12.1.5",
    "display": "Verification Signature",
}


@dataclass(frozen=True)
class Signer:
    """Who signs and when (an instant): the FHIR reference of the fhirUser and the name shown."""

    reference: str
    name: str
    when: str


def final_report(
    report: Resource, signer: Signer, finding: Resource, *, conclusion: str, url: str
) -> Resource:
    """The report as it is signed: `final`, with the clinician's conclusion, and their `finding`
    (an Observation, created under `url`) added to the results and put in place of the AI's
    conclusion codes. What is left of the AI's draft stays marked as its work."""
    interpreter = {"reference": signer.reference, "display": signer.name}
    return {
        **concluded_by_person(report, conclusion, [finding["valueCodeableConcept"]]),
        "status": "final",
        "issued": signer.when,
        "resultsInterpreter": [interpreter],
        "result": [*report.get("result", ()), {"reference": url}],
    }


def signature_provenance(target: Resource, signer: Signer, jws: str) -> Resource:
    """The Provenance of a signature over `target`, of which the version seen is the source."""
    reference = f"{target['resourceType']}/{target['id']}"
    who = {"reference": signer.reference, "display": signer.name}
    seen = f"{reference}/_history/{target['meta']['versionId']}"
    return {
        "resourceType": "Provenance",
        "target": [{"reference": reference}],
        "occurredDateTime": signer.when,
        "recorded": signer.when,
        "activity": {
            "coding": [{"system": COMPLETION, "code": "LA", "display": "legally authenticated"}]
        },
        "agent": [
            {
                "type": {"coding": [{"system": PARTICIPANT, "code": "verifier"}]},
                "who": who,
            }
        ],
        "entity": [{"role": "revision", "what": {"reference": seen}}],
        "signature": [
            {
                "type": [SIGNATURE_TYPE],
                "when": signer.when,
                "who": who,
                "sigFormat": "application/jose",
                "data": base64.b64encode(jws.encode()).decode(),
            }
        ],
    }


def signed_transaction(
    report: Resource, finding: Resource, evidence: tuple[Resource, ...], *, finding_url: str
) -> Resource:
    """The Bundle that signs: the finding is created, the report updated if it is unchanged, and
    the evidence (Provenance, AuditEvent) created, all or nothing."""
    version = report["meta"]["versionId"]
    put = {
        "method": "PUT",
        "url": f"DiagnosticReport/{report['id']}",
        "ifMatch": f'W/"{version}"',
    }
    entries = [
        {
            "fullUrl": finding_url,
            "resource": finding,
            "request": {"method": "POST", "url": finding["resourceType"]},
        },
        {"resource": report, "request": put},
        *(created(resource) for resource in evidence),
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def created(resource: Resource) -> Resource:
    """A transaction entry that creates the resource."""
    kind = resource["resourceType"]
    return {"resource": resource, "request": {"method": "POST", "url": kind}}
