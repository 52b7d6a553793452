"""Bedside PEWS (Parshuram et al. 2009, table 1): band edges, thresholds, who it is for."""

from datetime import date

import pytest

from models.symptoms.facts import SymptomFacts
from models.symptoms.pews import bedside_pews, points, sub_score
from models.symptoms.port import Urgency

TODAY = date(2026, 11, 24)


@pytest.mark.parametrize(
    ("vital", "age", "values", "expected"),
    [
        ("heart_rate", 0.1, (80, 90, 110, 111, 149, 150, 180, 190), "42100124"),
        ("heart_rate", 0.5, (70, 80, 100, 101, 149, 150, 170, 180), "42100124"),
        ("heart_rate", 2, (60, 70, 90, 91, 119, 120, 150, 170), "42100124"),
        ("heart_rate", 8, (50, 60, 70, 71, 109, 110, 130, 150, 151), "421001224"),
        ("heart_rate", 14, (40, 49, 50, 60, 61, 99, 100, 120, 140), "421100124"),
        ("systolic", 0.1, (45, 50, 60, 61, 79, 80, 100, 130), "42100124"),
        ("systolic", 0.5, (60, 70, 80, 81, 99, 100, 120, 150), "42100124"),
        ("systolic", 2, (65, 75, 90, 91, 109, 110, 125, 160), "42100124"),
        ("systolic", 8, (70, 80, 90, 91, 119, 120, 140, 170), "42100124"),
        ("systolic", 14, (75, 85, 100, 101, 129, 130, 150, 190), "42100124"),
        ("respiratory_rate", 0.1, (15, 19, 29, 30, 60, 61, 81, 91), "42100124"),
        ("respiratory_rate", 0.5, (15, 19, 24, 25, 50, 51, 71, 81), "42100124"),
        ("respiratory_rate", 2, (12, 15, 19, 20, 40, 41, 61, 71), "42100124"),
        ("respiratory_rate", 8, (10, 14, 19, 20, 30, 31, 41, 51), "42100124"),
        ("respiratory_rate", 14, (9, 10, 11, 12, 16, 17, 23, 30), "42100124"),
        ("oxygen_saturation", 8, (90, 91, 94, 95), "2110"),
    ],
)
def test_each_band_edge_scores_as_the_table(
    vital: str, age: float, values: tuple[float, ...], expected: str
) -> None:
    assert "".join(str(sub_score(vital, value, age)) for value in values) == expected


@pytest.mark.parametrize(
    ("vital", "value", "ages", "scores"),
    [
        ("heart_rate", 110, (0.2499, 0.25), (1, 0)),
        ("heart_rate", 125, (0.999, 1), (0, 1)),
        ("heart_rate", 112, (3.99, 4), (0, 1)),
        ("respiratory_rate", 20, (11.99, 12), (0, 1)),
    ],
)
def test_the_bands_change_on_the_birthday(
    vital: str, value: float, ages: tuple[float, float], scores: tuple[int, int]
) -> None:
    assert tuple(sub_score(vital, value, age) for age in ages) == scores


@pytest.mark.parametrize(
    ("heart_rate", "respiratory_rate", "urgency"),
    [
        (119, 40, None),
        (170, 40, None),
        (170, 41, Urgency.URGENT),
        (170, 70, Urgency.URGENT),
        (170, 71, Urgency.EMERGENCY),
    ],
)
def test_five_is_urgent_and_eight_an_emergency(
    heart_rate: float, respiratory_rate: float, urgency: Urgency | None
) -> None:
    vitals = {"heart_rate": heart_rate, "respiratory_rate": respiratory_rate}
    found = list(bedside_pews(SymptomFacts(TODAY, age_years=2, vitals=vitals)))

    assert [finding.urgency for finding in found] == ([] if urgency is None else [urgency])
    for finding in found:
        assert finding.text.startswith("Bedside PEWS at least")
        assert "capillary refill" in finding.evidence[-1]
        assert "systolic" in finding.evidence[-1]


@pytest.mark.parametrize("age", [None, 16, 40])
def test_it_is_for_nobody_of_sixteen_and_over_or_of_unknown_age(age: float | None) -> None:
    vitals = {"heart_rate": 200.0, "respiratory_rate": 90.0}

    assert points(SymptomFacts(TODAY, age_years=age, vitals=vitals)) == {}
