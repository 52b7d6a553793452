"""Is a candidate better than the active version? Both read the same cells of the same patients.

The interval of each difference comes from drawing whole patients again and again (2.5 to 97.5 per
cent of the draws): cells of one patient are alike, and both versions are asked the same ones. A
candidate may be promoted when a metric is better beyond its interval and none is worse.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]

ROUNDS, SEED = 2000, 20261126
SPECIFICITY = 0.97
"""At which sensitivities are compared, each version with a threshold of its own."""
BINS = 15
LEAST_PATIENTS = 20
"""Fewer patients tell no two versions apart, whatever the numbers say."""
DECISIVE = ("auc", "sensitivity")
"""Being better in one of these is what a promotion is for; the others only guard."""
TOLERANCE: Mapping[str, float] = {
    "auc": 0.002,
    "sensitivity": 0.01,
    "calibration": 0.005,
    "answered": 0.01,
}
"""A difference below minus this is worse, even where the interval holds zero."""


class Incomparable(ValueError):
    """The readings can't be compared; the text says why."""


class Verdict(StrEnum):
    """What comes of a comparison."""

    BETTER = "better"
    NO_BETTER = "no-better"
    WORSE = "worse"


@dataclass(frozen=True, slots=True)
class Readings:
    """What one version said of n cells: calibrated probabilities, and which it answered."""

    probability: Vector
    answered: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Difference:
    """Candidate less active (for `calibration` active less candidate): more is better."""

    metric: str
    active: float
    candidate: float
    value: float
    low: float
    high: float

    @property
    def is_better(self) -> bool:
        """Whether the whole interval lies above zero."""
        return self.low > 0

    @property
    def is_worse(self) -> bool:
        """Whether it lies below, or the difference is worse than what is tolerated."""
        return self.high < 0 or self.value < -TOLERANCE[self.metric]


@dataclass(frozen=True, slots=True)
class Comparison:
    """All differences on as many cells of as many patients as these."""

    differences: tuple[Difference, ...]
    cells: int
    patients: int

    @property
    def verdict(self) -> Verdict:
        """Better in a decisive metric and worse in none; worse when worse in any."""
        if any(each.is_worse for each in self.differences):
            return Verdict.WORSE
        decisive = [each for each in self.differences if each.metric in DECISIVE]
        is_better = any(each.is_better for each in decisive) and self.patients >= LEAST_PATIENTS
        return Verdict.BETTER if is_better else Verdict.NO_BETTER


def compare(
    truth: npt.NDArray[np.uint8],
    patient: npt.NDArray[np.str_],
    active: Readings,
    candidate: Readings,
    *,
    rounds: int = ROUNDS,
) -> Comparison:
    """Compare; the same input gives the same answer. Incomparable when the readings are not of the
    same cells, or a class is absent."""
    lengths = {len(truth), len(patient), len(active.probability), len(candidate.probability)}
    if len(lengths) != 1 or not len(truth):
        raise Incomparable("the readings are not of the same cells")
    if len(np.unique(truth)) != 2:
        raise Incomparable("the cells are all of one class: no version can be told from another")
    names, place = np.unique(patient, return_inverse=True)
    both = (_Measured(truth, active), _Measured(truth, candidate))
    at = np.array([each.measures(np.ones(len(truth))) for each in both])
    chance = np.random.default_rng(SEED)
    drawn = np.full((rounds, len(METRICS)), np.nan)
    for number in range(rounds):
        times = np.bincount(chance.integers(len(names), size=len(names)), minlength=len(names))
        weights = times[place].astype(np.float64)
        if weights[truth == 1].any() and weights[truth == 0].any():
            drawn[number] = both[1].measures(weights) - both[0].measures(weights)
    lows, highs = np.nanpercentile(drawn, [2.5, 97.5], axis=0)
    differences = tuple(
        Difference(
            metric=metric,
            active=abs(float(at[0][column])),
            candidate=abs(float(at[1][column])),
            value=float(at[1][column] - at[0][column]),
            low=float(lows[column]),
            high=float(highs[column]),
        )
        for column, metric in enumerate(METRICS)
    )
    return Comparison(differences, len(truth), len(names))


METRICS = ("auc", "sensitivity", "calibration", "answered")


class _Measured:
    """One version's readings, sorted once: each draw weighs the cells anew."""

    def __init__(self, truth: npt.NDArray[np.uint8], readings: Readings) -> None:
        order = np.argsort(readings.probability, kind="stable")
        self._order = order
        self._infected = truth[order] == 1
        sorted_ = readings.probability[order]
        self._answered = readings.answered[order]
        # The last place of each run of equal probabilities: ties are one step.
        self._ends = np.flatnonzero(np.append(np.diff(sorted_) > 0, True))
        confidence = np.maximum(sorted_, 1 - sorted_)
        self._confidence = confidence
        self._correct = (sorted_ >= 0.5) == self._infected
        self._bin = np.minimum((confidence * BINS).astype(int), BINS - 1)

    def measures(self, weights: Vector) -> Vector:
        """METRICS of the weighted cells; of the calibration error, its negative."""
        weight = weights[self._order]
        infected, clean = weight * self._infected, weight * ~self._infected
        up_to = np.cumsum(infected)[self._ends], np.cumsum(clean)[self._ends]
        missed, spared = (np.insert(each, 0, 0.0) for each in up_to)
        missed, spared = missed / missed[-1], spared / spared[-1]
        auc = float(np.sum(np.diff(spared) * (1 - (missed[1:] + missed[:-1]) / 2)))
        # The first threshold that spares enough clean cells.
        first = int(np.searchsorted(spared, SPECIFICITY - 1e-12))
        answered = float(weight[self._answered].sum() / weight.sum())
        return np.array([auc, 1 - missed[first], -self._error(weight), answered])

    def _error(self, weight: Vector) -> float:
        said = np.bincount(self._bin, weight * self._confidence, minlength=BINS)
        was = np.bincount(self._bin, weight * self._correct, minlength=BINS)
        return float(np.abs(said - was).sum() / weight.sum())
