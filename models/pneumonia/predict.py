"""Chest images of one Task in, one ChestPrediction out; what can't be read is refused."""

import asyncio
import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from models.card import ModelCard
from models.malaria.decode import ImageRefused, decode
from models.malaria.reading import Refusal, SmearImage
from models.pneumonia.manifest import LITERT, WEIGHTS, Manifest, pneumonia_card, read_manifest
from models.pneumonia.preprocess import Pixels, chest_pixels, network_input

MOST_COLOUR = 8.0
"""Mean difference of the colour channels, in grey levels, above which a picture is no X-ray."""


class ChestAnswer(StrEnum):
    """What is said about a chest image; there is no "negative"."""

    SUSPECTED = "opacity-suspected"
    INDETERMINATE = "indeterminate"
    NOT_FOUND = "none-found"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class ChestReading:
    """One image: its answer, its calibrated probability unless refused, and the reason if so."""

    sha256: str
    answer: ChestAnswer
    probability: float | None = None
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class ChestPrediction:
    """All images of one Task; the gravest answer is the answer."""

    images: tuple[ChestReading, ...]
    manifest: Manifest

    @property
    def answer(self) -> ChestAnswer:
        return next(answer for answer in ChestAnswer if answer in {i.answer for i in self.images})


class PneumoniaModel:
    """The model, loaded and checked; safe to share between tasks and threads."""

    def __init__(self, folder: Path | None = None) -> None:
        from ai_edge_litert.interpreter import Interpreter

        where = folder or WEIGHTS
        self.card: ModelCard = pneumonia_card(where)
        self._known = read_manifest(where)
        self._lock = threading.Lock()
        self._interpreter: Any = Interpreter(model_path=str(where / LITERT), num_threads=1)
        self._interpreter.allocate_tensors()

    async def predict(self, given: Sequence[SmearImage], /) -> ChestPrediction:
        """Read all images of one Task, in a thread; the same bytes give the same answer."""
        return await asyncio.to_thread(self.read, given)

    def read(self, given: Sequence[SmearImage]) -> ChestPrediction:
        """The same, blocking."""
        return ChestPrediction(tuple(self._read(image) for image in given), self._known)

    def probability(self, image: Pixels) -> float:
        """The calibrated probability of an opacity in a 28x28 grey image."""
        with self._lock:
            place = self._interpreter.get_input_details()[0]["index"]
            out = self._interpreter.get_output_details()[0]["index"]
            self._interpreter.set_tensor(place, network_input(image[None]))
            self._interpreter.invoke()
            logit = float(self._interpreter.get_tensor(out)[0, 0])
        known = self._known
        return float(1 / (1 + np.exp(-(logit + known.offset) / known.temperature)))

    def _read(self, image: SmearImage) -> ChestReading:
        digest = hashlib.sha256(image.content).hexdigest()
        try:
            rgb = decode(image).rgb
        except ImageRefused as refused:
            return ChestReading(digest, ChestAnswer.REFUSED, refusal=refused.refusal)
        grey = chest_pixels(rgb)
        refusal = self._refusal(rgb, grey)
        if refusal is not None:
            return ChestReading(digest, ChestAnswer.REFUSED, refusal=refusal)
        probability = self.probability(grey)
        return ChestReading(digest, self._answer(probability), probability)

    def _answer(self, probability: float) -> ChestAnswer:
        if probability >= self._known.high:
            return ChestAnswer.SUSPECTED
        return ChestAnswer.NOT_FOUND if probability < self._known.low else ChestAnswer.INDETERMINATE

    def _refusal(self, rgb: Pixels, grey: Pixels) -> Refusal | None:
        colour = float((rgb.max(axis=2).astype(float) - rgb.min(axis=2)).mean())
        checks = (
            (colour <= MOST_COLOUR, "colour", "The picture has colours, as no X-ray has."),
            (
                _within(float(grey.mean()), self._known.brightness),
                "exposure",
                "The picture is brighter or darker than chest X-rays are.",
            ),
            (
                _within(float(grey.std()), self._known.contrast),
                "contrast",
                "The picture has more or less contrast than chest X-rays have.",
            ),
        )
        wrong = next(((check, text) for holds, check, text in checks if not holds), None)
        return wrong and Refusal(*wrong, advice="Send a frontal chest X-ray.")


def _within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]
