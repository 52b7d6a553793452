"""Train the malaria cell model: one command from data to weights, limits, metrics and pages.

`train(folder)` expects `nih50_dev.npz` (or another npz of its layout), `bccd.tar` and
`chula_rbc12_fields.tar` in one folder. Learning sees training patients and training fields,
limits see validation ones; test patients and test fields are measured once, at the end.
"""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.malaria.calibration import CALIBRATION, KERAS, LITERT, WEIGHTS
from models.malaria.classify import Classifier, Network, sigmoid
from models.malaria.preprocess import VERSION, Pixels
from models.training.calibrate import calibrate, run, upper_share
from models.training.cells import Cells, file_sha256, read_splits
from models.training.evaluate import evaluate
from models.training.external import read_chula, whole_cells
from models.training.outliers import masked_junk, masked_strangers, read_bccd, red_cells, strangers

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

CELLS, BCCD, CHULA = "nih50_dev.npz", "bccd.tar", "chula_rbc12_fields.tar"
MODEL_ID = "malaria-cell"
JUNK = 3000
MASKED_AGAIN = 3
"""White cells cut out by their own masks are few and the hardest; they count this often."""
FLOOR_FIELDS = (0, 6)
"""Chula fields whose number leaves this remainder, by this divisor, set the field floor; the
others report it."""

Progress = Callable[[str, int, int], None]


class DataMissing(FileNotFoundError):
    """A file that training needs is not in the folder."""


@dataclass(frozen=True, slots=True)
class Sources:
    """The files that training reads."""

    cells: Path
    bccd: Path
    chula: Path

    @classmethod
    def find(cls, place: Path) -> "Sources":
        """From a folder, or from the npz in it; raises DataMissing naming what is absent."""
        cells = place if place.suffix == ".npz" else place / CELLS
        sources = cls(cells, cells.parent / BCCD, cells.parent / CHULA)
        for path in (sources.cells, sources.bccd, sources.chula):
            if not path.is_file():
                raise DataMissing(f"{path} is not there; see docs/models/malaria.md for the data")
        return sources

    def sha256(self) -> dict[str, str]:
        """The hash of each file by its name."""
        return {path.name: file_sha256(path) for path in (self.cells, self.bccd, self.chula)}


def train(
    data: Path,
    *,
    version: str,
    weights: Path = WEIGHTS,
    epochs: int | None = None,
    progress: Progress = lambda step, done, total: None,
) -> dict[str, Any]:
    """Train, export, calibrate, measure and write everything into `weights`; the metrics come back.

    Raises DataMissing, LeakError or ValueError before any work when the data are not right.
    """
    from models.training.fit import Recipe, fit

    sources = Sources.find(data)
    splits = read_splits(sources.cells)
    recipe = Recipe() if epochs is None else Recipe(epochs=epochs)
    material = gather(splits["train"], sources.bccd, recipe.seed, progress)
    model = fit(material, recipe, lambda done, total, loss: progress("learning", done, total))
    weights.mkdir(parents=True, exist_ok=True)
    model.save(weights / KERAS)
    finish(sources, version=version, weights=weights, recipe=asdict(recipe), progress=progress)
    return measure(sources, weights, progress)


def gather(train_cells: Cells, bccd: Path, seed: int, progress: Progress) -> Any:
    """Training cells, foreign red cells and outliers, made from training sides alone."""
    from models.training.fit import Material

    chance = np.random.default_rng(seed)
    fields = list(read_bccd(bccd, "train"))
    foreign: list[Pixels] = []
    outliers: list[Pixels] = []
    for number, field in enumerate(fields, start=1):
        foreign += red_cells(field)
        outliers += strangers(field) + MASKED_AGAIN * masked_strangers(field)
        progress("training fields", number, len(fields))
    junk = masked_junk(train_cells.x, [field.rgb for field in fields], JUNK, chance)
    return Material(train_cells, np.stack(foreign), np.concatenate([np.stack(outliers), junk]))


def finish(
    sources: Sources,
    *,
    version: str,
    weights: Path,
    recipe: dict[str, Any],
    progress: Progress,
) -> None:
    """From the Keras file: the LiteRT file, and calibration.json with limits and hashes."""
    import keras

    from models.malaria.network import export_litert

    model = keras.models.load_model(weights / KERAS)
    export_litert(model, weights / LITERT)
    splits = read_splits(sources.cells)
    network = Network(weights / LITERT)
    found = calibrate(network, splits["train"], splits["val"], progress)
    found["floor"]["field"] = _field_floor(network, found, sources.chula, progress)
    dense = np.asarray(model.get_layer("logits").get_weights()[0], dtype=np.float64)
    hashes = sources.sha256()
    found |= {
        "id": MODEL_ID,
        "version": version,
        "preprocessing": VERSION,
        "activation": dense[:, 0].tolist(),
        "recipe": recipe,
        "metrics": {},
        "sha256": {
            KERAS: file_sha256(weights / KERAS),
            LITERT: file_sha256(weights / LITERT),
            "data": hashes[sources.cells.name],
            **hashes,
        },
    }
    write_json(weights / CALIBRATION, found)


def _field_floor(network: Network, found: dict[str, Any], chula: Path, progress: Progress) -> float:
    """Upper limit of the share of cells called positive in fields without parasites."""
    remainder, step = FLOOR_FIELDS
    called: list[bool] = []
    for field in read_chula(chula, remainder=remainder, step=step):
        _, pixels = whole_cells(field.rgb)
        outputs = run(network, pixels, "fields without parasites", progress)
        read = sigmoid(outputs.stranger) <= found["thresholds"]["reject"]
        positive = sigmoid(outputs.parasite / found["temperature"]) >= found["thresholds"]["high"]
        called += list(positive[read])
    return upper_share(np.array(called))


def measure(sources: Sources, weights: Path, progress: Progress) -> dict[str, Any]:
    """Measure the finished model on the test patients, and keep the figures beside it."""
    tested = evaluate(
        sources.cells,
        "test",
        weights=weights,
        progress=lambda done, total: progress("test patients", done, total),
    )
    kept = ("auc", "sensitivity", "specificity", "ece", "accuracy", "refused", "cells", "patients")
    path = weights / CALIBRATION
    calibration = json.loads(path.read_text(encoding="utf-8"))
    calibration["metrics"] = {name: float(tested[name]) for name in kept}
    write_json(path, calibration)
    Classifier.load(weights)
    return tested


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON with six significant digits where numbers are long."""
    rounded = json.loads(json.dumps(content), parse_float=lambda text: float(f"{float(text):.7g}"))
    path.write_text(json.dumps(rounded, indent=None, sort_keys=True) + "\n", encoding="utf-8")
