"""Folds of a grouped cross-validation: whole patients, dealt so that burdens match."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from models.training.cells import Cells

FOLDS = 5


def deal(cells: Cells, seed: int) -> npt.NDArray[np.int64]:
    """(n,) the fold of each cell, 0 to FOLDS - 1. Patients are dealt by how many parasitized cells
    they have, to and fro; those with equally many come in an order that the seed alone decides.
    ValueError when there are fewer patients than folds."""
    chance = np.random.default_rng(seed)
    names = np.unique(cells.patient)
    if len(names) < FOLDS:
        raise ValueError(f"{len(names)} patients cannot be dealt to {FOLDS} folds")
    burden = {name: int(cells.y[cells.patient == name].sum()) for name in names}
    order = sorted(names, key=lambda name: (-burden[name], chance.random()))
    fold = {name: _to_and_fro(place) for place, name in enumerate(order)}
    return np.array([fold[name] for name in cells.patient], dtype=np.int64)


def _to_and_fro(place: int) -> int:
    row, column = divmod(place, FOLDS)
    return column if row % 2 == 0 else FOLDS - 1 - column


def joined(splits: Mapping[str, Cells]) -> Cells:
    """The cells of all splits, in the order of the splits' names."""
    parts = [splits[name] for name in sorted(splits)]
    return Cells(
        np.concatenate([part.x for part in parts]),
        np.concatenate([part.y for part in parts]),
        np.concatenate([part.patient for part in parts]),
    )


def chosen(cells: Cells, where: npt.NDArray[np.bool_]) -> Cells:
    """The cells for which `where` is true."""
    return Cells(cells.x[where], cells.y[where], cells.patient[where])
