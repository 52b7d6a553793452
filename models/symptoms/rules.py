"""The rule engine: every rule of the table on the facts, the highest urgency wins."""

from fhir_server.fhir.assessment import SYMPTOM_CODES
from models.symptoms import children, danger_signs, illness
from models.symptoms.advice import recommendations
from models.symptoms.differential import possibilities
from models.symptoms.facts import SymptomFacts
from models.symptoms.illness import FEVER_CELSIUS
from models.symptoms.news2 import news2
from models.symptoms.pews import bedside_pews
from models.symptoms.port import Analysis, Urgency
from models.symptoms.rule import ADULT_YEARS, Rule, measured
from models.symptoms.travel import travel

VERSION = "1.2.0"
ORIGIN = f"MedSAGE symptom rules {VERSION}"

RULES: tuple[Rule, ...] = (
    danger_signs.reported_signs,
    danger_signs.shock,
    danger_signs.oxygen,
    danger_signs.anaemia,
    danger_signs.cold,
    news2,
    children.fast_breathing,
    children.pulse,
    children.temperature,
    bedside_pews,
    children.young_infant,
    illness.fever,
    illness.fluid_loss,
    illness.pregnancy,
    illness.body_mass,
    travel,
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
        possibilities=possibilities(facts, findings, ORIGIN),
        notes=_notes(facts),
    )


def _notes(facts: SymptomFacts) -> tuple[str, ...]:
    """What was left out, what contradicts itself, and what is missing, by name."""
    unasked = [
        name
        for code, (name, is_danger_sign) in SYMPTOM_CODES.items()
        if is_danger_sign and code not in facts.symptoms
    ]
    missing = [
        name.replace("_", " ")
        for name in ("temperature", "respiratory_rate", "heart_rate", *_ALSO_OF_CHILDREN)
        if name not in facts.vitals and (name not in _ALSO_OF_CHILDREN or _is_child(facts))
    ]
    lines = [*facts.remarks, *_contradictions(facts), *_unknown(facts)]
    if missing:
        lines.append(f"Not measured: {', '.join(missing)}.")
    if unasked:
        lines.append(f"Danger signs not asked: {', '.join(name.lower() for name in unasked)}.")
    return tuple(lines)


_ALSO_OF_CHILDREN = ("oxygen_saturation",)


def _is_child(facts: SymptomFacts) -> bool:
    return facts.age_years is not None and facts.age_years < ADULT_YEARS


def _contradictions(facts: SymptomFacts) -> list[str]:
    lines = []
    if facts.onset is not None and facts.onset > facts.observed:
        lines.append("Contradiction: the onset lies in the future; it was not used.")
    if facts.arrived and facts.left and facts.left < facts.arrived:
        lines.append("Contradiction: travel ends before it begins; please clarify.")
    if facts.sex == "male" and facts.is_pregnant:
        lines.append("Contradiction: male and pregnant; the answer was used, please clarify.")
    bmi = facts.bmi_as_given
    if bmi is not None and facts.bmi is None:
        pair = f"{measured(facts, 'weight')} and {measured(facts, 'height')}"
        text = f"{pair} give a BMI of {bmi:.0f} kg/m², which no patient can have"
        lines.append(f"Contradiction: {text}; it was not judged. Swapped? Measure again.")
    if facts.symptoms.get("fever") == "no" and facts.vitals.get("temperature", 0) >= FEVER_CELSIUS:
        lines.append("Contradiction: fever answered no, but measured; please clarify.")
    return lines


def _unknown(facts: SymptomFacts) -> list[str]:
    lines = []
    if facts.age_years is None:
        lines.append("Age unknown: scores and limits that depend on age were not applied.")
    elif facts.age_years >= ADULT_YEARS and facts.is_pregnant:
        lines.append("NEWS2 is not made for pregnancy and was not applied.")
    if facts.sex != "male" and facts.is_pregnant is None and _may_be_pregnant(facts):
        lines.append("Pregnancy unknown: ask.")
    if "travel" not in facts.history:
        lines.append("Travel in a malaria area not asked.")
    elif facts.history["travel"] == "yes" and facts.arrived is None and facts.left is None:
        lines.append("Dates of the travel unknown: incubation was not judged.")
    return lines


def _may_be_pregnant(facts: SymptomFacts) -> bool:
    return facts.age_years is None or 12 <= facts.age_years < 55


class RuleAnalyst:
    """The symptom analyst that needs no network; it always has an answer."""

    origin = ORIGIN

    async def analyse(self, facts: SymptomFacts) -> Analysis:
        """As `analyse` above; fast enough for the event loop."""
        return analyse(facts)
