"""Two versions read the same cells: from weights folders and an npz to a Comparison."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from fhir_server.fhir.model_versions import Compared
from models.analysis import smear_system
from models.malaria.calibration import WEIGHTS, malaria_card
from models.malaria.classify import Classifier
from models.malaria.reading import CellAnswer
from models.retraining.comparison import (
    LEAST_PATIENTS,
    Comparison,
    Incomparable,
    Readings,
    compare,
)
from models.training.cells import Cells, file_sha256, read_splits
from models.training.evaluate import UnknownSplit, read_all
from models.training.learnt import LeftOut, read_learnt, unlearnt


def compare_versions(
    candidate: Path,
    cells: Path,
    split: str,
    *,
    active: Path = WEIGHTS,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Compared, Comparison]:
    """Compare the weights of two folders on those patients of a split of an npz from whom neither
    learnt; blocking. UnknownSplit, LeakError, LearntUnknown, Incomparable, WeightsMismatch or
    ValueError say what is wrong; too few patients that are left are Incomparable."""
    splits = read_splits(cells)
    if split not in splits:
        raise UnknownSplit(f"no split {split!r} in {cells.name}; there are {', '.join(splits)}")
    sha256 = file_sha256(cells)
    for name, folder in (("candidate", candidate), ("active version", active)):
        if Classifier.load(folder).calibration.version.data_sha256 == sha256:
            raise Incomparable(
                f"the {name} learnt from {cells.name}: cells of other patients must compare them"
            )
    chosen, left_out = unlearnt(splits[split], [read_learnt(each) for each in (candidate, active)])
    patients = len(np.unique(chosen.patient))
    if patients < LEAST_PATIENTS:
        raise Incomparable(_too_few(patients, left_out))
    now, new = (_readings(folder, chosen, progress) for folder in (active, candidate))
    keys = [_key(folder) for folder in (candidate, active)]
    compared = Compared(keys[0], keys[1], sha256, split, left_out.patients, left_out.cells)
    return compared, compare(chosen.y, chosen.patient, now, new)


def _too_few(patients: int, left_out: LeftOut) -> str:
    return (
        f"{patients} patients are left from whom neither version learnt, and {LEAST_PATIENTS} are "
        f"needed: {left_out.named} were left out by name and {left_out.pictured} by a picture "
        f"({left_out.cells} cells)"
    )


def _readings(folder: Path, cells: Cells, progress: Callable[[int, int], None]) -> Readings:
    probability, answers = read_all(Classifier.load(folder), cells, progress)
    return Readings(probability, answers != CellAnswer.REFUSED.value)


def _key(folder: Path) -> str:
    version = Classifier.load(folder).calibration.version
    return smear_system(version, malaria_card(folder)).key
