"""The symptom part of a replay: what the rules say again, and what a language model had said."""

from dataclasses import dataclass
from typing import Any

from fhir_server.fhir.assessment import FINDINGS
from models.code_version import STATEMENTS_DIGEST, statements_sha256
from models.symptom_report import (
    MODEL_POSSIBILITY,
    NOTE,
    STATEMENT,
    URGENCY,
    symptom_observation,
)
from models.symptoms import rules
from models.symptoms.facts import SymptomFacts
from models.symptoms.port import Analysis
from models.symptoms.red_flags import join

Resource = dict[str, Any]

OF_A_LANGUAGE_MODEL = frozenset(
    {
        *(STATEMENT, STATEMENTS_DIGEST[0], MODEL_POSSIBILITY, NOTE),
        *("language-model", "prompt-version", "input-hash", "answer-kept"),
    }
)
"""Components that the rules may not say, but a language model, or about one."""


@dataclass(frozen=True)
class Said:
    """The statements of a language model as stored, the hash stored with them, and theirs now."""

    lines: tuple[str, ...]
    stored: str | None
    computed: str


def language_model_lines(observation: Resource) -> Said:
    """What the Observation holds of a language model."""
    by_code = [(_code(each), each) for each in observation.get("component", ())]
    lines = tuple(each["valueString"] for code, each in by_code if code == STATEMENT)
    digests = [each["valueString"] for code, each in by_code if code == STATEMENTS_DIGEST[0]]
    stored = digests[0] if digests else None
    return Said(lines, stored, f"sha256 {statements_sha256(lines)}")


def symptoms_again(
    facts: SymptomFacts, observation: Resource, *, has_language_model: bool
) -> Resource:
    """The Observation that the rules make of the facts. Where a language model had raised the
    urgency, at the urgency that was stored; it can't have been lowered."""
    by_rules = rules.analyse(facts)
    urgency = _urgency(observation)
    if has_language_model and urgency is not None and urgency > by_rules.urgency:
        raised = join(by_rules, Analysis(origin=by_rules.origin, urgency=urgency))
        return _made(raised)
    return _made(by_rules)


def without_language_model(observation: Resource, again: Resource) -> Resource:
    """The stored Observation without what the rules don't say and a language model may have:
    statements, further possibilities and notes, and its name in the method."""
    known = [_line(each) for each in again.get("component", ())]
    if not language_model_lines(observation).lines:
        kept = [each for each in observation.get("component", ()) if not _is_absence(each)]
        return {**observation, "component": kept}
    kept = [
        each
        for each in observation.get("component", ())
        if _code(each) not in OF_A_LANGUAGE_MODEL or _line(each) in known
    ]
    return {**observation, "component": kept, "method": again["method"]}


def _made(analysis: Analysis) -> Resource:
    made = symptom_observation(analysis, {}, sources=(), device="")
    return {
        **made,
        "component": [each for each in made.get("component", ()) if not _is_raise(each)],
    }


def _is_raise(component: Resource) -> bool:
    """The note that tells of a raised urgency: it names who raised it, which is not known here."""
    text: str = component.get("valueString", "")
    return text.startswith("Urgency raised to")


def _is_absence(component: Resource) -> bool:
    """The note that a language model was asked and had no result: an event, not a computation."""
    text: str = component.get("valueString", "")
    return _code(component) == NOTE and text.startswith("No result from the language model")


def _urgency(observation: Resource) -> Any:
    code = _code({"code": observation.get("valueCodeableConcept", {})})
    found = (each for each, said in URGENCY.items() if said["coding"][0]["code"] == code)
    return next(found, None)


def _line(component: Resource) -> tuple[str | None, str | None]:
    return _code(component), component.get("valueString")


def _code(resource: Resource) -> str | None:
    codings = resource.get("code", {}).get("coding", ())
    return next((str(c["code"]) for c in codings if c.get("system") == FINDINGS), None)
