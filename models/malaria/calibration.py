"""What was set on training and validation patients after the weights were final, in one file.

`calibration.json` lies beside the weights and names their hashes: weights and limits that were
not made together do not start.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.card import ModelCard, read_card
from models.malaria.preprocess import VERSION
from models.malaria.reading import ModelVersion, Thresholds

WEIGHTS = Path(__file__).parent / "weights"
LITERT, KERAS, CALIBRATION = (
    "malaria_detect_model.tflite",
    "malaria_detect_model.keras",
    "calibration.json",
)
CARD = Path(__file__).parent / "card.toml"


class WeightsMismatch(RuntimeError):
    """Weights, limits and code do not belong together; nothing may be served with them."""


@dataclass(frozen=True, slots=True)
class CellLimits:
    """Smallest and largest values seen in nearly all training cells (50x50 grey)."""

    foreground: tuple[float, float]
    mean: tuple[float, float]
    spread: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Temperature, thresholds, limits and hashes of one set of weights."""

    temperature: float
    thresholds: Thresholds
    floor_cell: float
    """Upper limit of false positives per cell in single-cell images like the training ones."""
    floor_field: float
    """The same in fields of another hospital, segmented as in serving."""
    sensitivity: float
    """Share of infected cells that are answered parasite-likely, on validation patients."""
    limits: CellLimits
    means: npt.NDArray[np.float64]
    """(2, 96): the mean GAP vector of uninfected and of parasitized training cells."""
    precision: npt.NDArray[np.float64]
    """(96, 96): inverse of the covariance that both share."""
    activation: npt.NDArray[np.float64]
    """(96,): the dense layer's weights for the parasite logit."""
    version: ModelVersion
    metrics: dict[str, float]


def read_calibration(folder: Path = WEIGHTS) -> Calibration:
    """Read the limits beside the weights; raises WeightsMismatch when any hash disagrees."""
    path = folder / CALIBRATION
    try:
        raw = path.read_bytes()
        found = json.loads(raw)
        expected = found["sha256"]
    except (OSError, ValueError, KeyError) as problem:
        raise WeightsMismatch(f"{path} cannot be read: {problem!r}") from problem
    for name in (LITERT, KERAS):
        actual = hashlib.sha256(_read(folder / name)).hexdigest()
        if actual != expected.get(name):
            raise WeightsMismatch(f"{name} has SHA-256 {actual}, {CALIBRATION} names another")
    if found["preprocessing"] != VERSION:
        raise WeightsMismatch(
            f"the weights were trained on preprocessing {found['preprocessing']!r}, "
            f"this code prepares {VERSION!r}"
        )
    return _calibration(found, hashlib.sha256(raw).hexdigest())


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise WeightsMismatch(f"{path} cannot be read: {problem.strerror}") from problem


def _calibration(found: dict[str, object], own_sha256: str) -> Calibration:
    match found:
        case {
            "temperature": float(temperature),
            "thresholds": dict(thresholds),
            "floor": {"cell": float(floor_cell), "field": float(floor_field)},
            "sensitivity": float(sensitivity),
            "limits": dict(limits),
            "distance": {"means": list(means), "precision": list(precision)},
            "activation": list(activation),
            "metrics": dict(metrics),
            "sha256": dict(hashes),
            "id": str(id),
            "version": str(version),
        }:
            return Calibration(
                temperature=temperature,
                thresholds=Thresholds(**thresholds),
                floor_cell=floor_cell,
                floor_field=floor_field,
                sensitivity=sensitivity,
                limits=CellLimits(**{name: tuple(pair) for name, pair in limits.items()}),
                means=np.asarray(means, dtype=np.float64),
                precision=np.asarray(precision, dtype=np.float64),
                activation=np.asarray(activation, dtype=np.float64),
                version=ModelVersion(
                    id=id,
                    version=version,
                    sha256=hashes[LITERT],
                    calibration_sha256=own_sha256,
                    data_sha256=hashes["data"],
                    preprocessing=VERSION,
                ),
                metrics=metrics,
            )
        case _:
            raise WeightsMismatch(f"{CALIBRATION} lacks a part or holds one of the wrong kind")


def malaria_card(folder: Path = WEIGHTS) -> ModelCard:
    """The model card with the metrics, thresholds and hashes of the weights in the folder."""
    calibration = read_calibration(folder)
    version, limits = calibration.version, calibration.thresholds
    return read_card(
        CARD,
        identity=(version.id, version.version),
        metrics=calibration.metrics,
        thresholds={
            "parasite likely from": limits.high,
            "not seen below": limits.low,
            "largest distance": limits.distance,
            "largest probability of not a red cell": limits.reject,
            "temperature": calibration.temperature,
            "false-positive floor, cell images": calibration.floor_cell,
            "false-positive floor, fields": calibration.floor_field,
        },
        hashes={
            "model": version.sha256,
            "calibration": version.calibration_sha256,
            "data": version.data_sha256,
        },
    )
