"""National Early Warning Score 2 (Royal College of Physicians, 2017) for people of 16 and over."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from models.symptoms import sources
from models.symptoms.facts import SymptomFacts
from models.symptoms.port import Finding, Urgency
from models.symptoms.rule import ADULT_YEARS, Limit, evidence_of, measured

# Per vital sign: (highest value of the band, points), in rising order; SpO2 scale 1.
BANDS: Mapping[str, tuple[tuple[float, int], ...]] = {
    "respiratory_rate": ((8, 3), (11, 1), (20, 0), (24, 2), (float("inf"), 3)),
    "oxygen_saturation": ((91, 3), (93, 2), (95, 1), (float("inf"), 0)),
    "systolic": ((90, 3), (100, 2), (110, 1), (219, 0), (float("inf"), 3)),
    "heart_rate": ((40, 3), (50, 1), (90, 0), (110, 1), (130, 2), (float("inf"), 3)),
    "temperature": ((35.0, 3), (36.0, 1), (38.0, 0), (39.0, 1), (float("inf"), 2)),
}
_DECIMALS = {"temperature": 1}
AIR = "Oxygen therapy: not asked, air is assumed (2 points more on oxygen)"


@dataclass(frozen=True)
class Score:
    """A NEWS2 total, complete or the least that it can be (parameters not measured count 0).
    Oxygen therapy is not asked for: breathing air is assumed."""

    points: Mapping[str, int]
    missing: tuple[str, ...]

    @property
    def total(self) -> int:
        return sum(self.points.values())

    @property
    def has_extreme(self) -> bool:
        """One parameter alone scores 3."""
        return 3 in self.points.values()


def band_points(vital: str, value: float) -> int:
    """The points of one measured value, rounded as the chart is read."""
    rounded = round(value, _DECIMALS.get(vital, 0))
    return next(points for highest, points in BANDS[vital] if rounded <= highest)


def score(facts: SymptomFacts) -> Score | None:
    """The score of an adult who is not known to be pregnant; None when it does not apply or
    nothing was measured."""
    if facts.age_years is None or facts.age_years < ADULT_YEARS or facts.is_pregnant:
        return None
    points = {
        vital: band_points(vital, facts.vitals[vital]) for vital in BANDS if vital in facts.vitals
    }
    if not points:
        return None
    if evidence_of(facts, "reduced-consciousness"):
        points["consciousness"] = 3
    elif facts.symptoms.get("reduced-consciousness") == "no":
        points["consciousness"] = 0
    missing = tuple(name for name in (*BANDS, "consciousness") if name not in points)
    return Score(points, missing)


def news2(facts: SymptomFacts) -> Iterable[Finding]:
    """NEWS2 of 7 and more is an emergency; 5 or 6, or one parameter at 3, is urgent."""
    result = score(facts)
    if result is None or (result.total < 5 and not result.has_extreme):
        return
    urgency = Urgency.EMERGENCY if result.total >= 7 else Urgency.URGENT
    at_least = "at least " if result.missing else ""
    trigger = "NEWS2 of 5 or more" if result.total >= 5 else "one NEWS2 parameter at 3"
    limit = Limit(
        "news2",
        f"NEWS2 {at_least}{result.total}",
        urgency,
        f"NEWS2 {trigger}",
        sources.NEWS2,
    )
    yield limit.finding(*_evidence(facts, result))


def _evidence(facts: SymptomFacts, result: Score) -> list[str]:
    lines = [
        f"{measured(facts, name) if name in facts.vitals else name.capitalize()} ({points} points)"
        for name, points in result.points.items()
    ]
    if result.missing:
        lines.append(
            "Not measured: " + ", ".join(name.replace("_", " ") for name in result.missing)
        )
    lines.append(AIR)
    return lines
