"""What a finished model is measured by: patients out of fold, and fields of other hospitals."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.malaria.calibration import CALIBRATION, Calibration, read_calibration
from models.malaria.classify import Judgement, Signs, judge, sigmoid
from models.malaria.predict import MalariaModel
from models.malaria.reading import CellAnswer, ImageKind
from models.monitoring.reference import plain_bins
from models.training.cells import Cells, read_splits
from models.training.composed import Row, composed_films
from models.training.counting import count_errors, of_bccd, of_chula
from models.training.evaluate import answer_shares, measured
from models.training.external import LabelledField, read_chula, whole_cells
from models.training.folds import FOLDS, chosen
from models.training.metrics import Vector
from models.training.outliers import read_bccd
from models.training.refusals import Pictures, answers_for, read_radiographs, refusal_table
from models.training.scores import of_patients
from models.training.study import Progress, Sources, Study
from models.training.unseen import OutOfFold, scaled

METRICS = "metrics.json"
RADIOGRAPHS = "pneumoniamnist_union.npz"
FIGURES = ("auc", "sensitivity", "specificity", "ece", "accuracy", "refused", "cells", "patients")
REPORTED_FIELDS = (3, 6)
"""Chula fields whose number leaves this remainder, by this divisor, report; they set no limit."""

Answers = npt.NDArray[np.str_]


def measure(
    sources: Sources, weights: Path, *, study: Study, found: OutOfFold, progress: Progress
) -> dict[str, Any]:
    """Measure, and keep the figures beside the weights: `out_of_fold`, `folds`, `baseline_test`,
    `scores`, `composed`, `refusals`, `segmentation`."""
    calibration = read_calibration(weights)
    probability = scaled(study.cells, study.fold, found.parasite)
    signs = _signs(found, calibration)
    judged = judge(study.cells.x, signs, calibration, ImageKind.CELL)
    in_fields = judge(study.cells.x, signs, calibration, ImageKind.FIELD)
    answers = np.array([one.answer.value for one in judged])
    patients = _of_patients(sources, study, probability, answers)
    _keep_figures(weights / CALIBRATION, patients["out_of_fold"])
    model = MalariaModel.load(weights)
    remainder, step = REPORTED_FIELDS
    chula = list(read_chula(sources.chula, remainder=remainder, step=step))
    bccd = list(read_bccd(sources.bccd, "test"))
    radiographs = read_radiographs(sources.cells.parent / RADIOGRAPHS)
    all_figures = {
        **patients,
        "scores": {
            "uninfected": _scores(judged, study.cells, 0),
            "parasitized": _scores(judged, study.cells, 1),
            "parasitized_in_fields": _scores(in_fields, study.cells, 1),
        },
        "composed": _composed(model, chula, _of_class(in_fields, study.cells, 1)),
        "refusals": refusal_table(
            model,
            [CellAnswer(one) for one in answers],
            Pictures(bccd, chula, radiographs, study.within(FOLDS - 1)),
            progress,
        ),
        "segmentation": {
            "Chula": count_errors(of_chula(field) for field in chula),
            "BCCD": count_errors(of_bccd(field) for field in bccd),
        },
    }
    write_json(weights / METRICS, all_figures)
    return all_figures


def _of_patients(
    sources: Sources, study: Study, probability: Vector, answers: Answers
) -> dict[str, Any]:
    """All patients, each fold, and the patients of the file's own test split, on whom the baseline
    was measured; each cell as its network out of fold read it."""
    tested = np.unique(read_splits(sources.cells)["test"].patient)
    parts = {"all": np.ones(len(answers), bool), "test": np.isin(study.cells.patient, tested)}
    parts |= {str(number): study.fold == number for number in range(FOLDS)}
    told = {
        name: {
            **measured(chosen(study.cells, own), probability[own]),
            **_answered(answers[own], study.cells.y[own]),
        }
        for name, own in parts.items()
    }
    return {
        "out_of_fold": told.pop("all"),
        "baseline_test": told.pop("test"),
        "folds": list(told.values()),
    }


def _answered(answers: Answers, truth: npt.NDArray[np.uint8]) -> dict[str, Any]:
    return {
        "refused": float((answers == CellAnswer.REFUSED).mean()),
        "answers": {
            "parasitized": answer_shares(answers[truth == 1]),
            "uninfected": answer_shares(answers[truth == 0]),
        },
    }


def _keep_figures(path: Path, pooled: dict[str, Any]) -> None:
    known = json.loads(path.read_text(encoding="utf-8"))
    known["metrics"] = {name: float(pooled[name]) for name in FIGURES}
    write_json(path, known)


def _of_class(judged: list[Judgement], cells: Cells, truth: int) -> list[Judgement]:
    return [one for one, kind in zip(judged, cells.y, strict=True) if kind == truth]


def _scores(judged: list[Judgement], cells: Cells, truth: int) -> dict[str, object]:
    return plain_bins(of_patients(_of_class(judged, cells, truth), cells.patient[cells.y == truth]))


def _composed(
    model: MalariaModel, chula: list[LabelledField], infected: list[Judgement]
) -> list[Row]:
    clean = [
        answers_for(model.classifier, whole_cells(one.rgb)[1], ImageKind.FIELD) for one in chula
    ]
    known = model.classifier.calibration
    return composed_films(clean, [one.answer for one in infected], known)


def _signs(found: OutOfFold, known: Calibration) -> Signs:
    return Signs(
        sigmoid((found.parasite + known.offset) / known.temperature),
        sigmoid(found.stranger),
        found.distance,
    )


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON with seven significant digits where numbers are long."""
    rounded = json.loads(json.dumps(content), parse_float=lambda text: float(f"{float(text):.7g}"))
    path.write_text(json.dumps(rounded, indent=None, sort_keys=True) + "\n", encoding="utf-8")
