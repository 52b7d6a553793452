"""Temperature, thresholds and limits, from what networks say of patients that they never saw."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from models.malaria.classify import Network, Outputs, cell_signs, mahalanobis, sigmoid
from models.malaria.pool import detection_limit, wilson
from models.malaria.preprocess import Pixels
from models.training.cells import Cells, healthy_patients
from models.training.metrics import Vector, scaling
from models.training.unseen import OutOfFold

SENSITIVITY_OF_LOW = 0.98
"""Below the lower threshold lie at most 2 of 100 parasitized cells."""
SPECIFICITY_OF_HIGH = 0.99
"""From the upper threshold on lies at most 1 of 100 uninfected cells."""
STRANGERS_PASS = 0.992
DISTANCES_PASS = 0.998
SIGNS_PASS = 0.9985
FIELD_DISTANCES_PASS = 0.97
FIELD_SIGNS_PASS = 0.995
STRANGERS_REFUSED = 0.97
"""Of white cells and platelets cut out of fields by their own masks, as serving cuts them; few set
this limit, and two in 100 more are refused there so that 95 in 100 are elsewhere."""
CELLS_FOR_AN_ANSWER = 500
CELLS_COUNTED = 1000
"""The threshold in fields is the one that tells the smallest share in so many cells."""
CANDIDATES = 1.0 - np.logspace(-0.7, -3.5, 57)
"""Thresholds that are tried for fields: 0.8 to 0.9997."""
BANDS = (0.0, 0.02, 0.1, 0.3, 0.7, 0.9, 0.98, 1.0)
"""Ends of the bands of probability for which it is told how many were parasitized."""
CHUNK = 512

Progress = Callable[[str, int, int], None]
Found = dict[str, Any]


def run(network: Network, cells: Pixels, *, step: str, progress: Progress) -> Outputs:
    """All outputs for many cells, told in chunks."""
    parts = []
    for start in range(0, len(cells), CHUNK):
        parts.append(network.run(cells[start : start + CHUNK]))
        progress(step, min(start + CHUNK, len(cells)), len(cells))
    return Outputs(
        parasite=np.concatenate([part.parasite for part in parts]),
        stranger=np.concatenate([part.stranger for part in parts]),
        gap=np.concatenate([part.gap for part in parts]),
    )


def calibrate(cells: Cells, unseen: OutOfFold) -> Found:
    """The parts of calibration.json that come from single cells; see `add_fields`."""
    temperature, offset = scaling(cells.y, unseen.parasite)
    probability = sigmoid((unseen.parasite + offset) / temperature)
    infected, clean = probability[cells.y == 1], probability[cells.y == 0]
    high = float(np.quantile(clean, SPECIFICITY_OF_HIGH))
    low = min(float(np.quantile(infected, 1 - SENSITIVITY_OF_LOW)), high)
    return {
        "temperature": temperature,
        "offset": offset,
        "thresholds": {"low": low, "cells": CELLS_FOR_AN_ANSWER},
        "floor": {"cell": upper_share(clean >= high)},
        "sensitivity": {"cell": float((infected >= high).mean())},
        "bands": _bands(cells, probability),
        "limits": {
            "cell": {
                **_signs(cells.x, SIGNS_PASS),
                "distance": float(np.quantile(unseen.distance, DISTANCES_PASS)),
                "reject": float(np.quantile(sigmoid(unseen.stranger), STRANGERS_PASS)),
                "high": high,
            }
        },
    }


def _bands(cells: Cells, probability: Vector) -> list[dict[str, float | int]]:
    found = []
    for low, high in pairwise(BANDS):
        inside = (probability >= low) & ((probability < high) | (high == BANDS[-1]))
        counts = {"cells": int(inside.sum()), "positive": int(cells.y[inside].sum())}
        found.append({"from": low, "to": high, **counts})
    return found


def upper_share(called: npt.NDArray[np.bool_]) -> float:
    """The upper end of the 95 % Wilson interval of a share."""
    return wilson(int(called.sum()), len(called))[1]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Cells cut out of fields that set limits and report nothing."""

    films: Sequence[Pixels]
    """Red cells of neighbouring fields each, presumed free of malaria."""
    strangers: Pixels
    """White cells and platelets."""


def add_fields(
    found: Found, network: Network, around: Surroundings, *, known: Cells, logits: Vector
) -> None:
    """Complete the calibration with limits for cells cut out of fields, their threshold and floor.

    `known` and `logits` are the single cells out of fold. The floor is the share called positive in
    the worst film, or in patients without malaria, whichever is more.
    """
    films = around.films
    cells = np.concatenate(films)
    film = np.repeat(np.arange(len(films)), [len(one) for one in films])
    strange = sigmoid(network.run(around.strangers).stranger)
    reject = float(np.quantile(strange, 1 - STRANGERS_REFUSED))
    outputs = run(network, cells, step="fields", progress=lambda *_: None)
    distances = mahalanobis(
        outputs.gap,
        np.asarray(found["distance"]["means"]),
        np.asarray(found["distance"]["precision"]),
    )
    is_red = sigmoid(outputs.stranger) <= reject
    seen, alone = _signs(cells[is_red], FIELD_SIGNS_PASS), found["limits"]["cell"]
    limits = {
        name: [min(ends[0], alone[name][0]), max(ends[1], alone[name][1])]
        for name, ends in seen.items()
    }
    limit = float(np.quantile(distances[is_red], FIELD_DISTANCES_PASS))
    read = is_red & (distances <= limit)
    scaled = _scaled(found, outputs.parasite)
    in_films = [scaled[read & (film == number)] for number in range(len(films))]
    high, floor, told = _threshold(in_films, known, _scaled(found, logits))
    found["limits"]["field"] = {**limits, "distance": limit, "reject": reject, "high": high}
    found["floor"]["field"], found["sensitivity"]["field"] = floor, told


def _threshold(
    films: Sequence[Vector], known: Cells, probability: Vector
) -> tuple[float, float, float]:
    """The threshold with the least detection limit, its floor and its sensitivity."""
    infected = probability[known.y == 1]
    healthy = probability[healthy_patients(known)]
    best: tuple[float, float, float, float] | None = None
    for high in CANDIDATES:
        worst = max(float((film >= high).mean()) for film in films if len(film))
        pooled = upper_share(np.concatenate(films) >= high)
        floor = max(worst, pooled, upper_share(healthy >= high))
        told = float((infected >= high).mean())
        limit = detection_limit(CELLS_COUNTED, floor, told)
        if limit is not None and (best is None or limit < best[0]):
            best = limit, float(high), floor, told
    if best is None:
        raise ValueError("no threshold tells infected films from clean ones")
    return best[1:]


def _scaled(found: Found, logits: Vector) -> Vector:
    return sigmoid((logits + found["offset"]) / found["temperature"])


def _signs(cells: Pixels, passing: float) -> dict[str, list[float]]:
    signs = np.array([cell_signs(cell) for cell in cells])
    ends = np.quantile(signs, [1 - passing, passing], axis=0)
    return {
        name: [float(ends[0, column]), float(ends[1, column])]
        for column, name in enumerate(("foreground", "mean", "spread"))
    }
