"""Temperature, thresholds and limits for final weights, from training and validation cells only.

The test patients are not in anything here.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from models.malaria.classify import Network, Outputs, cell_signs, mahalanobis, sigmoid
from models.malaria.pool import wilson
from models.malaria.preprocess import Pixels
from models.training.cells import Cells
from models.training.metrics import Vector, scaling

SENSITIVITY_OF_LOW = 0.98
"""Below the lower threshold lie at most 2 of 100 parasitized validation cells."""
SPECIFICITY_OF_HIGH = 0.99
"""From the upper threshold on lies at most 1 of 100 uninfected validation cells."""
STRANGERS_PASS = 0.992
DISTANCES_PASS = 0.998
SIGNS_PASS = 0.9985
FIELD_DISTANCES_PASS = 0.97
FIELD_SIGNS_PASS = 0.995
FIELD_REJECT = 0.9
"""In fields, where red cells are cut out less neatly; white cells and platelets lie above it."""
CELLS_FOR_AN_ANSWER = 500
CHUNK = 512

Progress = Callable[[str, int, int], None]


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


def calibrate(network: Network, *, train: Cells, val: Cells, progress: Progress) -> dict[str, Any]:
    """The parts of calibration.json that come from single cells; see `add_fields`."""
    learnt = run(network, train.x, step="training cells", progress=progress)
    held = run(network, val.x, step="validation cells", progress=progress)
    temperature, offset = scaling(val.y, held.parasite)
    probability = sigmoid((held.parasite + offset) / temperature)
    means, precision = _spread(learnt.gap, train)
    distances = mahalanobis(held.gap, means, precision)
    infected, clean = probability[val.y == 1], probability[val.y == 0]
    high = float(np.quantile(clean, SPECIFICITY_OF_HIGH))
    low = min(float(np.quantile(infected, 1 - SENSITIVITY_OF_LOW)), high)
    return {
        "temperature": temperature,
        "offset": offset,
        "thresholds": {
            "low": low,
            "high": high,
            "cells": CELLS_FOR_AN_ANSWER,
        },
        "floor": {"cell": upper_share(clean >= high)},
        "sensitivity": float((infected >= high).mean()),
        "limits": {
            "cell": {
                **_signs(train.x, SIGNS_PASS),
                "distance": float(np.quantile(distances, DISTANCES_PASS)),
                "reject": float(np.quantile(sigmoid(held.stranger), STRANGERS_PASS)),
            }
        },
        "distance": {"means": means.tolist(), "precision": precision.tolist()},
    }


def upper_share(called: np.ndarray) -> float:
    """The upper end of the 95 % Wilson interval of a share."""
    return wilson(int(called.sum()), len(called))[1]


def _spread(gap: Vector, cells: Cells) -> tuple[Vector, Vector]:
    """Class means, and the inverse of the shared covariance, slightly drawn to the diagonal."""
    means = np.stack([gap[cells.y == kind].mean(axis=0) for kind in (0, 1)])
    away = gap - means[cells.y.astype(int)]
    covariance = away.T @ away / len(away)
    ridge = 1e-3 * float(np.trace(covariance)) / len(covariance)
    return means, np.linalg.inv(covariance + ridge * np.eye(len(covariance)))


def add_fields(
    found: dict[str, Any], network: Network, *, films: list[Pixels], progress: Progress
) -> None:
    """Complete the calibration with limits for cells cut out of fields, and with their floor.

    `films` are the cells of neighbouring fields each, presumed free of malaria and not used to
    report figures. The floor is the share called positive in the worst of them, for films differ.
    """
    cells = np.concatenate(films)
    film = np.repeat(np.arange(len(films)), [len(one) for one in films])
    outputs = run(network, cells, step="fields without parasites", progress=progress)
    distances = mahalanobis(
        outputs.gap,
        np.asarray(found["distance"]["means"]),
        np.asarray(found["distance"]["precision"]),
    )
    is_red = sigmoid(outputs.stranger) <= FIELD_REJECT
    seen, alone = _signs(cells[is_red], FIELD_SIGNS_PASS), found["limits"]["cell"]
    limits = {
        name: [min(ends[0], alone[name][0]), max(ends[1], alone[name][1])]
        for name, ends in seen.items()
    }
    limit = float(np.quantile(distances[is_red], FIELD_DISTANCES_PASS))
    found["limits"]["field"] = {**limits, "distance": limit, "reject": FIELD_REJECT}
    logits = (outputs.parasite + found["offset"]) / found["temperature"]
    positive = sigmoid(logits) >= found["thresholds"]["high"]
    read = is_red & (distances <= limit)
    in_films = [positive[read & (film == number)] for number in range(len(films))]
    worst = max(float(one.mean()) for one in in_films if len(one))
    found["floor"]["field"] = max(worst, upper_share(positive[read]))


def _signs(cells: Pixels, passing: float) -> dict[str, list[float]]:
    signs = np.array([cell_signs(cell) for cell in cells])
    ends = np.quantile(signs, [1 - passing, passing], axis=0)
    return {
        name: [float(ends[0, column]), float(ends[1, column])]
        for column, name in enumerate(("foreground", "mean", "spread"))
    }
