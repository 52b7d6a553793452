"""Measures of a binary classifier on cells that belong to patients."""

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
Truth = npt.NDArray[np.uint8]


def auc(truth: Truth, probability: Vector) -> float | None:
    """Area under the ROC curve, ties counted half; None when one class is absent."""
    positive = int(truth.sum())
    negative = len(truth) - positive
    if positive == 0 or negative == 0:
        return None
    _, place, counts = np.unique(probability, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2.0)[place]
    wins = float(rank[truth == 1].sum()) - positive * (positive + 1) / 2.0
    return wins / (positive * negative)


def sensitivity_at(truth: Truth, probability: Vector, specificity: float) -> float | None:
    """The sensitivity where the specificity is this; None when a class is absent."""
    infected, clean = probability[truth == 1], probability[truth == 0]
    if not len(infected) or not len(clean):
        return None
    return float((infected > np.quantile(clean, specificity)).mean())


def share(hits: npt.NDArray[np.bool_]) -> float | None:
    """The mean of booleans; None of none."""
    return float(hits.mean()) if len(hits) else None


def calibration_error(truth: Truth, probability: Vector, bins: int = 15) -> float:
    """Expected calibration error of the predicted class, in equal bins of confidence."""
    confidence = np.maximum(probability, 1.0 - probability)
    correct = (probability >= 0.5) == (truth == 1)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(float(correct[place == b].mean()) - float(confidence[place == b].mean()))
        * float((place == b).mean())
        for b in range(bins)
        if (place == b).any()
    ]
    return float(sum(gaps))


def log_loss(truth: Truth, logits: Vector) -> float:
    """Mean negative log-likelihood of the truth."""
    signed = np.where(truth == 1, logits, -logits)
    return float(np.logaddexp(0.0, -signed).mean())


def scaling(truth: Truth, logits: Vector) -> tuple[float, float]:
    """Temperature and offset with the least log loss of (logits + offset) / temperature.

    Newton's method on the two (Platt 1999, temperature as in Guo 2017); the loss is convex.
    """
    at = np.array([1.0, 0.0])
    for _ in range(100):
        chance = 0.5 * (1.0 + np.tanh(0.5 * (at[0] * logits + at[1])))
        wrong, weight = chance - truth, chance * (1.0 - chance)
        gradient = np.array([(wrong * logits).mean(), wrong.mean()])
        mixed = (weight * logits).mean()
        curvature = np.array([[(weight * logits**2).mean(), mixed], [mixed, weight.mean()]])
        step = np.linalg.solve(curvature + 1e-9 * np.eye(2), gradient)
        at, moved = _downhill(truth, logits, at=at, step=step)
        if moved < 1e-10:
            break
    if at[0] <= 0:
        raise ValueError("the network's answers run against the truth: it has learnt nothing")
    return float(1.0 / at[0]), float(at[1] / at[0])


def _downhill(truth: Truth, logits: Vector, *, at: Vector, step: Vector) -> tuple[Vector, float]:
    """Go along the step, or as much of it as lowers the loss; and how far that was."""
    before = log_loss(truth, at[0] * logits + at[1])
    for _ in range(40):
        there = at - step
        if log_loss(truth, there[0] * logits + there[1]) <= before:
            return there, float(np.abs(step).max())
        step = step / 2.0
    return at, 0.0


def drawn_auc(
    patient: npt.NDArray[np.str_],
    truth: Truth,
    probability: Vector,
    *,
    seed: int,
    rounds: int = 300,
) -> tuple[float, float] | None:
    """95 % interval of the area under the curve when whole patients are drawn again and again; None
    when no draw has both classes."""
    chance = np.random.default_rng(seed)
    places = [np.flatnonzero(patient == name) for name in np.unique(patient)]
    areas = []
    for _ in range(rounds):
        chosen = chance.integers(len(places), size=len(places))
        drawn = np.concatenate([places[int(i)] for i in chosen])
        area = auc(truth[drawn], probability[drawn])
        if area is not None:
            areas.append(area)
    if not areas:
        return None
    low, high = np.percentile(areas, [2.5, 97.5])
    return float(low), float(high)


def patient_bootstrap(
    patient: npt.NDArray[np.str_], measured: npt.NDArray[np.bool_], *, seed: int, rounds: int = 1000
) -> tuple[float, float]:
    """95 % interval of a share when whole patients are drawn again and again."""
    chance = np.random.default_rng(seed)
    names, place = np.unique(patient, return_inverse=True)
    hits = np.bincount(place, weights=measured, minlength=len(names))
    counts = np.bincount(place, minlength=len(names))
    drawn = chance.integers(len(names), size=(rounds, len(names)))
    shares = hits[drawn].sum(axis=1) / np.maximum(counts[drawn].sum(axis=1), 1)
    low, high = np.percentile(shares, [2.5, 97.5])
    return float(low), float(high)
