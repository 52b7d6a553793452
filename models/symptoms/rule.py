"""A rule: facts in, findings out; and the two ways in which a symptom can be known."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fhir_server.fhir.assessment import HISTORY_CODES, SYMPTOM_CODES, VITAL_SIGNS
from models.symptoms.facts import SymptomFacts
from models.symptoms.port import Finding, Source, Urgency
from models.symptoms.words import mentioned

Rule = Callable[[SymptomFacts], Iterable[Finding]]

ADULT_YEARS = 16  # NEWS2 is not for younger people (RCP 2017)


@dataclass(frozen=True)
class Limit:
    """What a rule says once it has fired."""

    code: str
    text: str
    urgency: Urgency
    rule: str
    source: Source

    def finding(self, *evidence: str) -> Finding:
        return Finding(self.code, self.text, self.urgency, self.rule, self.source, evidence)


def evidence_of(facts: SymptomFacts, symptom: str) -> str | None:
    """How `symptom` is known to be present, or None. An answered "no" beats a mention in text
    only when there is no mention: the two disagreeing is itself said, and counts as present."""
    answer = facts.symptoms.get(symptom) or facts.history.get(symptom)
    words = mentioned(facts.text).get(symptom)
    name = _name(symptom)
    if answer == "yes":
        return f"{name}: yes"
    if words is None:
        return None
    if answer == "no":
        return f"{name}: answered no, but mentioned in text (“{words}”); please clarify"
    return f"{name}: mentioned in text (“{words}”)"


def answered_no(facts: SymptomFacts, symptom: str) -> str | None:
    """The answer "no" as evidence, or None; a mention in the text takes its force."""
    is_no = (facts.symptoms.get(symptom) or facts.history.get(symptom)) == "no"
    return f"{_name(symptom)}: no" if is_no and evidence_of(facts, symptom) is None else None


def _name(symptom: str) -> str:
    known = SYMPTOM_CODES.get(symptom)
    return known[0] if known else HISTORY_CODES.get(symptom, symptom.replace("-", " ").capitalize())


def measured(facts: SymptomFacts, vital: str) -> str:
    """A vital sign in words, for use as evidence."""
    sign = VITAL_SIGNS[vital]
    return f"{sign.display}: {facts.vitals[vital]:g} {UNITS.get(sign.unit, sign.unit)}"


UNITS = {"Cel": "°C", "mm[Hg]": "mmHg", "/min": "per minute"}


def age_text(facts: SymptomFacts) -> str:
    """The age in words; months below two years."""
    age = facts.age_years
    if age is None:
        return "Age: unknown"
    return f"Age: {int(age * 12)} months" if age < 2 else f"Age: {int(age)} years"
