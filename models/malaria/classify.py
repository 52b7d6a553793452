"""Grey cells to calibrated probabilities with LiteRT, and to refusals where there should be none.

Each cell is read in eight views (turned and mirrored) in one call of fixed size, so a cell's
answer does not depend on its neighbours; the views are averaged in logit space.
"""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.malaria.calibration import LITERT, WEIGHTS, Calibration, CellLimits, read_calibration
from models.malaria.preprocess import Floats, Pixels, network_input, views
from models.malaria.reading import CellAnswer, ImageKind, Refusal

VIEWS = 8
WIDTH = 96
FOREGROUND = 8
"""Above this grey a pixel of a 50x50 cell belongs to the cell."""

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Outputs:
    """The raw outputs for n cells, averaged over the views."""

    parasite: Vector
    """(n,) logit."""
    stranger: Vector
    """(n,) logit of "not a red cell"."""
    gap: Vector
    """(n, 96)."""


@dataclass(frozen=True, slots=True)
class Signs:
    """What is known of n cells when they are judged; each (n,)."""

    probability: Vector
    """Calibrated, that the cell holds a parasite."""
    stranger: Vector
    """The probability that it is no red cell."""
    distance: Vector
    """From the training cells."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One cell's answer."""

    answer: CellAnswer
    probability: float | None
    distance: float | None
    refusal: Refusal | None = None


class Network:
    """The LiteRT interpreter: one thread, one call at a time, the same bits each time."""

    def __init__(self, path: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._lock = threading.Lock()
        self._interpreter: Any = Interpreter(model_path=str(path), num_threads=1)
        place = self._interpreter.get_input_details()[0]
        self._input = place["index"]
        self._interpreter.resize_tensor_input(self._input, [VIEWS, *place["shape"][1:]])
        self._interpreter.allocate_tensors()
        details = self._interpreter.get_output_details()
        self._outputs = {tuple(one["shape"][1:]): one["index"] for one in details}

    def run(self, cells: Pixels) -> Outputs:
        """(n, 50, 50) grey cells to their outputs."""
        turned = views(network_input(cells))
        logits, gap = np.zeros((len(cells), 2)), np.zeros((len(cells), WIDTH))
        with self._lock:
            for number in range(len(cells)):
                self._invoke(turned[:, number])
                logits[number] = self._output((2,)).mean(axis=0)
                gap[number] = self._output((WIDTH,)).mean(axis=0)
        return Outputs(parasite=logits[:, 0], stranger=logits[:, 1], gap=gap)

    def features(self, cell: Pixels) -> Vector:
        """The last feature map (6, 6, 96) of one grey cell, unturned."""
        with self._lock:
            self._invoke(views(network_input(cell[None]))[:, 0])
            return np.asarray(self._output((6, 6, WIDTH))[0], dtype=np.float64)

    def _invoke(self, eight: Floats) -> None:
        self._interpreter.set_tensor(self._input, eight)
        self._interpreter.invoke()

    def _output(self, shape: tuple[int, ...]) -> Vector:
        found = self._interpreter.get_tensor(self._outputs[shape])
        return np.asarray(found, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Classifier:
    """The network with the limits that belong to it."""

    network: Network
    calibration: Calibration

    @classmethod
    def load(cls, folder: Path = WEIGHTS) -> "Classifier":
        """Load and check both; raises WeightsMismatch. Blocking."""
        calibration = read_calibration(folder)
        return cls(Network(folder / LITERT), calibration)

    def read(self, cells: Pixels, kind: ImageKind) -> tuple[Vector, list[Judgement]]:
        """The calibrated probability of every grey cell (n, 50, 50), and what is made of it.

        `kind` says whether they came as single cells or were cut out of fields.
        """
        outputs, known = self.network.run(cells), self.calibration
        signs = Signs(
            probability=sigmoid((outputs.parasite + known.offset) / known.temperature),
            stranger=sigmoid(outputs.stranger),
            distance=mahalanobis(outputs.gap, known.means, known.precision),
        )
        return signs.probability, judge(cells, signs, known, kind)

    def activation(self, cell: Pixels) -> Vector:
        """The class-activation map (6, 6) of one grey cell: where the model looked."""
        seen = self.network.features(cell) @ self.calibration.activation
        return np.asarray(seen, dtype=np.float64)


def judge(cells: Pixels, signs: Signs, known: Calibration, kind: ImageKind) -> list[Judgement]:
    """What is made of grey cells (n, 50, 50) of one kind of image."""
    limits = known.limits[kind]
    return [
        _judge(
            refusal=_shape(cell, limits)
            or _stranger(float(stranger), limits.reject)
            or _distance(float(distance), limits.distance),
            probability=float(probability),
            distance=float(distance),
            thresholds=(known.low, limits.high),
        )
        for cell, probability, stranger, distance in zip(
            cells, signs.probability, signs.stranger, signs.distance, strict=True
        )
    ]


def _judge(
    *, refusal: Refusal | None, probability: float, distance: float, thresholds: tuple[float, float]
) -> Judgement:
    if refusal is not None:
        return Judgement(CellAnswer.REFUSED, None, distance, refusal)
    if probability >= thresholds[1]:
        return Judgement(CellAnswer.PARASITE_LIKELY, probability, distance)
    if probability < thresholds[0]:
        return Judgement(CellAnswer.NOT_SEEN, probability, distance)
    return Judgement(CellAnswer.INDETERMINATE, probability, distance)


def _shape(cell: Pixels, limits: CellLimits) -> Refusal | None:
    """The cell's picture itself: does it fill its box as a cell does, as light and as varied?"""
    share, mean, spread = cell_signs(cell)
    within = (
        limits.foreground[0] <= share <= limits.foreground[1]
        and limits.mean[0] <= mean <= limits.mean[1]
        and limits.spread[0] <= spread <= limits.spread[1]
    )
    if within:
        return None
    return Refusal(
        "cell-shape",
        "Its outline or brightness is not that of a red cell on a black background.",
        "Cut out one whole red cell, or send the field it lies in.",
    )


def _stranger(probability: float, limit: float) -> Refusal | None:
    if probability <= limit:
        return None
    return Refusal(
        "not-a-red-cell",
        "It looks like something else than a red cell: a white cell, a platelet, stain "
        "or several cells together.",
        "Look at it under the microscope; it was not counted.",
    )


def _distance(distance: float, limit: float) -> Refusal | None:
    if distance <= limit:
        return None
    return Refusal(
        "unlike-training",
        "It differs too much from the cells that the model learnt from.",
        "Look at it under the microscope; it was not counted.",
    )


def cell_signs(cell: Pixels) -> tuple[float, float, float]:
    """Share of the box that the cell fills, its mean grey and the spread of its greys."""
    inside = cell[cell > FOREGROUND]
    if inside.size == 0:
        return 0.0, 0.0, 0.0
    return inside.size / cell.size, float(inside.mean()), float(inside.std())


def sigmoid(logits: Vector) -> Vector:
    """1 / (1 + e^-x), safe for large values."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)), dtype=np.float64)


def mahalanobis(gap: Vector, means: Vector, precision: Vector) -> Vector:
    """The distance of each vector (n, 96) from the nearer class mean (2, 96)."""
    away = gap[:, None, :] - means[None]
    squared = np.einsum("nci,ij,ncj->nc", away, precision, away)
    return np.asarray(np.sqrt(np.maximum(squared, 0.0)).min(axis=1), dtype=np.float64)
