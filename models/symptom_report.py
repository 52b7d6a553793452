"""A symptom analysis → its Observation and its sentences, each part saying where it came from."""

from collections.abc import Iterable
from typing import Any

from fhir_server.fhir.assessment import FINDINGS
from models.ai_systems import tagged
from models.code_version import STATEMENTS_DIGEST, statements_sha256
from models.smear_report import RECOMMENDATION, finding
from models.symptoms.port import Analysis, Finding, Possibility, Urgency

Resource = dict[str, Any]

SYMPTOMS = {
    "system": FINDINGS,
    "code": "symptom-analysis-ai",
    "display": "Analysis of symptoms and vital signs, AI",
}
URGENCY = {
    Urgency.EMERGENCY: finding("emergency", "Emergency: danger signs, act now"),
    Urgency.URGENT: finding("urgent", "Urgent: see a clinician today"),
    Urgency.ROUTINE: finding("routine", "No danger sign in what was entered"),
}
STATEMENT, NOTE = "language-model-statement", "note"


def symptom_observation(
    analysis: Analysis, about: Resource, *, sources: Iterable[str], device: str
) -> Resource:
    """The AI's Observation: urgency as its value, one component for each line. A component's code
    says what the line is: a rule's finding, a recommendation, a statement of a language model."""
    derived = [{"reference": source} for source in sources]
    observation = {
        "resourceType": "Observation",
        "status": "preliminary",
        "category": [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/observation-category",
                        "code": "exam",
                    }
                ]
            }
        ],
        "code": {"coding": [SYMPTOMS]},
        **about,
        "valueCodeableConcept": URGENCY[analysis.urgency],
        "method": {"text": analysis.origin},
        "device": {"reference": device},
        **({"derivedFrom": derived} if derived else {}),
        "component": _components(analysis),
    }
    return tagged(observation)


def _components(analysis: Analysis) -> list[Resource]:
    return [
        *(_named(f"rule-{item.code}", item.text, finding_line(item)) for item in analysis.findings),
        *(
            _named("possibility", item.name, _possibility_line(item))
            for item in analysis.possibilities
        ),
        *(
            _line(STATEMENT, "By a language model", f"{item.text} [{'; '.join(item.facts)}]")
            for item in analysis.statements
        ),
        *(_line(*RECOMMENDATION, text) for text in analysis.recommendations),
        *(_line(NOTE, "Note", text) for text in analysis.notes),
        *_digest(analysis),
    ]


def _digest(analysis: Analysis) -> Iterable[Resource]:
    """What can't be computed again is told by its hash: a change of it later shows."""
    lines = [f"{item.text} [{'; '.join(item.facts)}]" for item in analysis.statements]
    if lines:
        yield _line(*STATEMENTS_DIGEST, f"sha256 {statements_sha256(lines)}")


def symptom_lines(analysis: Analysis) -> list[str]:
    """The analysis in sentences for a conclusion: urgency first, then each finding by its rule."""
    return [
        f"Urgency: {analysis.urgency.code}.",
        *(f"{finding_line(item)}." for item in analysis.findings),
        *(f"By a language model: {item.text}" for item in analysis.statements),
        *analysis.recommendations,
        *analysis.notes,
    ]


def finding_line(item: Finding) -> str:
    """One finding with the facts behind it, its rule and its source."""
    return f"{item.text} ({'; '.join(item.evidence)}; rule {item.rule}; {item.source})"


def _possibility_line(item: Possibility) -> str:
    against = f"; against: {', '.join(item.evidence_against)}" if item.evidence_against else ""
    favour = ", ".join(item.evidence_for) or "fever"
    return f"{item.name}. For: {favour}{against}. By {item.origin}."


def _line(code: str, display: str, text: str) -> Resource:
    return {"code": finding(code, display), "valueString": text}


def _named(code: str, name: str, text: str) -> Resource:
    """A line whose name is its own ("NEWS2 7", "Malaria"), so it is no display of the code."""
    return {
        "code": {"coding": [{"system": FINDINGS, "code": code}], "text": name},
        "valueString": text,
    }
