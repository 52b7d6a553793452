"""Histograms of scores in which each patient, or each field, weighs the same."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from models.malaria.classify import Judgement
from models.monitoring.stability import Bins
from models.smear_report import SCORE_BINS

Counts = npt.NDArray[np.float64]


def of_patients(judged: Sequence[Judgement], patient: npt.NDArray[np.str_]) -> Bins:
    """The probabilities of cells (n) and whose each is (n,), as one histogram of all patients."""
    by_name: dict[str, list[Judgement]] = {}
    for one, name in zip(judged, patient, strict=True):
        by_name.setdefault(str(name), []).append(one)
    return binned(counted(by_name[name]) for name in sorted(by_name))


def counted(judged: Iterable[Judgement]) -> Counts:
    """How many cells got which probability; refused ones got none."""
    scores = [one.probability for one in judged if one.probability is not None]
    return np.histogram(scores, bins=SCORE_BINS, range=(0.0, 1.0))[0].astype(np.float64)


def binned(units: Iterable[Counts]) -> Bins:
    """Each unit (patient, field) weighs the same, as each analysis does in what is compared."""
    kept = [counts for counts in units if counts.sum()]
    total = sum(counts.sum() for counts in kept)
    mean = np.mean([counts / counts.sum() for counts in kept], axis=0)
    return Bins(tuple(round(float(each), 3) for each in mean * total), len(kept))
