"""Evaluate the served malaria model on any npz of labelled cells; needs no TensorFlow."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.malaria.calibration import WEIGHTS
from models.malaria.classify import Classifier
from models.malaria.reading import CellAnswer, ImageKind
from models.training.cells import Cells, file_sha256, healthy_patients, read_splits
from models.training.learnt import LearntUnknown, read_learnt, unlearnt
from models.training.metrics import (
    Vector,
    auc,
    calibration_error,
    drawn_auc,
    patient_bootstrap,
    sensitivity_at,
    share,
)

WORST = 8
CURVE = (0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999)
"""Specificities for which the sensitivity is told."""
LEAST_PARASITIZED = 10
"""Below so many parasitized cells a patient's sensitivity is mostly chance."""
CHUNK = 256


class UnknownSplit(ValueError):
    """The file has no cells of that split."""


def evaluate(
    cells: Path,
    split: str,
    *,
    weights: Path = WEIGHTS,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Measure the model on one split of an npz (`x, y, name, patient, split`).

    The answer has what `measured` tells, the share refused, and from how many of the patients the
    model learnt (`learnt_from`, by name or picture; None when that is not known).
    Raises UnknownSplit, LeakError, ValueError.
    """
    splits = read_splits(cells)
    if split not in splits:
        raise UnknownSplit(f"no split {split!r} in {cells.name}; there are {', '.join(splits)}")
    chosen = splits[split]
    classifier, sha256 = Classifier.load(weights), file_sha256(cells)
    probability, answers = read_all(classifier, chosen, progress)
    return {
        **measured(chosen, probability),
        "refused": float((answers == CellAnswer.REFUSED).mean()),
        "answers": {
            "parasitized": answer_shares(answers[chosen.y == 1]),
            "uninfected": answer_shares(answers[chosen.y == 0]),
        },
        "split": split,
        "cells_sha256": sha256,
        "learnt_from": len(np.unique(chosen.patient))
        if sha256 == classifier.calibration.version.data_sha256
        else _learnt_from(chosen, weights),
        "model": classifier.calibration.version.id,
        "model_version": classifier.calibration.version.version,
        "model_sha256": classifier.calibration.version.sha256,
    }


def _learnt_from(cells: Cells, weights: Path) -> int | None:
    """How many of these patients the weights learnt from; None when that is not known."""
    try:
        return unlearnt(cells, [read_learnt(weights)])[1].patients
    except LearntUnknown:
        return None


def read_all(
    classifier: Classifier, cells: Cells, progress: Callable[[int, int], None]
) -> tuple[Vector, npt.NDArray[np.str_]]:
    """The calibrated probability and the answer (CellAnswer) of every cell; blocking."""
    probabilities, answers = [], []
    for start in range(0, len(cells), CHUNK):
        part = cells.x[start : start + CHUNK]
        probability, judged = classifier.read(part, ImageKind.CELL)
        probabilities.append(probability)
        answers += [one.answer.value for one in judged]
        progress(min(start + CHUNK, len(cells)), len(cells))
    return np.concatenate(probabilities), np.array(answers)


def answer_shares(answers: npt.NDArray[np.str_]) -> dict[str, float | None]:
    """The share of each answer (CellAnswer) among some cells; None for none."""
    return {answer.value: share(answers == answer.value) for answer in CellAnswer}


def measured(cells: Cells, probability: Vector) -> dict[str, Any]:
    """The figures of some cells: `auc`, `ece` and counts; `sensitivity`, `specificity` and
    `accuracy` at a threshold of one half on the calibrated probability; `sensitivity_at` the
    specificities of CURVE; intervals by drawing patients; the worst patients. A measure that these
    cells cannot give (no parasitized ones, say) is None."""
    called = probability >= 0.5
    infected = cells.y == 1
    return {
        "auc": auc(cells.y, probability),
        "sensitivity": share(called[infected]),
        "specificity": share(~called[~infected]),
        "specificity_healthy_patients": share(~called[healthy_patients(cells)]),
        "ece": calibration_error(cells.y, probability),
        "accuracy": share(called == infected),
        "accuracy_interval": patient_bootstrap(cells.patient, called == infected, seed=1),
        "cells": len(cells),
        "patients": len(np.unique(cells.patient)),
        "auc_interval": drawn_auc(cells.patient, cells.y, probability, seed=1),
        "sensitivity_at": {str(at): sensitivity_at(cells.y, probability, at) for at in CURVE},
        "least_sensitive": least_sensitive(cells, probability),
        "worst_patients": worst_patients(cells, probability),
    }


def worst_patients(cells: Cells, probability: Vector) -> list[dict[str, Any]]:
    """The patients with the lowest accuracy, with their sensitivity and false-positive share."""
    patients = _each_patient(cells, probability)
    return sorted(patients, key=lambda one: (one["accuracy"], one["patient"]))[:WORST]


def least_sensitive(cells: Cells, probability: Vector) -> list[dict[str, Any]]:
    """The same of those with LEAST_PARASITIZED parasitized cells or more, lowest sensitivity
    first."""
    patients = _each_patient(cells, probability)
    told = [one for one in patients if one["parasitized"] >= LEAST_PARASITIZED]
    return sorted(told, key=lambda one: (one["sensitivity"], one["patient"]))[:WORST]


def _each_patient(cells: Cells, probability: Vector) -> list[dict[str, Any]]:
    called = probability >= 0.5
    found = []
    for name in np.unique(cells.patient):
        own = cells.patient == name
        infected = own & (cells.y == 1)
        clean = own & (cells.y == 0)
        found.append(
            {
                "patient": str(name),
                "cells": int(own.sum()),
                "parasitized": int(infected.sum()),
                "accuracy": share(called[own] == (cells.y[own] == 1)),
                "sensitivity": share(called[infected]),
                "false_positives": share(called[clean]),
            }
        )
    return found
