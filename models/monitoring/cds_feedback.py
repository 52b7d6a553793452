"""Feedback on AI results in the shape of CDS Hooks 2.0 feedback, for systems that collect that.

The AI Observation is the card. A result that was changed counts as overridden: what was done is not
what was suggested. What was not assessed has no outcome there, and is left out.
"""

from collections.abc import Mapping
from typing import Any

from fhir_server.fhir.assessment import FINDINGS
from fhir_server.fhir.feedback import AI_FEEDBACK, REASONS, coded, comment_in, reasons_in
from models.fhir_client import FhirClient

Resource = dict[str, Any]

OUTCOMES: Mapping[str, str] = {
    "accept": "accepted",
    "modify": "overridden",
    "reject": "overridden",
}


async def read_feedback(fhir: FhirClient) -> list[dict[str, Any]]:
    """All feedback that has an outcome."""
    query = [("code", f"{AI_FEEDBACK['system']}|{AI_FEEDBACK['code']}"), ("_count", "200")]
    found = [cds_feedback(each) async for each in fhir.search("Observation", query)]
    return [each for each in found if each is not None]


def cds_feedback(feedback: Resource) -> dict[str, Any] | None:
    """One feedback object; None for what has no outcome in CDS Hooks. Of several reasons the
    first is the override reason, as one is all that the shape holds; the others are in words."""
    outcome = OUTCOMES.get(coded(feedback) or "")
    if outcome is None:
        return None
    card = feedback["focus"][0]["reference"].rpartition("/")[2]
    made: dict[str, Any] = {
        "card": card,
        "outcome": outcome,
        "outcomeTimestamp": feedback.get("issued", feedback.get("effectiveDateTime")),
    }
    if outcome == "accepted":
        return {**made, "acceptedSuggestions": [{"id": card}]}
    reasons = reasons_in(feedback)
    words = "; ".join([*(REASONS[each] for each in reasons[1:]), *_words(feedback)])
    override: dict[str, Any] = {}
    if reasons:
        display = REASONS[reasons[0]]
        override["reason"] = {"code": reasons[0], "system": FINDINGS, "display": display}
    if words:
        override["userComment"] = words
    return {**made, "overrideReason": override}


def _words(feedback: Resource) -> list[str]:
    comment = comment_in(feedback)
    return [comment] if comment else []
