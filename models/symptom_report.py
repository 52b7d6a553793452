"""A symptom analysis → its Observation and its sentences, each part saying where it came from.

Each component carries the extension `line-origin` (a rule or a language model); a possibility
carries one extension `evidence` for each line for and against it, whose origin is the rule that
found it or the person who entered the fact. What a person concludes is an Observation of its own.
"""

from collections.abc import Iterable
from typing import Any

from fhir_server.fhir.assessment import CANONICAL, FINDINGS
from models.ai_systems import tagged
from models.code_version import STATEMENTS_DIGEST, statements_sha256
from models.findings import RECOMMENDATION, finding
from models.symptoms.port import (
    Analysis,
    Evidence,
    Finding,
    ModelUse,
    Possibility,
    Statement,
    Urgency,
)

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
POSSIBILITY, MODEL_POSSIBILITY = "possibility", "language-model-possibility"
ORIGINS = f"{CANONICAL}/CodeSystem/line-origin"
LINE_ORIGIN = f"{CANONICAL}/StructureDefinition/line-origin"
EVIDENCE = f"{CANONICAL}/StructureDefinition/evidence"
BY_RULE, BY_MODEL, BY_PERSON = "rule", "language-model", "person"


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
        *(
            _named(f"rule-{item.code}", item.text, finding_line(item), BY_RULE)
            for item in analysis.findings
        ),
        *(_possibility(item) for item in analysis.possibilities),
        *(
            _line(STATEMENT, "By a language model", _statement_line(item), BY_MODEL)
            for item in analysis.statements
        ),
        *(_line(*RECOMMENDATION, text, BY_RULE) for text in analysis.recommendations),
        *(_line(NOTE, "Note", text, BY_RULE) for text in analysis.notes),
        *(_use(analysis.model_use) if analysis.model_use else ()),
        *_digest(analysis),
    ]


def _digest(analysis: Analysis) -> Iterable[Resource]:
    """What can't be computed again is told by its hash: a change of it later shows."""
    lines = [_statement_line(item) for item in analysis.statements]
    if lines:
        yield _line(*STATEMENTS_DIGEST, f"sha256 {statements_sha256(lines)}", BY_MODEL)


def _statement_line(item: Statement) -> str:
    return f"{item.text} [{'; '.join(item.facts)}]"


def _use(use: ModelUse) -> list[Resource]:
    """Which model was asked what, so that an answer can be traced to the words that led to it."""
    lines = (
        ("language-model", "Language model", use.model),
        (
            "prompt-version",
            "Prompt and schema",
            f"prompt {use.prompt_version}, schema {use.schema_version}, sha256 {use.prompt_sha256}",
        ),
        ("input-hash", "Input of the language model", f"sha256 {use.input_sha256}"),
        *((("answer-kept", "Answer kept from before", "yes"),) if use.is_cached else ()),
    )
    return [_line(code, display, text, BY_MODEL) for code, display, text in lines]


def _possibility(item: Possibility) -> Resource:
    """A condition with each line of its evidence, for readers of text and for programs."""
    code, origin = (POSSIBILITY, BY_RULE) if item.rule else (MODEL_POSSIBILITY, BY_MODEL)
    component = _named(code, item.name, _possibility_line(item), origin)
    component["extension"] += [_evidence("for", each) for each in item.evidence_for]
    component["extension"] += [_evidence("against", each) for each in item.evidence_against]
    return component


def _evidence(direction: str, line: Evidence) -> Resource:
    parts = [
        {"url": "direction", "valueCode": direction},
        {"url": "text", "valueString": line.text},
        {"url": "origin", "valueCoding": _origin(BY_RULE if line.rule else BY_PERSON)},
        *([{"url": "rule", "valueString": line.rule}] if line.rule else ()),
    ]
    return {"url": EVIDENCE, "extension": parts}


def _origin(code: str) -> Resource:
    return {"system": ORIGINS, "code": code}


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
    favour = ", ".join(map(str, item.evidence_for)) or "nothing entered"
    against = ", ".join(map(str, item.evidence_against))
    cited = f"Rule {item.rule}; {item.source}" if item.rule else f"By {item.origin}"
    return f"{item.name}. For: {favour}{f'; against: {against}' if against else ''}. {cited}."


def _line(code: str, display: str, text: str, origin: str) -> Resource:
    return {
        "extension": [{"url": LINE_ORIGIN, "valueCoding": _origin(origin)}],
        "code": finding(code, display),
        "valueString": text,
    }


def _named(code: str, name: str, text: str, origin: str) -> Resource:
    """A line whose name is its own ("NEWS2 7", "Malaria"), so it is no display of the code."""
    return {
        "extension": [{"url": LINE_ORIGIN, "valueCoding": _origin(origin)}],
        "code": {"coding": [{"system": FINDINGS, "code": code}], "text": name},
        "valueString": text,
    }
