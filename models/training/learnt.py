"""Whom a version learnt from: the patients and pictures of its training data, kept beside its
weights, so that nobody it knows judges it.

A patient is known by name within one data set; across data sets, where the same person has another
name, by the content of pictures. A picture is told by its pixels, turned and mirrored ones alike,
since training turns and mirrors them.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.malaria.calibration import read_calibration
from models.malaria.preprocess import Pixels
from models.training.cells import Cells

LEARNT = "learnt.npz"
Prints = npt.NDArray[np.uint64]


class LearntUnknown(ValueError):
    """It is not known whom a version learnt from; the text says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Learnt:
    """The names of the patients, and the prints of all pictures, that a version learnt from."""

    patients: npt.NDArray[np.str_]
    pictures: Prints


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Patients whom a version learnt from: so many by name, so many more by a picture, and the
    cells of both."""

    named: int
    pictured: int
    cells: int

    @property
    def patients(self) -> int:
        """Both kinds of patients."""
        return self.named + self.pictured


def unlearnt(cells: Cells, versions: Sequence[Learnt]) -> tuple[Cells, LeftOut]:
    """The cells of patients from whom none of the versions learnt, and who was left out: whoever
    is named, and whoever has even one picture, in what a version learnt from."""
    names = np.concatenate([np.zeros(0, np.str_), *(each.patients for each in versions)])
    pictures = np.concatenate([np.zeros(0, np.uint64), *(each.pictures for each in versions)])
    named = np.isin(cells.patient, names)
    seen = np.isin(prints(cells.x), pictures) & ~named
    away = named | np.isin(cells.patient, cells.patient[seen])
    left_out = LeftOut(
        named=len(np.unique(cells.patient[named])),
        pictured=len(np.unique(cells.patient[seen])),
        cells=int(away.sum()),
    )
    return Cells(cells.x[~away], cells.y[~away], cells.patient[~away]), left_out


def prints(pixels: Pixels) -> Prints:
    """(n,) for each picture the least of eight numbers, one for each way to turn and mirror it:
    the first eight bytes of the SHA-256 of its pixels."""
    least = np.full(len(pixels), np.iinfo(np.uint64).max, np.uint64)
    for mirrored in (pixels, pixels[:, :, ::-1]):
        for quarter in range(4):
            turned = np.rot90(mirrored, quarter, axes=(1, 2))
            least = np.minimum(least, [_print(picture) for picture in turned])
    return least.astype(np.uint64)


def read_learnt(weights: Path) -> Learnt:
    """What is kept beside the weights; LearntUnknown when nothing is, or that of other data."""
    path = weights / LEARNT
    advice = "medsage models record-learnt malaria keeps it, from the data that it was trained on"
    if not path.is_file():
        raise LearntUnknown(
            f"{path} is not there: whom that version learnt from is not known; {advice}"
        )
    with np.load(path, allow_pickle=False) as arrays:
        data_sha256 = str(arrays["data_sha256"])
        known = Learnt(arrays["patient"], arrays["picture"])
    if data_sha256 != read_calibration(weights).version.data_sha256:
        raise LearntUnknown(f"{path} is of other data than the weights beside it; {advice}")
    return known


def write_learnt(weights: Path, data_sha256: str, patients: Cells, *others: Pixels) -> None:
    """Keep whom the weights in a folder learnt from: the cells of patients, and other pictures
    that have none."""
    pictures = np.unique(np.concatenate([prints(each) for each in (patients.x, *others)]))
    np.savez_compressed(
        weights / LEARNT,
        data_sha256=np.array(data_sha256),
        patient=np.unique(patients.patient),
        picture=pictures,
    )


def record_learnt(data: Path, weights: Path, progress: Callable[[str, int, int], None]) -> None:
    """Keep it for weights that were trained on this data (a folder, or the npz in one). ValueError
    when they were trained on other data; SetMissing or LeakError when the data are not right."""
    from models.training.recipe import Recipe
    from models.training.study import Sources, gather

    study = gather(Sources.find(data), Recipe(), progress)
    if study.data_sha256 != read_calibration(weights).version.data_sha256:
        raise ValueError(
            f"the weights in {weights} were trained on other cells than those in {data}"
        )
    write_learnt(weights, study.data_sha256, study.cells, study.foreign)


def _print(picture: Pixels) -> int:
    return int.from_bytes(hashlib.sha256(picture.tobytes()).digest()[:8], "big")
