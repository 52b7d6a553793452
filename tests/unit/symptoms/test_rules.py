"""Limits for children, fever, fluid loss, pregnancy, build, and what is advised."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.fhir.assessment import HISTORY_CODES, SYMPTOM_CODES, VITAL_SIGNS
from models.symptoms.facts import SymptomFacts
from models.symptoms.port import Urgency
from models.symptoms.redact import has_dose
from models.symptoms.rules import analyse

TODAY = date(2026, 11, 24)


def codes(**facts: object) -> set[str]:
    return {finding.code for finding in analyse(SymptomFacts(TODAY, **facts)).findings}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("age", "rate", "is_fast"),
    [
        (0.1, 59, False),
        (0.1, 60, True),
        (0.5, 49, False),
        (0.5, 50, True),
        (3, 39, False),
        (3, 40, True),
        (10, 29, False),
        (10, 30, True),
    ],
)
def test_fast_breathing_is_judged_by_age(age: float, rate: float, is_fast: bool) -> None:
    found = codes(age_years=age, vitals={"respiratory_rate": rate})

    assert ("fast-breathing" in found) is is_fast


def test_a_fast_pulse_is_allowed_for_fever() -> None:
    assert "pulse" in codes(age_years=3, vitals={"heart_rate": 141.0})
    assert "pulse" not in codes(age_years=3, vitals={"heart_rate": 160.0, "temperature": 39.0})
    assert "pulse" in codes(age_years=3, vitals={"heart_rate": 161.0, "temperature": 39.0})


def test_a_young_infant_with_fever_or_cold_is_an_emergency() -> None:
    hot = analyse(SymptomFacts(TODAY, age_years=0.1, vitals={"temperature": 37.5}))
    cold = analyse(SymptomFacts(TODAY, age_years=0.1, vitals={"temperature": 35.4}))
    warm = analyse(SymptomFacts(TODAY, age_years=0.1, vitals={"temperature": 36.8}))

    assert hot.urgency is cold.urgency is Urgency.EMERGENCY
    assert warm.urgency is Urgency.ROUTINE


def test_fever_asks_for_a_test_before_treatment() -> None:
    analysis = analyse(SymptomFacts(TODAY, age_years=30, vitals={"temperature": 38.0}))

    assert any("microscopy or a rapid diagnostic test" in line for line in analysis.recommendations)
    assert analysis.possibilities[0].name == "Malaria"


@pytest.mark.parametrize(
    ("onset", "is_long"), [(date(2026, 11, 17), False), (date(2026, 11, 16), True)]
)
def test_fever_is_long_after_seven_days(onset: date, is_long: bool) -> None:
    assert ("long-fever" in codes(symptoms={"fever": "yes"}, onset=onset)) is is_long


def test_fluid_loss_with_poor_intake_is_possible_dehydration() -> None:
    assert "possible-dehydration" not in codes(symptoms={"diarrhoea": "yes"})
    assert "possible-dehydration" in codes(symptoms={"diarrhoea": "yes", "unable-to-drink": "yes"})


def test_fever_in_pregnancy_is_urgent_and_a_mans_text_is_of_someone_else() -> None:
    fever = {"fever": "yes"}

    assert "pregnancy-fever" in codes(symptoms=fever, is_pregnant=True)
    assert "pregnancy-fever" in codes(symptoms=fever, text="20 weeks pregnant")
    assert "pregnancy-fever" not in codes(symptoms=fever, text="wife is pregnant", sex="male")


@pytest.mark.parametrize(("weight", "found"), [(40.0, True), (60.0, False), (95.0, True)])
def test_body_mass_of_adults_is_judged(weight: float, found: bool) -> None:
    facts = {"age_years": 30, "vitals": {"weight": weight, "height": 170.0}}

    assert ("body-mass" in codes(**facts)) is found


@pytest.mark.parametrize(
    ("weight", "height", "judged"),
    [(170.0, 60.0, False), (2.0, 170.0, False), (150.0, 160.0, True)],
)
def test_weight_and_height_that_cannot_be_one_persons_are_named_and_not_judged(
    weight: float, height: float, judged: bool
) -> None:
    vitals = {"weight": weight, "height": height}
    analysis = analyse(SymptomFacts(TODAY, age_years=30, vitals=vitals))
    notes = [note for note in analysis.notes if "BMI" in note]

    assert ("body-mass" in [each.code for each in analysis.findings]) is judged
    assert (notes == []) is judged
    assert judged or "Swapped? Measure again." in notes[0]


VITALS = st.fixed_dictionaries(
    {},
    optional={
        name: st.floats(*sign.possible, allow_nan=False) for name, sign in VITAL_SIGNS.items()
    },
)
ANSWERS = st.dictionaries(st.sampled_from(sorted(SYMPTOM_CODES)), st.sampled_from(["yes", "no"]))
FACTS = st.builds(
    SymptomFacts,
    observed=st.just(TODAY),
    age_years=st.none() | st.floats(0, 120),
    sex=st.sampled_from([None, "male", "female"]),
    is_pregnant=st.sampled_from([None, True, False]),
    vitals=VITALS,
    symptoms=ANSWERS,
    text=st.text(max_size=60),
    onset=st.none() | st.dates(date(2020, 1, 1), date(2030, 1, 1)),
    history=st.dictionaries(st.sampled_from(sorted(HISTORY_CODES)), st.sampled_from(["yes", "no"])),
    arrived=st.none() | st.dates(date(2020, 1, 1), date(2030, 1, 1)),
    left=st.none() | st.dates(date(2020, 1, 1), date(2030, 1, 1)),
)


@given(FACTS)
def test_any_facts_give_cited_findings_and_no_dose(facts: SymptomFacts) -> None:
    analysis = analyse(facts)

    assert analysis.recommendations
    assert all(f.rule and f.source.name and f.evidence for f in analysis.findings)
    assert analysis.urgency == max((f.urgency for f in analysis.findings), default=0)
    assert not any(has_dose(line) for line in analysis.recommendations)


@given(FACTS, st.sampled_from([c for c, (_, danger) in SYMPTOM_CODES.items() if danger]))
def test_one_more_danger_sign_never_lowers_the_urgency(facts: SymptomFacts, sign: str) -> None:
    more = SymptomFacts(**{**vars(facts), "symptoms": {**facts.symptoms, sign: "yes"}})

    assert analyse(more).urgency is Urgency.EMERGENCY


@given(FACTS)
def test_whatever_was_not_measured_or_asked_is_named(facts: SymptomFacts) -> None:
    notes = " ".join(analyse(facts).notes)

    for vital in ("temperature", "respiratory_rate", "heart_rate"):
        is_named = vital.replace("_", " ") in notes.partition("Not measured: ")[2]
        assert is_named is (vital not in facts.vitals)
    for code, (name, is_danger_sign) in SYMPTOM_CODES.items():
        if is_danger_sign and code not in facts.symptoms:
            assert name.lower() in notes.partition("Danger signs not asked: ")[2]
    assert ("Age unknown" in notes) is (facts.age_years is None)
    assert ("Travel in a malaria area not asked" in notes) is ("travel" not in facts.history)


@given(FACTS)
def test_malaria_is_thought_of_with_every_fever_and_never_called_excluded(
    facts: SymptomFacts,
) -> None:
    analysis = analyse(facts)
    said = [p.name for p in analysis.possibilities] + [f.text for f in analysis.findings]

    if any(f.code == "fever" for f in analysis.findings):
        assert analysis.possibilities[0].name == "Malaria"
    assert not any("negative" in line or "excluded" in line for line in said)
