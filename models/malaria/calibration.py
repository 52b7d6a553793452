"""What was set after the weights were final, in one file.

`calibration.json` lies beside the weights and names their hashes: weights and limits that were
not made together do not start.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.card import ModelCard, read_card
from models.malaria.bands import Band, read_bands
from models.malaria.earlier import as_now
from models.malaria.preprocess import VERSION
from models.malaria.reading import ImageKind, ModelVersion, Thresholds

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
    """What nearly all cells of one kind of image keep to; others are refused (50x50 grey)."""

    foreground: tuple[float, float]
    mean: tuple[float, float]
    spread: tuple[float, float]
    distance: float
    """Largest Mahalanobis distance from the training cells."""
    reject: float
    """Largest probability of "not a red cell"."""
    high: float
    """From this probability on the answer is parasite likely. In fields, where many cells are
    counted, it is that with which the smallest share of infected cells is told."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Temperature, thresholds, limits and hashes of one set of weights."""

    temperature: float
    offset: float
    """Probability = sigmoid((logit + offset) / temperature)."""
    low: float
    cells: int
    floor_cell: float
    """Upper limit of false positives per cell in single-cell images like the training ones."""
    floor_field: float
    """The same in fields of another hospital, segmented as in serving."""
    sensitivity: Mapping[ImageKind, float]
    """Share of infected cells that are answered parasite-likely, by kind of image, of patients
    that the network which read them had not seen."""
    limits: Mapping[ImageKind, CellLimits]
    """By the kind of image: cameras and stains of fields differ more."""
    means: npt.NDArray[np.float64]
    """(2, 96): the mean GAP vector of uninfected and of parasitized training cells."""
    precision: npt.NDArray[np.float64]
    """(96, 96): inverse of the covariance that both share."""
    activation: npt.NDArray[np.float64]
    """(96,): the dense layer's weights for the parasite logit."""
    version: ModelVersion
    metrics: Mapping[str, float]
    bands: tuple[Band, ...] = ()
    """How validation cells turned out, by score; empty when the file does not say."""

    def told(self, kinds: Collection[ImageKind]) -> float:
        """Share of infected cells that are answered parasite-likely where images of these kinds
        are counted together: the least of them."""
        return min(
            (self.sensitivity[kind] for kind in kinds if kind in self.sensitivity), default=0.0
        )

    def thresholds(self, kinds: Collection[ImageKind]) -> tuple[Thresholds, ...]:
        """What the cells of each of these kinds of image are judged by."""
        return tuple(
            Thresholds(
                kind=kind,
                low=self.low,
                high=self.limits[kind].high,
                distance=self.limits[kind].distance,
                reject=self.limits[kind].reject,
                cells=self.cells,
            )
            for kind in ImageKind
            if kind in kinds and kind in self.limits
        )


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
    prepared = found.get("preprocessing")
    if prepared != VERSION:
        raise WeightsMismatch(
            f"the weights were trained on preprocessing {prepared!r}, this code is {VERSION!r}"
        )
    try:
        return _calibration(as_now(found), hashlib.sha256(raw).hexdigest())
    except (KeyError, IndexError, TypeError, ValueError) as problem:
        raise WeightsMismatch(f"{CALIBRATION} lacks a part: {problem!r}") from problem


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise WeightsMismatch(f"{path} cannot be read: {problem.strerror}") from problem


def _calibration(found: dict[str, object], own_sha256: str) -> Calibration:
    match found:
        case {
            "temperature": float(temperature),
            "offset": float(offset),
            "thresholds": {
                "low": float(low),
                "cells": int(cells),
            },
            "floor": {"cell": float(floor_cell), "field": float(floor_field)},
            "sensitivity": {"cell": float(of_cells), "field": float(of_fields)},
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
                offset=offset,
                low=low,
                cells=cells,
                floor_cell=floor_cell,
                floor_field=floor_field,
                sensitivity={ImageKind.CELL: of_cells, ImageKind.FIELD: of_fields},
                limits={ImageKind(kind): _limits(ends) for kind, ends in limits.items()},
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
                bands=read_bands(found.get("bands")),
            )
        case _:
            raise WeightsMismatch(f"{CALIBRATION} lacks a part or holds one of the wrong kind")


def _limits(ends: dict[str, Any]) -> CellLimits:
    low_high = {name: (ends[name][0], ends[name][1]) for name in ("foreground", "mean", "spread")}
    distance, reject, high = (float(ends[name]) for name in ("distance", "reject", "high"))
    return CellLimits(**low_high, distance=distance, reject=reject, high=high)


def malaria_card(folder: Path = WEIGHTS) -> ModelCard:
    """The model card with the metrics, thresholds and hashes of the weights in the folder."""
    calibration = read_calibration(folder)
    version = calibration.version
    cell, field = (calibration.limits[kind] for kind in (ImageKind.CELL, ImageKind.FIELD))
    return read_card(
        CARD,
        identity=(version.id, version.version),
        metrics=calibration.metrics,
        thresholds={
            "parasite likely from, cell images": cell.high,
            "parasite likely from, fields": field.high,
            "not seen below": calibration.low,
            "largest distance, cell images": cell.distance,
            "largest distance, fields": field.distance,
            "largest probability of not a red cell, cell images": cell.reject,
            "largest probability of not a red cell, fields": field.reject,
            "temperature": calibration.temperature,
            "offset of the logit": calibration.offset,
            "false-positive floor, cell images": calibration.floor_cell,
            "false-positive floor, fields": calibration.floor_field,
        },
        hashes={
            "model": version.sha256,
            "calibration": version.calibration_sha256,
            "data": version.data_sha256,
        },
    )
