"""Train the malaria cell model: one command from data to weights, limits, metrics and pages.

Five networks learn, each without a fifth of the patients; what each says of those sets
temperature, thresholds and limits, and is what is reported. A sixth learns from all patients and
is what is served. Fields of other hospitals learn, set limits and are reported apart.
"""

import json
import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from models.malaria.calibration import (
    CALIBRATION,
    KERAS,
    LITERT,
    WEIGHTS,
    malaria_card,
    read_calibration,
)
from models.malaria.classify import Network
from models.malaria.preprocess import VERSION
from models.training.calibrate import Found, Surroundings, add_fields, calibrate
from models.training.cells import file_sha256
from models.training.composed import FIELDS_IN_A_FILM as IN_A_FILM
from models.training.external import check_no_picture_crosses, read_chula, whole_cells
from models.training.folds import FOLDS
from models.training.outliers import masked_strangers, read_bccd, red_cells
from models.training.page import write_page
from models.training.recipe import VERSION_MADE, Recipe, Run
from models.training.report import METRICS, REPORTED_FIELDS, measure, write_json
from models.training.seeds import other_seeds
from models.training.study import Progress, Sources, Study, gather
from models.training.unseen import figures, logits_out_of_fold, out_of_fold, spread_of

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

HOW = Path(__file__).parent / "malaria_method.md"
MODEL_ID = "malaria-cell"
FLOOR_FIELDS = (0, 6)
"""Chula fields whose number leaves this remainder, by this divisor, set limits for fields."""


def train(data: Path, run: Run, progress: Progress) -> dict[str, Any]:
    """Train, export, calibrate, measure, and write all of it into `run.weights`; the metrics come
    back.

    Raises SetMissing, LeakError or ValueError before any work when the data are not right.
    """
    sources = Sources.find(data)
    check_no_picture_crosses(sources.chula, FLOOR_FIELDS, REPORTED_FIELDS)

    from models.training.cross import networks

    recipe = Recipe() if run.epochs is None else Recipe(epochs=run.epochs)
    weights = run.weights
    study = gather(sources, recipe, progress)
    with tempfile.TemporaryDirectory() as folder:
        nets = networks(study, run.work or Path(folder), range(FOLDS + 1), progress)
    found, whole = out_of_fold(study, nets[:FOLDS], progress), nets[FOLDS]
    weights.mkdir(parents=True, exist_ok=True)
    known = {**_export(whole, weights), **calibrate(study.cells, found)}
    spread = spread_of(whole, study.cells)
    known["distance"] = {"means": spread.means.tolist(), "precision": spread.precision.tolist()}
    around = _surroundings(sources, progress)
    network = Network(weights / LITERT)
    add_fields(known, network, around, known=study.cells, logits=found.parasite)
    _describe(known, weights, sources, study)
    return measure(sources, weights, study=study, found=found, progress=progress)


def cross_validate(data: Path, work: Path, recipe: Recipe, progress: Progress) -> dict[str, Any]:
    """The figures of a recipe out of fold; nothing is written but the networks in `work`.

    Raises SetMissing, LeakError, OtherRecipe or ValueError before any learning.
    """
    sources = Sources.find(data)

    from models.training.cross import networks

    study = gather(sources, recipe, progress)
    nets = networks(study, work, range(FOLDS), progress)
    return figures(study, logits_out_of_fold(study, nets, progress))


def _export(model: Any, weights: Path) -> Found:
    """The Keras file and the LiteRT file of it; the weights of the parasite logit come back."""
    from models.malaria.network import export_litert

    model.save(weights / KERAS)
    export_litert(model, weights / LITERT)
    dense = np.asarray(model.get_layer("logits").get_weights()[0], np.float64)
    return {"activation": dense[:, 0].tolist()}


def _describe(known: Found, weights: Path, sources: Sources, study: Study) -> None:
    """calibration.json: the limits with what they belong to."""
    hashes = sources.sha256()
    known |= {
        "id": MODEL_ID,
        "version": VERSION_MADE,
        "preprocessing": VERSION,
        "recipe": asdict(study.recipe),
        "metrics": {},
        "sha256": {
            KERAS: file_sha256(weights / KERAS),
            LITERT: file_sha256(weights / LITERT),
            "data": hashes[sources.cells.name],
            **hashes,
        },
    }
    write_json(weights / CALIBRATION, known)


def _surroundings(sources: Sources, progress: Progress) -> Surroundings:
    """Cells of the fields that set limits: a part of Chula, and BCCD's validation fields."""
    remainder, step = FLOOR_FIELDS
    chula = list(read_chula(sources.chula, remainder=remainder, step=step))
    films = []
    for start in range(0, len(chula) - IN_A_FILM + 1, IN_A_FILM):
        near = chula[start : start + IN_A_FILM]
        films.append(np.concatenate([whole_cells(field.rgb)[1] for field in near]))
        progress("fields that set limits", start + IN_A_FILM, len(chula))
    bccd = list(read_bccd(sources.bccd, "val"))
    films.append(np.stack([cell for field in bccd for cell in red_cells(field)]))
    strangers = np.stack([cell for field in bccd for cell in masked_strangers(field)])
    return Surroundings(films, strangers)


def model_page(weights: Path = WEIGHTS) -> str:
    """docs/models/malaria.md for the weights and figures of a folder."""
    measured, made = (
        json.loads((weights / name).read_text(encoding="utf-8")) for name in (METRICS, CALIBRATION)
    )
    known = {"seed": made["recipe"]["seed"], "other_seeds": other_seeds(weights)}
    return write_page(
        malaria_card(weights),
        read_calibration(weights),
        measured={**measured, **known},
        how=HOW.read_text(encoding="utf-8"),
    )
