"""The training cells: an npz with `x, y, name, patient, split`, dealt by patient."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.malaria.preprocess import SIDE, Pixels


class LeakError(ValueError):
    """A patient's cells, or a picture, lie in more than one set: nothing measured would be true."""


@dataclass(frozen=True, slots=True)
class Cells:
    """Grey cells (n, 50, 50), 1 for parasitized, and whose they are."""

    x: Pixels
    y: npt.NDArray[np.uint8]
    patient: npt.NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.y)

    def __post_init__(self) -> None:
        if self.x.dtype != np.uint8 or self.x.shape[1:] != (SIDE, SIDE):
            raise ValueError(
                f"x must be uint8 (n, {SIDE}, {SIDE}), not {self.x.dtype} {self.x.shape}"
            )
        if not len(self.x) == len(self.y) == len(self.patient):
            raise ValueError("x, y and patient differ in length")
        if not np.isin(self.y, (0, 1)).all():
            raise ValueError("y must be 0 or 1")


def read_splits(path: Path) -> dict[str, Cells]:
    """All splits of an npz by name; raises LeakError when a patient lies in two of them."""
    with np.load(path, allow_pickle=False) as arrays:
        missing = {"x", "y", "patient", "split"} - set(arrays.files)
        if missing:
            raise ValueError(f"{path.name} lacks {', '.join(sorted(missing))}")
        x, y, patient, split = (arrays[key] for key in ("x", "y", "patient", "split"))
    check_no_patient_crosses(patient, split)
    return {
        str(name): Cells(x[split == name], y[split == name], patient[split == name])
        for name in np.unique(split)
    }


def check_no_patient_crosses(patient: npt.NDArray[np.str_], split: npt.NDArray[np.str_]) -> None:
    """Raise LeakError naming the patients that lie in more than one split."""
    pairs = np.unique(np.stack([patient.astype("U32"), split.astype("U32")]), axis=1)
    names, counts = np.unique(pairs[0], return_counts=True)
    crossing = names[counts > 1]
    if len(crossing):
        raise LeakError(f"patients in more than one split: {', '.join(crossing[:10])}")


def healthy_patients(cells: Cells) -> npt.NDArray[np.bool_]:
    """The cells of patients who have no parasitized cell."""
    infected = np.unique(cells.patient[cells.y == 1])
    return ~np.isin(cells.patient, infected)


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
