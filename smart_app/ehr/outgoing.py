"""A signed report as the record system is sent it: its references in that system's ids; pure.

Each resource is known there by the address that it has here, so that a second try finds the first.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fhir_server.fhir.assessment import LOINC
from smart_app.fhir_client import Resource

ADDRESSES = "urn:ietf:rfc:3986"
NOTE_CATEGORIES = "http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category"
LAB_REPORT = {"system": LOINC, "code": "11502-2", "display": "Laboratory report"}
_STAYS_HERE = frozenset({"id", "meta", "text", "identifier", "media"})


@dataclass(frozen=True)
class Destination:
    """Whose chart it goes to. `known` maps references here (`Patient/…`) to those there."""

    home: str
    known: Mapping[str, str]

    def with_sent(self, sent: Mapping[str, str]) -> "Destination":
        """The same, with what has been stored there since."""
        return Destination(self.home, {**self.known, **sent})


def address_of(home: str, reference: str) -> dict[str, str]:
    """The identifier that a resource has there: its address here."""
    return {"system": ADDRESSES, "value": f"{home.rstrip('/')}/{reference}"}


def outgoing(resource: Resource, to: Destination) -> Resource:
    """The resource as it is sent: without what only we know, with an identifier to find it by."""
    here = f"{resource['resourceType']}/{resource['id']}"
    kept = {name: value for name, value in resource.items() if name not in _STAYS_HERE}
    rewritten = _rewritten(kept, to.known)
    labels = resource.get("meta", {}).get("security")
    sent: Resource = {**rewritten, "identifier": [address_of(to.home, here)]}
    # The label that says that AI asserted it must not get lost on the way.
    return {**sent, "meta": {"security": labels}} if labels else sent


def document(report: Resource, pdf: bytes, to: Destination) -> Resource:
    """The DocumentReference with the report as a PDF."""
    here = f"DiagnosticReport/{report['id']}"
    found: Resource = {
        "resourceType": "DocumentReference",
        "identifier": [address_of(to.home, f"{here}#pdf")],
        "status": "current",
        "docStatus": "final",
        "type": {"coding": [LAB_REPORT]},
        "category": [{"coding": [{"system": NOTE_CATEGORIES, "code": "clinical-note"}]}],
        "subject": report["subject"],
        "date": report["issued"],
        "author": report.get("resultsInterpreter", []),
        "description": report["code"].get("text", "Malaria assessment"),
        "content": [
            {
                "attachment": {
                    "contentType": "application/pdf",
                    "data": base64.b64encode(pdf).decode(),
                    "title": "Malaria assessment.pdf",
                    "creation": report["issued"],
                }
            }
        ],
    }
    if "encounter" in report:
        found["context"] = {"encounter": [report["encounter"]]}
    return dict(_rewritten(found, to.known))


def _rewritten(value: Any, known: Mapping[str, str]) -> Any:
    """The value with each reference as it is there; one that means nothing there keeps its words
    alone, and an element that is empty then goes."""
    if isinstance(value, list):
        return [part for part in (_rewritten(v, known) for v in value) if part not in ({}, [])]
    if not isinstance(value, dict):
        return value
    parts = {name: _rewritten(part, known) for name, part in value.items()}
    reference = value.get("reference")
    if isinstance(reference, str) and not reference.startswith("#"):
        if reference in known:
            parts["reference"] = known[reference]
        else:
            del parts["reference"]
    return {name: part for name, part in parts.items() if part not in ({}, [])}


def results_of(report: Resource) -> Sequence[str]:
    """The references of a report's results."""
    return [each["reference"] for each in report.get("result", ()) if "reference" in each]
