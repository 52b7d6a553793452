"""Codes of our own findings as FHIR has them; what images say and what rules say share them."""

from typing import Any

from fhir_server.fhir.assessment import FINDINGS

RECOMMENDATION = ("recommendation", "Recommendation")


def finding(code: str, display: str) -> dict[str, Any]:
    """A code of our own findings as a CodeableConcept."""
    return {"coding": [{"system": FINDINGS, "code": code, "display": display}], "text": display}
