"""The rule engine: every rule of the table on the facts, the highest urgency wins."""

from fhir_server.fhir.assessment import SYMPTOM_CODES
from models.symptoms import children, danger_signs, illness
from models.symptoms.advice import possibilities, recommendations
from models.symptoms.facts import SymptomFacts
from models.symptoms.news2 import news2
from models.symptoms.port import Analysis, Urgency
from models.symptoms.rule import ADULT_YEARS, Rule

VERSION = "1.0.0"
ORIGIN = f"MedSAGE symptom rules {VERSION}"

RULES: tuple[Rule, ...] = (
    danger_signs.reported_signs,
    danger_signs.shock,
    danger_signs.oxygen,
    danger_signs.anaemia,
    danger_signs.other_signs,
    news2,
    children.fast_breathing,
    children.pulse,
    children.temperature,
    illness.fever,
    illness.fluid_loss,
    illness.pregnancy,
    illness.body_mass,
)


def analyse(facts: SymptomFacts) -> Analysis:
    """Findings by falling urgency, advice, possibilities, and what could not be judged."""
    found = [finding for rule in RULES for finding in rule(facts)]
    findings = tuple(sorted(found, key=lambda finding: -finding.urgency))
    urgency = max((finding.urgency for finding in findings), default=Urgency.ROUTINE)
    return Analysis(
        origin=ORIGIN,
        urgency=urgency,
        findings=findings,
        recommendations=recommendations(findings, urgency),
        possibilities=possibilities(facts, findings),
        notes=_notes(facts),
    )


def _notes(facts: SymptomFacts) -> tuple[str, ...]:
    notes = []
    if facts.age_years is None:
        notes.append("Age unknown: scores and limits that depend on age were not applied.")
    elif facts.age_years >= ADULT_YEARS and facts.is_pregnant:
        notes.append("NEWS2 is not made for pregnancy and was not applied.")
    if facts.sex != "male" and facts.is_pregnant is None and _may_be_pregnant(facts):
        notes.append("Pregnancy unknown: ask.")
    missing = [
        name
        for name in ("temperature", "respiratory_rate", "heart_rate")
        if name not in facts.vitals
    ]
    if missing:
        names = ", ".join(name.replace("_", " ") for name in missing)
        notes.append(f"Not measured: {names}.")
    unasked = [
        name
        for code, (name, is_danger_sign) in SYMPTOM_CODES.items()
        if is_danger_sign and code not in facts.symptoms
    ]
    if unasked:
        notes.append(f"Danger signs not asked: {', '.join(name.lower() for name in unasked)}.")
    return tuple(notes)


def _may_be_pregnant(facts: SymptomFacts) -> bool:
    return facts.age_years is None or 12 <= facts.age_years < 55


class RuleAnalyst:
    """The symptom analyst that needs no network; it always has an answer."""

    origin = ORIGIN

    async def analyse(self, facts: SymptomFacts) -> Analysis:
        """As `analyse` above; fast enough for the event loop."""
        return analyse(facts)
