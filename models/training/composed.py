"""Composed films with known truth: what is answered, by number of cells and share infected.

Clean cells are drawn from Chula fields that set no limit, infected ones are judged out of fold;
each film draws its clean cells from one field series, so that films differ as they do in life.
"""

from collections.abc import Sequence

import numpy as np

from models.malaria.calibration import Calibration
from models.malaria.pool import Rules, pool
from models.malaria.reading import (
    Box,
    CellAnswer,
    CellReading,
    ImageKind,
    ImageReading,
    SmearAnswer,
)

COUNTS = (50, 100, 250, 500, 600, 1000, 2000)
SHARES = (0.0, 0.02, 0.05, 0.1, 0.3)
DRAWS = 400
FIELDS_IN_A_FILM = 12
"""Neighbouring fields whose cells one composed film draws from."""

Row = dict[str, float]


def composed_films(
    clean: Sequence[Sequence[CellAnswer]], infected: Sequence[CellAnswer], known: Calibration
) -> list[Row]:
    """`clean` holds the answers of each field's cells. One row for each count and share."""
    chance = np.random.default_rng(11)
    told = known.told({ImageKind.FIELD})
    rules = Rules(known.floor_cell, known.floor_field, told, known.cells)
    rows = []
    for cells in COUNTS:
        for share in SHARES:
            answers = [
                _film(clean, infected, cells=cells, share=share, chance=chance)
                for _ in range(DRAWS)
            ]
            found = [pool([film], rules).answer for film in answers]
            shares = {answer.value: found.count(answer) / DRAWS for answer in SmearAnswer}
            rows.append({"cells": cells, "infected": share, **shares})
    return rows


def _film(
    clean: Sequence[Sequence[CellAnswer]],
    infected: Sequence[CellAnswer],
    *,
    cells: int,
    share: float,
    chance: np.random.Generator,
) -> ImageReading:
    first = int(chance.integers(max(len(clean) - FIELDS_IN_A_FILM, 1)))
    near = [answer for field in clean[first : first + FIELDS_IN_A_FILM] for answer in field]
    many = int(chance.binomial(cells, share))
    drawn = [near[int(i)] for i in chance.integers(len(near), size=cells - many)]
    drawn += [infected[int(i)] for i in chance.integers(len(infected), size=many)]
    readings = tuple(CellReading(Box(0, 0, 1, 1), answer, None, None) for answer in drawn)
    return ImageReading(ImageKind.FIELD, "", None, None, None, readings)
