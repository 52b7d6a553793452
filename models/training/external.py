"""What the model says about fields of other hospitals: false positives, refusals, cell counts.

Chula RBC-12 (Thailand) and BCCD fields are presumed free of malaria. Chula gives one labelled
point per red cell, BCCD one box per cell.
"""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from models.malaria.fields import FieldCell, cut_cells
from models.malaria.preprocess import Pixels, cell_pixels
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
        members = {name: name for name in tar.getnames()}
        labels = sorted(
            (int(PurePosixPath(name).stem), name)
            for name in members
            if name.startswith("Label/") and name.endswith(".txt")
        )
        for number, name in labels:
            picture = f"Dataset/{number}.jpg"
            if number % step == remainder and picture in members:
                lines = _member(tar, name).decode().split("\n")
                yield LabelledField(number, read_rgb(_member(tar, picture)), _centres(lines))


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
