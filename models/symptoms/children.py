"""Age-dependent limits for people under 16 (WHO IMCI 2014, WHO ETAT 2016, published ranges)."""

from collections.abc import Iterable

from fhir_server.fhir.assessment import SYMPTOM_CODES
from models.symptoms import sources
from models.symptoms.facts import SymptomFacts
from models.symptoms.port import Finding, Source, Urgency
from models.symptoms.rule import ADULT_YEARS, Limit, age_text, evidence_of, measured

TWO_MONTHS = 2 / 12

# (age in years below which the limit holds, breaths a minute that are fast, source)
FAST_BREATHING: tuple[tuple[float, float, Source], ...] = (
    (TWO_MONTHS, 60, sources.IMCI_YOUNG_INFANT),
    (1, 50, sources.IMCI_BREATHING),
    (5, 40, sources.IMCI_BREATHING),
    (ADULT_YEARS, 30, sources.BREATHING_LIMITS),
)
# (age in years below which the range holds, slowest, fastest pulse)
PULSE: tuple[tuple[float, float, float], ...] = (
    (1, 110, 160),
    (2, 100, 150),
    (5, 95, 140),
    (12, 80, 120),
    (ADULT_YEARS, 60, 100),
)


def fast_breathing(facts: SymptomFacts) -> Iterable[Finding]:
    """Breathing at or above the limit of the child's age."""
    age, rate = facts.age_years, facts.vitals.get("respiratory_rate")
    if age is None or age >= ADULT_YEARS or rate is None:
        return
    limit, source = next((fast, source) for below, fast, source in FAST_BREATHING if age < below)
    if rate >= limit:
        urgency = Urgency.EMERGENCY if age < TWO_MONTHS else Urgency.URGENT
        rule = f"CH-1 {limit:g} breaths a minute or more at this age"
        yield Limit("fast-breathing", "Fast breathing for age", urgency, rule, source).finding(
            measured(facts, "respiratory_rate"), age_text(facts)
        )


def pulse(facts: SymptomFacts) -> Iterable[Finding]:
    """A pulse far outside the range of the child's age. Fever alone raises the pulse by about ten
    beats for each degree, so that much is allowed for before it counts as fast."""
    age, rate = facts.age_years, facts.vitals.get("heart_rate")
    if age is None or age >= ADULT_YEARS or rate is None:
        return
    slowest, fastest = next((low, high) for below, low, high in PULSE if age < below)
    degrees = max(0.0, facts.vitals.get("temperature", 37.0) - 37.0)
    if rate > fastest + 10 * degrees:
        rule = f"CH-2 pulse above {fastest:g} (and 10 for each degree of fever) at this age"
        text = "Fast pulse for age"
    elif rate < slowest - 30:
        rule, text = f"CH-3 pulse more than 30 below {slowest:g} at this age", "Slow pulse for age"
    else:
        return
    yield Limit("pulse", text, Urgency.URGENT, rule, sources.PULSE_LIMITS).finding(
        measured(facts, "heart_rate"), age_text(facts)
    )


_INFANT_FEVER = Limit(
    "young-infant-temperature",
    "Young infant with fever or low temperature: possible serious infection",
    Urgency.EMERGENCY,
    "CH-4 37.5 °C or more, or below 35.5 °C, under two months",
    sources.IMCI_YOUNG_INFANT,
)
_SMALL_CHILD = Limit(
    "young-child-fever",
    "Child under five with fever",
    Urgency.URGENT,
    "CH-5 fever under five years: tested the same day",
    sources.IMCI_FEVER,
)


def temperature(facts: SymptomFacts) -> Iterable[Finding]:
    """Fever or cold in a young infant; fever in any child under five."""
    age, value = facts.age_years, facts.vitals.get("temperature")
    if age is None or age >= 5:
        return
    reported = evidence_of(facts, "fever")
    evidence = [measured(facts, "temperature")] if value is not None else []
    evidence += [reported] if reported else []
    is_hot = reported is not None or (value is not None and value >= 37.5)
    if age < TWO_MONTHS and (is_hot or (value is not None and value < 35.5)):
        yield _INFANT_FEVER.finding(*evidence, age_text(facts))
    elif is_hot:
        yield _SMALL_CHILD.finding(*evidence, age_text(facts))


_TINY = Limit(
    "sick-young-infant",
    "Any sick child under two months goes to the front of the queue",
    Urgency.URGENT,
    "CH-7 sick and under two months",
    sources.TRIAGE,
)


def young_infant(facts: SymptomFacts) -> Iterable[Finding]:
    """A symptom of any kind under two months."""
    age = facts.age_years
    if age is None or age >= TWO_MONTHS:
        return
    evidence = [line for code in SYMPTOM_CODES if (line := evidence_of(facts, code))]
    if evidence:
        yield _TINY.finding(*evidence, age_text(facts))
