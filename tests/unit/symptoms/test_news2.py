"""NEWS2 (Royal College of Physicians, 2017): every band edge, thresholds, who it is for."""

from datetime import date

import pytest

from models.symptoms.facts import SymptomFacts
from models.symptoms.news2 import AIR, band_points, news2, score
from models.symptoms.port import Urgency

TODAY = date(2026, 11, 24)
CALM = {
    "respiratory_rate": 16.0,
    "oxygen_saturation": 98.0,
    "systolic": 120.0,
    "heart_rate": 70.0,
    "temperature": 37.0,
}


def adult(**vitals: float) -> SymptomFacts:
    alert = {"reduced-consciousness": "no"}
    return SymptomFacts(TODAY, age_years=40, vitals={**CALM, **vitals}, symptoms=alert)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("vital", "values", "points"),
    [
        ("respiratory_rate", (8, 9, 11, 12, 20, 21, 24, 25), (3, 1, 1, 0, 0, 2, 2, 3)),
        ("oxygen_saturation", (91, 92, 93, 94, 95, 96), (3, 2, 2, 1, 1, 0)),
        ("systolic", (90, 91, 100, 101, 110, 111, 219, 220), (3, 2, 2, 1, 1, 0, 0, 3)),
        (
            "heart_rate",
            (40, 41, 50, 51, 90, 91, 110, 111, 130, 131),
            (3, 1, 1, 0, 0, 1, 1, 2, 2, 3),
        ),
        ("temperature", (35.0, 35.1, 36.0, 36.1, 38.0, 38.1, 39.0, 39.1), (3, 1, 1, 0, 0, 1, 1, 2)),
    ],
)
def test_each_band_edge_scores_as_the_chart(
    vital: str, values: tuple[float, ...], points: tuple[int, ...]
) -> None:
    assert tuple(band_points(vital, value) for value in values) == points


def test_a_calm_adult_scores_nothing() -> None:
    result = score(adult())

    assert result is not None
    assert result.total == 0
    assert result.missing == ()
    assert list(news2(adult())) == []


@pytest.mark.parametrize(
    ("facts", "urgency"),
    [
        (adult(respiratory_rate=22, temperature=38.5, heart_rate=95), None),
        (adult(respiratory_rate=22, temperature=39.5, heart_rate=95), Urgency.URGENT),
        (adult(respiratory_rate=25), Urgency.URGENT),
        (
            adult(respiratory_rate=22, temperature=39.5, heart_rate=115, systolic=105),
            Urgency.EMERGENCY,
        ),
    ],
)
def test_the_thresholds_are_five_seven_and_a_single_three(
    facts: SymptomFacts, urgency: Urgency | None
) -> None:
    found = [finding.urgency for finding in news2(facts)]

    assert found == ([] if urgency is None else [urgency])


def test_reduced_consciousness_scores_three() -> None:
    facts = SymptomFacts(TODAY, age_years=40, vitals=CALM, text="confused")

    result = score(facts)

    assert result is not None
    assert result.points["consciousness"] == 3


@pytest.mark.parametrize(
    "facts",
    [
        SymptomFacts(TODAY, age_years=15.9, vitals=CALM),
        SymptomFacts(TODAY, age_years=None, vitals=CALM),
        SymptomFacts(TODAY, age_years=30, is_pregnant=True, vitals=CALM),
        SymptomFacts(TODAY, age_years=30),
    ],
)
def test_children_pregnancy_and_nothing_measured_have_no_score(facts: SymptomFacts) -> None:
    assert score(facts) is None


def test_an_incomplete_score_says_so() -> None:
    facts = SymptomFacts(TODAY, age_years=40, vitals={"respiratory_rate": 26.0})

    (finding,) = news2(facts)

    assert finding.text == "NEWS2 at least 3"
    assert "Not measured" in finding.evidence[-2]
    assert finding.evidence[-1] == AIR
