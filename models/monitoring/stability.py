"""Has a distribution moved? Honest for few cases: what chance explains is no shift.

The population stability index (PSI) compares shares in bins with those of a reference. Under no
shift, PSI divided by (1/n + 1/m) follows a chi-squared law with one degree less than bins
(Yurdakul 2018), so a PSI counts only beyond that law's 99th percentile. The units n and m are
analyses, not cells: cells of one patient are alike.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

Z99 = 2.3263478740408408
"""The 99th percentile of the normal law."""
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True, slots=True)
class Shift:
    """A PSI, and the PSI that chance alone stays below in 99 of 100 cases."""

    psi: float
    chance: float

    @property
    def is_beyond_chance(self) -> bool:
        """Whether more has moved than chance explains."""
        return self.psi > self.chance


@dataclass(frozen=True, slots=True)
class Bins:
    """A reference: how many of its units fell into each bin. `units` are independent ones
    (patients where they are known, else images)."""

    counts: tuple[float, ...]
    units: int

    @property
    def shares(self) -> tuple[float, ...]:
        """The share of each bin; none is zero, or one stray case would weigh without bound."""
        total = sum(self.counts) + 0.5 * len(self.counts)
        return tuple((count + 0.5) / total for count in self.counts)


def shift(observed: Sequence[float], units: int, reference: Bins) -> Shift:
    """How far the observed shares (mean of `units` analyses) lie from the reference."""
    return _shift(observed, units, reference.shares, (reference.units, len(observed) - 1))


def shift_from_mix(
    observed: Sequence[float], units: int, classes: tuple[Bins, Bins]
) -> tuple[Shift, float]:
    """How far they lie from the nearest mix of two classes, and the second class's share in it.

    How many cells are infected differs between sites and seasons; that alone is no drift of a
    model. What no share of infected cells explains, is.
    """
    first, second = classes[0].shares, classes[1].shares
    share = _likeliest_share(observed, first, second)
    mixed = [(1 - share) * a + share * b for a, b in zip(first, second, strict=True)]
    known = min(classes[0].units, classes[1].units)
    return _shift(observed, units, mixed, (known, len(observed) - 2)), share


def chi_squared_99(degrees: int) -> float:
    """The 99th percentile of the chi-squared law (Wilson and Hilferty's approximation)."""
    part = 2 / (9 * degrees)
    return float(degrees * (1 - part + Z99 * math.sqrt(part)) ** 3)


def _shift(
    observed: Sequence[float], units: int, expected: Sequence[float], known: tuple[int, int]
) -> Shift:
    reference_units, degrees = known
    # One imagined analysis that looks like the reference: an empty bin is no infinite surprise.
    smooth = [(units * o + e) / (units + 1) for o, e in zip(observed, expected, strict=True)]
    psi = sum((o - e) * math.log(o / e) for o, e in zip(smooth, expected, strict=True))
    return Shift(psi, chi_squared_99(degrees) * (1 / units + 1 / reference_units))


def _likeliest_share(
    observed: Sequence[float], first: Sequence[float], second: Sequence[float]
) -> float:
    """The share of the second class under which the observed is likeliest (the log-likelihood
    is concave in it: golden-section search)."""

    def likelihood(share: float) -> float:
        return sum(
            o * math.log((1 - share) * a + share * b)
            for o, a, b in zip(observed, first, second, strict=True)
        )

    low, high = 0.0, 1.0
    for _ in range(60):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if likelihood(left) < likelihood(right):
            low = left
        else:
            high = right
    return (low + high) / 2
