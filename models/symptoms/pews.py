"""Bedside Paediatric Early Warning System score (Parshuram 2009) for people under 16.

Of its seven items four are measured here. Capillary refill, respiratory effort and oxygen therapy
are not asked, so the score is the least that it can be, and says so.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from models.symptoms import sources
from models.symptoms.facts import SymptomFacts
from models.symptoms.port import Finding, Urgency
from models.symptoms.rule import ADULT_YEARS, Limit, age_text, measured

NOT_ASKED = ("capillary refill", "respiratory effort", "oxygen therapy")
SATURATION = "oxygen_saturation"


@dataclass(frozen=True)
class Band:
    """Points that a value earns at `high` and above or at `low` and below, as printed."""

    points: int
    low: float
    high: float


Bands = tuple[Band, ...]


def _bands(one: tuple[float, float], two: tuple[float, float], four: tuple[float, float]) -> Bands:
    return (Band(4, *four), Band(2, *two), Band(1, *one))


# Vital sign → age in years below which the bands hold. Table 1 of the paper, (low, high) of the
# sub-scores 1, 2 and 4. Two limits are printed without "or equal": 4 points for a pulse above 150
# at 4 to 12 years, and 2 points for one below 50 over 12 years; whole beats make them 151 and 49.
TABLE: Mapping[str, tuple[tuple[float, Bands], ...]] = {
    "heart_rate": (
        (0.25, _bands((110, 150), (90, 180), (80, 190))),
        (1, _bands((100, 150), (80, 170), (70, 180))),
        (4, _bands((90, 120), (70, 150), (60, 170))),
        (12, _bands((70, 110), (60, 130), (50, 151))),
        (ADULT_YEARS, _bands((60, 100), (49, 120), (40, 140))),
    ),
    "systolic": (
        (0.25, _bands((60, 80), (50, 100), (45, 130))),
        (1, _bands((80, 100), (70, 120), (60, 150))),
        (4, _bands((90, 110), (75, 125), (65, 160))),
        (12, _bands((90, 120), (80, 140), (70, 170))),
        (ADULT_YEARS, _bands((100, 130), (85, 150), (75, 190))),
    ),
    "respiratory_rate": (
        (0.25, _bands((29, 61), (19, 81), (15, 91))),
        (1, _bands((24, 51), (19, 71), (15, 81))),
        (4, _bands((19, 41), (15, 61), (12, 71))),
        (12, _bands((19, 31), (14, 41), (10, 51))),
        (ADULT_YEARS, _bands((11, 17), (10, 23), (9, 30))),
    ),
}
# 8 is the threshold of the first paper; from 5 on (the lower quartile of children who went on to
# deteriorate in the validation at several hospitals) urgent is our choice.
EMERGENCY_FROM, URGENT_FROM = 8, 5


def sub_score(vital: str, value: float, age_years: float) -> int:
    """The points of one value at an age under 16, rounded as it is read."""
    rounded = round(value)
    if vital == SATURATION:
        return 2 if rounded <= 90 else 1 if rounded <= 94 else 0
    bands = next(bands for below, bands in TABLE[vital] if age_years < below)
    reached = (band.points for band in bands if rounded <= band.low or rounded >= band.high)
    return max(reached, default=0)


def points(facts: SymptomFacts) -> dict[str, int]:
    """The sub-scores of what was measured; empty when the score is not for this patient."""
    age = facts.age_years
    if age is None or age >= ADULT_YEARS:
        return {}
    return {
        vital: sub_score(vital, facts.vitals[vital], age)
        for vital in (*TABLE, SATURATION)
        if vital in facts.vitals
    }


def bedside_pews(facts: SymptomFacts) -> Iterable[Finding]:
    """A score of 8 and more is an emergency, 5 to 7 is urgent."""
    scored = points(facts)
    total = sum(scored.values())
    if total < URGENT_FROM:
        return
    urgency = Urgency.EMERGENCY if total >= EMERGENCY_FROM else Urgency.URGENT
    missing = [name.replace("_", " ") for name in (*TABLE, SATURATION) if name not in scored]
    limit = Limit(
        "paediatric-score",
        f"Bedside PEWS at least {total}",
        urgency,
        f"CH-6 Bedside PEWS of {EMERGENCY_FROM if total >= EMERGENCY_FROM else URGENT_FROM} "
        "or more",
        sources.BEDSIDE_PEWS,
    )
    yield limit.finding(
        *(f"{measured(facts, name)} ({score} points)" for name, score in scored.items()),
        age_text(facts),
        f"Not counted: {', '.join((*missing, *NOT_ASKED))}",
    )
