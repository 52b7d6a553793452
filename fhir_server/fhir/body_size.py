"""Weight and height that may not be what was measured: a BMI that nobody has, a child of no chart.

Each of two values may be possible and the pair not: weight and height that were swapped lie far
above. What is said here is reason for a question, never for a refusal.
"""

from bisect import bisect_right
from collections.abc import Mapping

# From a newborn before term up to beyond nearly all adults.
_POSSIBLE_BMI = (5, 100)

Band = tuple[float, float]

_AGES = (0, 0.25, 0.5, 1, 2, 3, 5, 10, 14)
_HEIGHTS: tuple[Band, ...] = (
    *((25, 65), (38, 80), (48, 85), (55, 98), (65, 112)),
    *((70, 125), (80, 145), (98, 185), (110, 215)),
)
_WEIGHTS: tuple[Band, ...] = (
    *((0.4, 8), (1.5, 14), (2.5, 17), (3.5, 22), (5, 30)),
    *((6, 40), (8, 60), (12, 120), (18, 200)),
)
CHARTED: Mapping[str, tuple[Band, ...]] = {"height": _HEIGHTS, "weight": _WEIGHTS}
"""Centimetres and kilograms at the ages above, for both sexes, between them in a straight line:
round numbers of our own, so far apart that no growth chart comes near, and no rule of care."""


def bmi(weight_kg: float, height_cm: float) -> float:
    """Body mass index in kg/m²."""
    return weight_kg / (height_cm / 100) ** 2


def is_possible_bmi(value: float) -> bool:
    """Whether somebody can have this body mass index, as far as is known."""
    low, high = _POSSIBLE_BMI
    return low <= value <= high


def charted(name: str, youngest: float, oldest: float) -> Band | None:
    """Between what a child's `weight` or `height` lies, whose age in years is between these two;
    None beyond the last of the ages."""
    if oldest > _AGES[-1]:
        return None
    return _at(CHARTED[name], youngest)[0], _at(CHARTED[name], oldest)[1]


def _at(bands: tuple[Band, ...], age: float) -> Band:
    place = min(bisect_right(_AGES, age), len(_AGES) - 1)
    before, after = _AGES[place - 1], _AGES[place]
    share = (age - before) / (after - before)
    (low, high), (next_low, next_high) = bands[place - 1], bands[place]
    return low + share * (next_low - low), high + share * (next_high - high)
