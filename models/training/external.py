"""What the model says about fields of other hospitals: false positives, refusals, cell counts.

Chula RBC-12 (Thailand) and BCCD fields are presumed free of malaria. Chula gives one labelled
point per red cell, BCCD one box per cell.
"""

import hashlib
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from models.malaria.fields import FieldCell, cut_cells
from models.malaria.preprocess import Pixels, cell_pixels
from models.training.cells import LeakError
from models.training.outliers import read_rgb


@dataclass(frozen=True, slots=True)
class LabelledField:
    """One field: RGB pixels and the labelled centres (x, y) of its red cells."""

    number: int
    rgb: Pixels
    centres: tuple[tuple[int, int], ...]


def read_chula(archive: Path, *, remainder: int, step: int) -> Iterator[LabelledField]:
    """The labelled fields whose number leaves `remainder` when divided by `step`."""
    with tarfile.open(archive) as tar:
        for number in _numbers(tar, remainder, step):
            lines = _member(tar, f"Label/{number}.txt").decode().split("\n")
            rgb = read_rgb(_member(tar, _picture(number)))
            yield LabelledField(number, rgb, _centres(lines))


def check_no_picture_crosses(
    archive: Path, first: tuple[int, int], second: tuple[int, int]
) -> None:
    """Raise LeakError naming both when a picture of the first set (remainder, step) is, byte by
    byte, one of the second: the archive holds some pictures twice, under two numbers."""
    with tarfile.open(archive) as tar:
        of_first, of_second = (
            {_sha256(tar, number): number for number in _numbers(tar, *chosen)}
            for chosen in (first, second)
        )
    for digest in of_first.keys() & of_second.keys():
        names = f"{_picture(of_first[digest])} and {_picture(of_second[digest])}"
        raise LeakError(f"{archive.name}: {names} are one picture, which lies in two sets")


def _numbers(tar: tarfile.TarFile, remainder: int, step: int) -> list[int]:
    """The numbers of one set of which there are both label and picture, in order."""
    members = set(tar.getnames())
    labels = (PurePosixPath(name) for name in members if name.startswith("Label/"))
    numbers = sorted(int(label.stem) for label in labels if label.suffix == ".txt")
    return [each for each in numbers if each % step == remainder and _picture(each) in members]


def _picture(number: int) -> str:
    return f"Dataset/{number}.jpg"


def _sha256(tar: tarfile.TarFile, number: int) -> str:
    return hashlib.sha256(_member(tar, _picture(number))).hexdigest()


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    if file is None:
        raise ValueError(f"{name} is not a file in the archive")
    return file.read()


def _centres(lines: list[str]) -> tuple[tuple[int, int], ...]:
    parts = [line.split() for line in lines if line.strip()]
    return tuple((int(float(x)), int(float(y))) for x, y, *_ in parts)


def whole_cells(rgb: Pixels) -> tuple[list[FieldCell], Pixels]:
    """The whole cells of a field and what the network would see of them."""
    cells = [cell for cell in cut_cells(rgb) if not cell.is_cut_off]
    pixels = [cell_pixels(cell.crop) for cell in cells]
    return cells, np.stack(pixels) if pixels else np.zeros((0, 50, 50), np.uint8)
