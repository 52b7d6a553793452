"""What belongs to one version of the weights, in one file beside them, with its hash."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models.card import ModelCard, read_card
from models.pneumonia.preprocess import VERSION

WEIGHTS = Path(__file__).parent / "weights"
LITERT, MANIFEST = "pneumonia.tflite", "manifest.json"
CARD = Path(__file__).parent / "card.toml"
ID = "pneumonia-cxr"


class WeightsMismatch(RuntimeError):
    """Weights, limits and code do not belong together; nothing may be served with them."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """Limits, figures and hashes of one set of weights. Probability = sigmoid((logit + offset) /
    temperature); `brightness` and `contrast` are what the mean and spread of training images
    keep to."""

    version: str
    temperature: float
    offset: float
    low: float
    high: float
    brightness: tuple[float, float]
    contrast: tuple[float, float]
    metrics: Mapping[str, float]
    sha256: str
    manifest_sha256: str
    data_sha256: str


def read_manifest(folder: Path = WEIGHTS) -> Manifest:
    """The manifest of a folder; WeightsMismatch when its files do not belong together."""
    try:
        raw, weights = (folder / MANIFEST).read_bytes(), (folder / LITERT).read_bytes()
        found = json.loads(raw)
        actual = hashlib.sha256(weights).hexdigest()
        if (found["sha256"], found["preprocessing"]) != (actual, VERSION):
            raise WeightsMismatch(f"{folder}: {LITERT} is not what {MANIFEST} names")
        return Manifest(
            version=found["version"],
            temperature=found["temperature"],
            offset=found["offset"],
            low=found["low"],
            high=found["high"],
            brightness=tuple(found["brightness"]),
            contrast=tuple(found["contrast"]),
            metrics=found["metrics"],
            sha256=actual,
            manifest_sha256=hashlib.sha256(raw).hexdigest(),
            data_sha256=found["data"],
        )
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise WeightsMismatch(f"{folder} cannot be read: {problem!r}") from problem


def pneumonia_card(folder: Path | None = None) -> ModelCard:
    """The model card with the figures and hashes of the weights in the folder."""
    known = read_manifest(folder or WEIGHTS)
    return read_card(
        CARD,
        identity=(ID, known.version),
        metrics=known.metrics,
        thresholds={"opacity suspected from": known.high, "none found below": known.low},
        hashes={
            "model": known.sha256,
            "calibration": known.manifest_sha256,
            "data": known.data_sha256,
        },
    )
