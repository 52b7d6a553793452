"""What networks say of patients that they never saw: each cell is read by the one network of the
five that did not learn from its patient."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.malaria.classify import mahalanobis, sigmoid
from models.malaria.preprocess import Floats, Pixels, network_input, views
from models.training.cells import Cells
from models.training.evaluate import measured
from models.training.folds import FOLDS, chosen
from models.training.metrics import Vector, scaling
from models.training.study import Progress, Study

CHUNK = 512
SPREAD_EVERY = 4
_NAMES = ("logits", "gap")

Net = Callable[..., Any]
"""A Keras model: views (n, 50, 50, 1) to `logits` (n, 2), `gap` (n, 96) and more."""


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """Of each cell, by the network that never saw its patient; the mean of the eight views."""

    parasite: Vector
    """(n,) logit."""
    stranger: Vector
    """(n,) logit of "not a red cell"."""
    distance: Vector
    """(n,) Mahalanobis distance from the cells that this network learnt from."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Of the vectors of one network's training cells: class means (2, 96), and the inverse of the
    covariance that both share (96, 96)."""

    means: Vector
    precision: Vector


def out_of_fold(study: Study, nets: Sequence[Net], progress: Progress) -> OutOfFold:
    """What the network of each fold says of it."""
    count = len(study.cells)
    found = OutOfFold(np.zeros(count), np.zeros(count), np.zeros(count))
    for number, net in enumerate(nets):
        own, spread = study.fold == number, spread_of(net, study.without(number))
        logits, gap = _outputs(net, study.cells.x[own])
        found.parasite[own], found.stranger[own] = logits.T
        found.distance[own] = mahalanobis(gap, spread.means, spread.precision)
        progress("cells out of fold", number + 1, len(nets))
    return found


def spread_of(net: Net, learnt: Cells) -> Spread:
    """How the cells that a network learnt from lie; of every SPREAD_EVERY-th of them."""
    some = chosen(learnt, np.arange(len(learnt)) % SPREAD_EVERY == 0)
    gap = _outputs(net, some.x)[1]
    means = np.stack([gap[some.y == kind].mean(axis=0) for kind in (0, 1)])
    away = gap - means[some.y.astype(int)]
    covariance = away.T @ away / len(away)
    # Drawn slightly to the diagonal, so that it can be inverted.
    ridge = 1e-3 * float(np.trace(covariance)) / len(covariance)
    return Spread(means, np.linalg.inv(covariance + ridge * np.eye(len(covariance))))


def logits_out_of_fold(study: Study, nets: Sequence[Net], progress: Progress) -> Vector:
    """(n,) the parasite logits alone, which is all that a recipe is judged by."""
    found = np.zeros(len(study.cells))
    for number, net in enumerate(nets):
        own = study.fold == number
        found[own] = _outputs(net, study.cells.x[own])[0][:, 0]
        progress("cells out of fold", number + 1, len(nets))
    return found


def figures(study: Study, logits: Vector) -> dict[str, Any]:
    """Figures of parasite logits (n,) out of fold: `pooled`, by `folds`, and the recipe. Each fold
    is scaled by the temperature and offset that suit the others; the threshold is one half."""
    probability = scaled(study.cells, study.fold, logits)
    return {
        "pooled": measured(study.cells, probability),
        "folds": [
            measured(study.within(number), probability[study.fold == number])
            for number in range(FOLDS)
        ],
        "recipe": asdict(study.recipe),
        "data_sha256": study.data_sha256,
    }


def scaled(cells: Cells, fold: npt.NDArray[np.int64], logits: Vector) -> Vector:
    """Probabilities (n,) of logits out of fold; no fold's own truth is in its scaling."""
    probability = np.zeros(len(cells))
    for number in np.unique(fold):
        own = fold == number
        temperature, offset = scaling(cells.y[~own], logits[~own])
        probability[own] = sigmoid((logits[own] + offset) / temperature)
    return probability


def _outputs(net: Net, cells: Pixels) -> tuple[Vector, Vector]:
    """Logits (n, 2) and vectors (n, 96), each the mean over eight views."""
    parts = []
    for start in range(0, len(cells), CHUNK):
        turned: Floats = views(network_input(cells[start : start + CHUNK]))
        several = [net(view, training=False) for view in turned]
        parts.append(
            [np.mean([np.asarray(one[name]) for one in several], axis=0) for name in _NAMES]
        )
    logits, gap = (np.concatenate(each).astype(np.float64) for each in zip(*parts, strict=True))
    return logits, gap
