"""The FHIR shapes of what a clinician says about an AI result, shared by the app, which writes it,
and by the models' monitoring, which counts it.

Feedback is an Observation of its own, one for each report and clinician: `focus` is the AI
Observation, `derivedFrom` the very version that was judged, the value one of AGREEMENTS, a
component for each reason. It is amended by a new version and never changes the AI's own resource.
"""

from collections.abc import Mapping
from typing import Any

from fhir_server.fhir.assessment import CANONICAL, FINDINGS

Resource = dict[str, Any]

AI_FEEDBACK = {"system": FINDINGS, "code": "ai-feedback", "display": "Feedback on an AI result"}
REASON = {"system": FINDINGS, "code": "feedback-reason", "display": "Reason of the feedback"}
COMMENT = {"system": FINDINGS, "code": "feedback-comment", "display": "Feedback in words"}
FEEDBACK_OF_REPORT = f"{CANONICAL}/identifier/feedback-of-report"

# Observations by clinicians about a report's images
FIRST_READING = "first-reading"
ADJUDICATED_READING = "adjudicated-reading"

AGREEMENTS: Mapping[str, str] = {
    "accept": "Accept",
    "modify": "Accept with changes",
    "reject": "Reject",
    "not-assessed": "Not assessed",
}
NEEDS_A_REASON = frozenset({"modify", "reject"})
REASONS: Mapping[str, str] = {
    "wrong-finding": "Wrong finding",
    "missed-finding": "Missed finding",
    "wrong-species": "Wrong species",
    "artefact": "Artefact or stain",
    "wrong-slide": "Wrong patient or slide",
    "poor-image": "Poor image",
    "other-reason": "Other",
}


def coded(feedback: Resource) -> str | None:
    """Which of AGREEMENTS an Observation of feedback says; None when it says none of them."""
    return next((c for c in _codes(feedback.get("valueCodeableConcept")) if c in AGREEMENTS), None)


def reasons_in(feedback: Resource) -> tuple[str, ...]:
    """The reasons it gives, in the order of REASONS."""
    given = {
        code
        for component in feedback.get("component", ())
        if REASON["code"] in _codes(component.get("code"))
        for code in _codes(component.get("valueCodeableConcept"))
    }
    return tuple(reason for reason in REASONS if reason in given)


def comment_in(feedback: Resource) -> str:
    """What it says in words; empty when nothing."""
    return next(
        (
            str(component["valueString"])
            for component in feedback.get("component", ())
            if COMMENT["code"] in _codes(component.get("code")) and "valueString" in component
        ),
        "",
    )


def _codes(concept: Resource | None) -> list[str]:
    codings = (concept or {}).get("coding", ())
    return [each["code"] for each in codings if each.get("system") == FINDINGS and "code" in each]
