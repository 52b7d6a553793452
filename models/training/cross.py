"""Grouped cross-validation of the malaria network: one network for each fold, learnt from the
patients of the others, and what it says of the patients that it never saw.

It judges a recipe; nothing of it is served. The networks are kept in a work folder, so that a run
that was cut off goes on, and one with another recipe is not mixed up with it.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from models.malaria.classify import sigmoid
from models.malaria.preprocess import Pixels, network_input, views
from models.training.cells import Cells, file_sha256, read_splits
from models.training.evaluate import measures, worst_patients
from models.training.fit import Material, Recipe, fit, fix_threads
from models.training.folds import FOLDS, chosen, deal, joined
from models.training.malaria import Sources, surroundings
from models.training.metrics import Vector, drawn_auc, scaling

CHUNK = 512
RECIPE = "recipe.json"

Progress = Callable[[str, int, int], None]


class OtherRecipe(ValueError):
    """The work folder holds networks of another recipe or other data."""


@dataclass(frozen=True)
class Study:
    """Cells, the fold of each, what else is learnt from, and how."""

    cells: Cells
    fold: npt.NDArray[np.int64]
    foreign: Pixels
    outliers: Pixels
    recipe: Recipe
    data_sha256: str


def cross_validate(data: Path, work: Path, recipe: Recipe, progress: Progress) -> dict[str, Any]:
    """The figures of the recipe out of fold: `pooled`, by `folds`, and the recipe itself.

    Raises SetMissing, LeakError, OtherRecipe or ValueError before any learning.
    """
    fix_threads()
    sources = Sources.find(data)
    cells = joined(read_splits(sources.cells))
    foreign, outliers = surroundings(cells, sources.bccd, seed=recipe.seed, progress=progress)
    fold = deal(cells, recipe.seed)
    study = Study(cells, fold, foreign, outliers, recipe, file_sha256(sources.cells))
    return figures(study, networks(study, work, progress), progress)


def networks(study: Study, work: Path, progress: Progress) -> list[keras.Model]:
    """The network of each fold, learnt now unless the work folder has it already."""
    work.mkdir(parents=True, exist_ok=True)
    mark = json.dumps({**asdict(study.recipe), "data": study.data_sha256}, sort_keys=True)
    path = work / RECIPE
    if path.is_file() and path.read_text(encoding="utf-8") != mark:
        raise OtherRecipe(f"{work} holds networks of another recipe or other data")
    path.write_text(mark, encoding="utf-8")
    return [_network(study, number, work, progress) for number in range(FOLDS)]


def _network(study: Study, number: int, work: Path, progress: Progress) -> keras.Model:
    path = work / f"fold{number}.keras"
    if not path.is_file():
        own = chosen(study.cells, study.fold != number)
        material = Material(own, study.foreign, study.outliers)
        step = f"learning without fold {number}"
        model = fit(material, study.recipe, lambda done, total, loss: progress(step, done, total))
        whole = path.with_name(f"new-{path.name}")
        model.save(whole)
        whole.rename(path)
    return keras.models.load_model(path)


def figures(study: Study, learnt: list[keras.Model], progress: Progress) -> dict[str, Any]:
    """What the networks say of the patients that they never saw: mean of eight views, each fold
    scaled by the temperature and offset that suit the others, threshold one half."""
    cells, fold = study.cells, study.fold
    logits = np.zeros(len(cells))
    for number, model in enumerate(learnt):
        logits[fold == number] = _logits(model, cells.x[fold == number])
        progress("cells out of fold", number + 1, len(learnt))
    probability = scaled(cells, fold, logits)
    return {
        "pooled": {
            **_measured(cells, probability),
            "auc_interval": drawn_auc(cells.patient, cells.y, probability, seed=1),
        },
        "folds": [
            _measured(chosen(cells, fold == number), probability[fold == number])
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


def _measured(cells: Cells, probability: Vector) -> dict[str, Any]:
    return {
        **measures(cells, probability),
        "worst_patients": worst_patients(cells, probability),
    }


def _logits(model: keras.Model, cells: Pixels) -> Vector:
    """(n,) the parasite logit, mean of eight views."""
    found = []
    for start in range(0, len(cells), CHUNK):
        turned = views(network_input(cells[start : start + CHUNK]))
        several = [np.asarray(model(view, training=False)["logits"])[:, 0] for view in turned]
        found.append(np.mean(several, axis=0))
    return np.concatenate(found).astype(np.float64)
