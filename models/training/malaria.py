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
from typing import TYPE_CHECKING, Any

import numpy as np

from models.malaria.calibration import (
    CALIBRATION,
    KERAS,
    LITERT,
    WEIGHTS,
    malaria_card,
    read_calibration,
)
from models.malaria.classify import Classifier, Network
from models.malaria.predict import MalariaModel
from models.malaria.preprocess import VERSION, Pixels
from models.malaria.reading import ImageKind
from models.training.calibrate import add_fields, calibrate
from models.training.cells import Cells, file_sha256, read_splits
from models.training.composed import FIELDS_IN_A_FILM as IN_A_FILM
from models.training.composed import Row, composed_films
from models.training.evaluate import evaluate
from models.training.external import (
    LabelledField,
    count_errors,
    labelled,
    read_chula,
    whole_cells,
)
from models.training.outliers import masked_junk, masked_strangers, read_bccd, red_cells, strangers
from models.training.page import write_page
from models.training.refusals import Fields, answers_for, read_radiographs, refusal_table

if TYPE_CHECKING:
    from models.training.fit import Material

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

CELLS, BCCD, CHULA = "nih50_dev.npz", "bccd.tar", "chula_rbc12_fields.tar"
RADIOGRAPHS = "pneumoniamnist_union.npz"
METRICS = "metrics.json"
HOW = Path(__file__).parent / "malaria_method.md"
FIGURES = ("auc", "sensitivity", "specificity", "ece", "accuracy", "refused", "cells", "patients")
MODEL_ID = "malaria-cell"
JUNK = 3000
MASKED_AGAIN = 3
"""White cells cut out by their own masks are few and the hardest; they count this often."""
FLOOR_FIELDS = (0, 6)
"""Chula fields whose number leaves this remainder, by this divisor, set limits for fields; the
others report them."""
REPORTED_FIELDS = (3, 6)

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


def train(
    data: Path,
    *,
    version: str,
    weights: Path = WEIGHTS,
    epochs: int | None = None,
    progress: Progress = lambda step, done, total: None,
) -> dict[str, Any]:
    """Train, export, calibrate, measure and write everything into `weights`; the metrics come back.

    Raises SetMissing, LeakError or ValueError before any work when the data are not right.
    """
    sources = Sources.find(data)
    splits = read_splits(sources.cells)

    from models.training.fit import Recipe, fit, fix_threads

    fix_threads()
    recipe = Recipe() if epochs is None else Recipe(epochs=epochs)
    material = gather(splits["train"], sources.bccd, seed=recipe.seed, progress=progress)
    model = fit(material, recipe, lambda done, total, loss: progress("learning", done, total))
    weights.mkdir(parents=True, exist_ok=True)
    model.save(weights / KERAS)
    finish(sources, version=version, weights=weights, recipe=asdict(recipe), progress=progress)
    return measure(sources, weights, progress=progress)


def gather(train_cells: Cells, bccd: Path, *, seed: int, progress: Progress) -> "Material":
    """Training cells, foreign red cells and outliers, made from training sides alone."""
    from models.training.fit import Material

    return Material(train_cells, *surroundings(train_cells, bccd, seed=seed, progress=progress))


def surroundings(
    cells: Cells, bccd: Path, *, seed: int, progress: Progress
) -> tuple[Pixels, Pixels]:
    """Red cells of BCCD's training fields, and pictures of no red cell; some in outlines of
    `cells`."""
    chance = np.random.default_rng(seed)
    fields = list(read_bccd(bccd, "train"))
    foreign: list[Pixels] = []
    outliers: list[Pixels] = []
    for number, field in enumerate(fields, start=1):
        foreign += red_cells(field)
        outliers += strangers(field) + MASKED_AGAIN * masked_strangers(field)
        progress("training fields", number, len(fields))
    junk = masked_junk(cells.x, [field.rgb for field in fields], JUNK, chance)
    return np.stack(foreign), np.concatenate([np.stack(outliers), junk])


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
    found = calibrate(network, train=splits["train"], val=splits["val"], progress=progress)
    add_fields(found, network, films=_films(sources), progress=progress)
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


def _films(sources: Sources) -> list[Pixels]:
    """Cells of the fields that set limits: a part of Chula, and BCCD's validation fields."""
    remainder, step = FLOOR_FIELDS
    chula = list(read_chula(sources.chula, remainder=remainder, step=step))
    films = [
        np.concatenate([whole_cells(field.rgb)[1] for field in chula[start : start + IN_A_FILM]])
        for start in range(0, len(chula) - IN_A_FILM + 1, IN_A_FILM)
    ]
    bccd = [cell for field in read_bccd(sources.bccd, "val") for cell in red_cells(field)]
    return [*films, np.stack(bccd)]


def measure(sources: Sources, weights: Path, *, progress: Progress) -> dict[str, Any]:
    """Measure the finished model on test sides, and keep the figures and the page beside it."""
    tested = evaluate(
        sources.cells,
        "test",
        weights=weights,
        progress=lambda done, total: progress("test patients", done, total),
    )
    path = weights / CALIBRATION
    calibration = json.loads(path.read_text(encoding="utf-8"))
    calibration["metrics"] = {name: float(tested[name]) for name in FIGURES}
    write_json(path, calibration)
    remainder, step = REPORTED_FIELDS
    chula = list(read_chula(sources.chula, remainder=remainder, step=step))
    bccd = list(read_bccd(sources.bccd, "test"))
    model = MalariaModel.load(weights)
    test = read_splits(sources.cells)["test"]
    measured = {
        "test": tested,
        "composed": _composed(model.classifier, test, chula),
        "refusals": refusal_table(
            model,
            test=test,
            fields=Fields(bccd, chula),
            radiographs=read_radiographs(sources.cells.parent / RADIOGRAPHS),
            progress=progress,
        ),
        "segmentation": {
            "Chula": count_errors(iter(chula)),
            "BCCD": count_errors(labelled(field) for field in bccd),
        },
    }
    write_json(weights / METRICS, measured)
    return measured


def _composed(classifier: Classifier, test: Cells, chula: list[LabelledField]) -> list[Row]:
    clean = [answers_for(classifier, whole_cells(field.rgb)[1], ImageKind.FIELD) for field in chula]
    infected = answers_for(classifier, test.x[test.y == 1][::2], ImageKind.CELL)
    return composed_films(clean, infected, classifier.calibration)


def model_page(weights: Path = WEIGHTS) -> str:
    """docs/models/malaria.md for the weights and figures of a folder."""
    measured = json.loads((weights / METRICS).read_text(encoding="utf-8"))
    return write_page(
        malaria_card(weights),
        read_calibration(weights),
        measured=measured,
        how=HOW.read_text(encoding="utf-8"),
    )


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON with six significant digits where numbers are long."""
    rounded = json.loads(json.dumps(content), parse_float=lambda text: float(f"{float(text):.7g}"))
    path.write_text(json.dumps(rounded, indent=None, sort_keys=True) + "\n", encoding="utf-8")
