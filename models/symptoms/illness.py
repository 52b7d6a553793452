"""Course of the illness: fever and its pattern, fluid loss, pregnancy, body build."""

from collections.abc import Iterable

from models.symptoms import sources
from models.symptoms.facts import SymptomFacts
from models.symptoms.port import Finding, Urgency
from models.symptoms.rule import ADULT_YEARS, Limit, age_text, evidence_of, measured

FEVER_CELSIUS = 37.5


def fever_evidence(facts: SymptomFacts) -> tuple[str, ...]:
    """Fever measured (37.5 °C or more), answered or mentioned; empty when none."""
    value = facts.vitals.get("temperature")
    lines = [measured(facts, "temperature")] if value is not None and value >= FEVER_CELSIUS else []
    reported = evidence_of(facts, "fever")
    return tuple([*lines, reported] if reported else lines)


_FEVER = Limit(
    "fever",
    "Fever, or a history of it: suspected malaria until tested where malaria occurs",
    Urgency.ROUTINE,
    "IL-1 fever measured or reported",
    sources.MALARIA_DIAGNOSIS,
)
_PAROXYSM = Limit(
    "paroxysm",
    "Fever with chills and sweating: the pattern of a malarial attack",
    Urgency.ROUTINE,
    "IL-2 fever, chills and sweating together",
    sources.MALARIA_DIAGNOSIS,
)
_HIGH = Limit(
    "high-fever",
    "Body temperature of 39.5 °C or more",
    Urgency.URGENT,
    "IL-3 temperature 39.5 °C or more",
    sources.IMCI_FEVER,
)
_LONG = Limit(
    "long-fever",
    "Fever for more than seven days: needs assessment for other causes",
    Urgency.URGENT,
    "IL-4 fever for more than seven days",
    sources.IMCI_FEVER,
)


def fever(facts: SymptomFacts) -> Iterable[Finding]:
    """Fever, its height, its pattern and its length."""
    evidence = fever_evidence(facts)
    if not evidence:
        return
    yield _FEVER.finding(*evidence)
    chills, sweating = evidence_of(facts, "chills"), evidence_of(facts, "sweating")
    if chills and sweating:
        yield _PAROXYSM.finding(*evidence, chills, sweating)
    if facts.vitals.get("temperature", 0) >= 39.5:
        yield _HIGH.finding(measured(facts, "temperature"))
    if facts.days_ill is not None and facts.days_ill > 7:
        yield _LONG.finding(*evidence, f"Ill for {facts.days_ill} days")


_FLUID = Limit(
    "fluid-loss",
    "Vomiting or diarrhoea: look for dehydration",
    Urgency.ROUTINE,
    "IL-5 vomiting or diarrhoea",
    sources.IMCI_DIARRHOEA,
)
_DEHYDRATION = Limit(
    "possible-dehydration",
    "Fluid loss together with a sign of poor intake or circulation: possible severe dehydration",
    Urgency.EMERGENCY,
    "IL-6 fluid loss with inability to drink, reduced consciousness or low blood pressure",
    sources.IMCI_DIARRHOEA,
)


def fluid_loss(facts: SymptomFacts) -> Iterable[Finding]:
    """Vomiting or diarrhoea, and whether another fact makes dehydration likely."""
    losses = [line for code in ("vomiting", "diarrhoea") if (line := evidence_of(facts, code))]
    if not losses:
        return
    signs = [
        line
        for code in ("unable-to-drink", "reduced-consciousness")
        if (line := evidence_of(facts, code))
    ]
    # With an unknown age the limit of adults holds, as it does for shock: it is the careful one.
    is_child = facts.age_years is not None and facts.age_years < ADULT_YEARS
    if facts.vitals.get("systolic", 999) < (70 if is_child else 90):
        signs.append(measured(facts, "systolic"))
    yield (_DEHYDRATION if signs else _FLUID).finding(*losses, *signs)


_PREGNANCY = Limit(
    "pregnancy-fever",
    "Fever in pregnancy: higher risk of severe malaria",
    Urgency.URGENT,
    "IL-7 pregnancy with fever",
    sources.MALARIA_PREGNANCY,
)


def pregnancy(facts: SymptomFacts) -> Iterable[Finding]:
    """Fever in a pregnancy that is known, or mentioned in the text."""
    is_told = bool(facts.is_pregnant)
    # An answer counts whatever sex is recorded; a mention in a man's text is of someone else.
    if facts.is_pregnant is False or (facts.sex == "male" and not is_told):
        return
    known = "Pregnancy: yes" if is_told else evidence_of(facts, "pregnancy")
    evidence = fever_evidence(facts)
    if known and evidence:
        yield _PREGNANCY.finding(known, *evidence)


def body_mass(facts: SymptomFacts) -> Iterable[Finding]:
    """Body mass index of an adult; children need tables by sex and month, not used here."""
    bmi = facts.bmi
    if bmi is None or facts.age_years is None or facts.age_years < 18 or facts.is_pregnant:
        return
    if 18.5 <= bmi < 30:
        return
    band = "below 16" if bmi < 16 else "below 18.5" if bmi < 18.5 else "30 or more"
    urgency = Urgency.URGENT if bmi < 16 else Urgency.ROUTINE
    yield Limit(
        "body-mass", f"Body mass index {band}", urgency, f"IL-8 BMI {band}", sources.BODY_MASS
    ).finding(f"BMI {bmi:.1f} kg/m²", age_text(facts))
