"""What the folds of patients learn from: the files, and everything gathered from them.

`nih50_dev.npz` (or another npz of its layout), `bccd.tar` and `chula_rbc12_fields.tar` lie in one
folder. Learning sees training fields of BCCD; other fields set limits or are reported.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.malaria.preprocess import Pixels
from models.training.cells import Cells, file_sha256, read_splits
from models.training.folds import chosen, deal, joined
from models.training.outliers import masked_junk, masked_strangers, read_bccd, red_cells, strangers
from models.training.recipe import Recipe

CELLS, BCCD, CHULA = "nih50_dev.npz", "bccd.tar", "chula_rbc12_fields.tar"
JUNK = 3000
MASKED_AGAIN = 3
"""White cells cut out by their own masks are few and the hardest; they count this often."""

Progress = Callable[[str, int, int], None]


class SetMissing(FileNotFoundError):
    """A file that training needs is not in the folder."""


@dataclass(frozen=True, slots=True)
class Sources:
    """The files that training reads."""

    cells: Path
    bccd: Path
    chula: Path

    @classmethod
    def find(cls, place: Path) -> "Sources":
        """From a folder, or from the npz in it; raises SetMissing naming what is absent."""
        cells = place if place.suffix == ".npz" else place / CELLS
        sources = cls(cells, cells.parent / BCCD, cells.parent / CHULA)
        for path in (sources.cells, sources.bccd, sources.chula):
            if not path.is_file():
                raise SetMissing(f"{path} is not there; see docs/models/malaria.md for the data")
        return sources

    def sha256(self) -> dict[str, str]:
        """The hash of each file by its name."""
        return {path.name: file_sha256(path) for path in (self.cells, self.bccd, self.chula)}


@dataclass(frozen=True)
class Study:
    """Cells, the fold of each, what else is learnt from, and how."""

    cells: Cells
    fold: npt.NDArray[np.int64]
    foreign: Pixels
    """Red cells of another hospital, not parasitized."""
    outliers: Pixels
    """Pictures of no red cell, some in outlines of the cells."""
    recipe: Recipe
    data_sha256: str

    def within(self, number: int) -> Cells:
        """The cells of one fold."""
        return chosen(self.cells, self.fold == number)

    def without(self, number: int) -> Cells:
        """The cells of all other folds."""
        return chosen(self.cells, self.fold != number)


def gather(sources: Sources, recipe: Recipe, progress: Progress) -> Study:
    """All patients' cells dealt into folds, and what is learnt from besides; LeakError or
    ValueError when the cells are not right."""
    cells = joined(read_splits(sources.cells))
    fold = deal(cells, recipe.seed)
    chance = np.random.default_rng(recipe.seed)
    fields = list(read_bccd(sources.bccd, "train"))
    foreign: list[Pixels] = []
    outliers: list[Pixels] = []
    for number, field in enumerate(fields, start=1):
        foreign += red_cells(field)
        outliers += strangers(field) + MASKED_AGAIN * masked_strangers(field)
        progress("training fields", number, len(fields))
    junk = masked_junk(cells.x, [field.rgb for field in fields], JUNK, chance)
    strange = np.concatenate([np.stack(outliers), junk])
    return Study(cells, fold, np.stack(foreign), strange, recipe, file_sha256(sources.cells))
