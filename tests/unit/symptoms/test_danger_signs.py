"""Danger signs (WHO Guidelines for malaria, IMCI) always make an emergency and cite their rule."""

from datetime import date

import pytest

from fhir_server.fhir.assessment import SYMPTOM_CODES
from models.symptoms.facts import SymptomFacts
from models.symptoms.port import Urgency
from models.symptoms.rules import analyse

TODAY = date(2026, 11, 24)
DANGER = [code for code, (_, is_danger) in SYMPTOM_CODES.items() if is_danger]
MILD = [code for code, (_, is_danger) in SYMPTOM_CODES.items() if not is_danger]


@pytest.mark.parametrize("code", DANGER)
def test_each_danger_sign_alone_is_an_emergency_that_cites_its_source(code: str) -> None:
    analysis = analyse(SymptomFacts(TODAY, age_years=30, symptoms={code: "yes"}))

    finding = next(f for f in analysis.findings if f.code == f"danger-{code}")
    assert analysis.urgency is Urgency.EMERGENCY
    assert finding.rule.startswith("DS-1")
    assert "WHO" in str(finding.source)


@pytest.mark.parametrize("code", DANGER)
def test_a_danger_sign_answered_no_is_none(code: str) -> None:
    analysis = analyse(SymptomFacts(TODAY, age_years=30, symptoms={code: "no"}))

    assert analysis.urgency is Urgency.ROUTINE


@pytest.mark.parametrize("code", MILD)
def test_a_symptom_that_is_no_danger_sign_is_no_emergency(code: str) -> None:
    analysis = analyse(SymptomFacts(TODAY, age_years=30, symptoms={code: "yes"}))

    assert analysis.urgency < Urgency.EMERGENCY


def test_a_danger_sign_in_the_text_counts_although_it_was_not_asked() -> None:
    analysis = analyse(SymptomFacts(TODAY, age_years=30, text="had two seizures this morning"))

    assert analysis.urgency is Urgency.EMERGENCY
    assert "mentioned in text" in analysis.findings[0].evidence[0]


def test_text_against_an_answered_no_is_shown_as_a_contradiction() -> None:
    facts = SymptomFacts(TODAY, symptoms={"jaundice": "no"}, text="yellow eyes")

    assert "please clarify" in analyse(facts).findings[0].evidence[0]


@pytest.mark.parametrize(
    ("age", "systolic", "is_shock"),
    [
        (30, 79, True),
        (30, 80, False),
        (5, 69, True),
        (5, 70, False),
        (0.5, 60, False),
        (0.5, 59, True),
        (None, 79, True),
    ],
)
def test_shock_is_judged_by_age(age: float | None, systolic: float, is_shock: bool) -> None:
    analysis = analyse(SymptomFacts(TODAY, age_years=age, vitals={"systolic": systolic}))

    assert ("low-blood-pressure" in {f.code for f in analysis.findings}) is is_shock


@pytest.mark.parametrize(
    ("age", "hemoglobin", "code"),
    [
        (30, 6.9, "severe-anaemia"),
        (30, 7, None),
        (5, 5, "severe-anaemia"),
        (5, 5.1, "low-haemoglobin"),
        (5, 7, None),
        (None, 6, "severe-anaemia"),
    ],
)
def test_severe_anaemia_is_judged_by_age(
    age: float | None, hemoglobin: float, code: str | None
) -> None:
    analysis = analyse(SymptomFacts(TODAY, age_years=age, vitals={"hemoglobin": hemoglobin}))

    found = {f.code for f in analysis.findings} & {"severe-anaemia", "low-haemoglobin"}
    assert found == ({code} if code else set())


def test_low_oxygen_with_fast_breathing_is_possible_pulmonary_oedema() -> None:
    vitals = {"oxygen_saturation": 91.0, "respiratory_rate": 31.0}

    codes = {f.code for f in analyse(SymptomFacts(TODAY, vitals=vitals)).findings}

    assert "respiratory-failure" in codes
    assert "low-oxygen" not in codes


def test_what_was_not_asked_is_named() -> None:
    notes = " ".join(analyse(SymptomFacts(TODAY)).notes)

    assert "Danger signs not asked: convulsions" in notes
    assert "Age unknown" in notes
