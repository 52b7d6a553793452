"""Danger signs of severe malaria (WHO Guidelines for malaria) and of IMCI, asked or mentioned."""

from collections.abc import Iterable

from fhir_server.fhir.assessment import SYMPTOM_CODES
from models.symptoms import sources
from models.symptoms.facts import SymptomFacts
from models.symptoms.port import Finding, Urgency
from models.symptoms.rule import Limit, age_text, evidence_of, measured

# Answers that IMCI too counts among the general danger signs of a child under five.
_IMCI = {"convulsions", "reduced-consciousness", "unable-to-drink"}
# WHO names it for no severe malaria; IMCI does beside its general danger signs, at any age here.
_STIFF_NECK = "stiff-neck"


def reported_signs(facts: SymptomFacts) -> Iterable[Finding]:
    """Each danger sign that was answered yes or is mentioned in the text."""
    for symptom, (name, is_danger_sign) in SYMPTOM_CODES.items():
        evidence = evidence_of(facts, symptom)
        if is_danger_sign and evidence:
            is_imci = symptom in _IMCI and facts.age_years is not None and facts.age_years < 5
            source = sources.IMCI_DANGER if is_imci else sources.SEVERE_MALARIA
            if symptom == _STIFF_NECK:
                source = sources.IMCI_FEVER
            yield Limit(
                f"danger-{symptom}",
                f"Danger sign: {name.lower()}",
                Urgency.EMERGENCY,
                "DS-1 reported danger sign",
                source,
            ).finding(evidence)


_SHOCK = Limit(
    "low-blood-pressure",
    "Systolic blood pressure in the range of shock",
    Urgency.EMERGENCY,
    "DS-2 systolic pressure below 80 mmHg (adults) or 70 mmHg (children)",
    sources.SEVERE_MALARIA,
)


def shock(facts: SymptomFacts) -> Iterable[Finding]:
    """Decompensated shock: systolic pressure below 80 mmHg in adults, 70 in children. Newborns
    normally lie near 60 to 70 mmHg, so below one year the limit here is 60."""
    systolic, age = facts.vitals.get("systolic"), facts.age_years
    if systolic is None:
        return
    limit = 80 if age is None or age >= 16 else 70 if age >= 1 else 60
    if systolic < limit:
        yield _SHOCK.finding(measured(facts, "systolic"), age_text(facts))


_PULMONARY = Limit(
    "respiratory-failure",
    "Oxygen saturation below 92 % with more than 30 breaths a minute: possible pulmonary oedema",
    Urgency.EMERGENCY,
    "DS-3 saturation below 92 % and respiratory rate above 30",
    sources.SEVERE_MALARIA,
)
_HYPOXIA = Limit(
    "low-oxygen",
    "Oxygen saturation below 90 %",
    Urgency.EMERGENCY,
    "DS-4 saturation below 90 %",
    sources.IMCI_BREATHING,
)


def oxygen(facts: SymptomFacts) -> Iterable[Finding]:
    """Hypoxia, alone or with fast breathing."""
    saturation, rate = facts.vitals.get("oxygen_saturation"), facts.vitals.get("respiratory_rate")
    if saturation is None:
        return
    if saturation < 90:
        yield _HYPOXIA.finding(measured(facts, "oxygen_saturation"))
    if saturation < 92 and rate is not None and rate > 30:
        yield _PULMONARY.finding(
            measured(facts, "oxygen_saturation"), measured(facts, "respiratory_rate")
        )


_SEVERE_ANAEMIA = Limit(
    "severe-anaemia",
    "Haemoglobin in the range of severe malarial anaemia",
    Urgency.EMERGENCY,
    "DS-5 haemoglobin at most 5 g/dL (under 12 years) or below 7 g/dL",
    sources.SEVERE_MALARIA,
)
_ANAEMIA = Limit(
    "low-haemoglobin",
    "Haemoglobin below 7 g/dL",
    Urgency.URGENT,
    "DS-6 haemoglobin below 7 g/dL in a child",
    sources.ANAEMIA,
)


def anaemia(facts: SymptomFacts) -> Iterable[Finding]:
    """Severe anaemia by age; the parasite count that WHO adds is not known yet, and is not
    waited for. With an unknown age the adult limit holds: it is the more careful one."""
    hemoglobin, age = facts.vitals.get("hemoglobin"), facts.age_years
    if hemoglobin is None or hemoglobin >= 7:
        return
    is_severe = hemoglobin <= 5 if age is not None and age < 12 else True
    limit = _SEVERE_ANAEMIA if is_severe else _ANAEMIA
    yield limit.finding(measured(facts, "hemoglobin"), age_text(facts))


_COLD = Limit(
    "hypothermia",
    "Body temperature below 35 °C",
    Urgency.URGENT,
    "DS-7 temperature below 35 °C",
    sources.ETAT,
)


def cold(facts: SymptomFacts) -> Iterable[Finding]:
    """A low body temperature: serious infection can be cold."""
    temperature = facts.vitals.get("temperature")
    if temperature is not None and temperature < 35:
        yield _COLD.finding(measured(facts, "temperature"))
