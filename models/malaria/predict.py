"""Images of one Task in, one SmearPrediction out: decode, gate, segment, classify, pool.

    model = MalariaModel.load()                      # checks all hashes; raises WeightsMismatch
    prediction = await model.predict([SmearImage(content=..., content_type="image/png")])

An image that cannot be read is answered with its refusal, never with an exception.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock

import numpy as np

from models.card import ModelCard
from models.malaria.calibration import WEIGHTS, WeightsMismatch, malaria_card
from models.malaria.classify import VIEWS, Classifier, Judgement
from models.malaria.decode import ImageRefused, Picture, decode
from models.malaria.fields import FieldCell, reduce_size
from models.malaria.gate import Smear, inspect
from models.malaria.overlay import draw
from models.malaria.pool import Rules, pool
from models.malaria.preprocess import cell_pixels
from models.malaria.reading import (
    Box,
    CellAnswer,
    CellReading,
    ImageKind,
    ImageReading,
    ModelVersion,
    Pool,
    Refusal,
    SmearAnswer,
    SmearImage,
    SmearPrediction,
    Thresholds,
)

__all__ = [
    "Box",
    "CellAnswer",
    "CellReading",
    "ImageKind",
    "ImageReading",
    "MalariaModel",
    "ModelVersion",
    "Pool",
    "Refusal",
    "SmearAnswer",
    "SmearImage",
    "SmearPrediction",
    "Thresholds",
    "WeightsMismatch",
    "check_image",
]

RECENT = 16


@dataclass(frozen=True, slots=True)
class _Passed:
    """The latest images that passed the gate, by the hash of their bytes: the check at the door
    and the worker in the same process look at the same image shortly after one another."""

    smears: "OrderedDict[str, tuple[Smear, float]]" = field(default_factory=OrderedDict)
    lock: Lock = field(default_factory=Lock)

    def smear_of(self, digest: str, picture: Picture) -> tuple[Smear, float]:
        """What passed, and how much smaller it was looked at; raises ImageRefused."""
        with self.lock:
            known = self.smears.get(digest)
        if known is None:
            small = reduce_size(picture.rgb)
            known = inspect(small), picture.rgb.shape[1] / small.shape[1]
            with self.lock:
                self.smears[digest] = known
                if len(self.smears) > RECENT:
                    self.smears.popitem(last=False)
        return known


_PASSED = _Passed()

CUT_OFF = Refusal(
    "cut-off",
    "The cell is cut off by the edge of the image.",
    "Nothing needs to be done; cells at the edge are not counted.",
)


@dataclass(frozen=True, slots=True)
class MalariaModel:
    """The malaria cell model, loaded and checked; safe to share between tasks and threads."""

    card: ModelCard
    classifier: Classifier

    @classmethod
    def load(cls, weights: Path | None = None) -> "MalariaModel":
        """Load the weights of a folder (the shipped ones by default); blocking, once.

        Raises WeightsMismatch when a file is missing or a hash disagrees.
        """
        folder = weights or WEIGHTS
        return cls(malaria_card(folder), Classifier.load(folder))

    @property
    def version(self) -> ModelVersion:
        """Id, version and hashes of these weights."""
        return self.classifier.calibration.version

    async def predict(self, given: Sequence[SmearImage], /) -> SmearPrediction:
        """Read all images of one Task, in a thread; the same bytes give the same answer."""
        return await asyncio.to_thread(self.read, given)

    def read(self, given: Sequence[SmearImage]) -> SmearPrediction:
        """The same, blocking."""
        known = self.classifier.calibration
        images = tuple(self._read_image(image) for image in given)
        rules = Rules(
            floor_cell=known.floor_cell,
            floor_field=known.floor_field,
            sensitivity=known.sensitivity,
            cells=known.cells,
        )
        return SmearPrediction(
            images=images,
            pool=pool(images, rules),
            model=known.version,
            thresholds=known.thresholds({image.kind for image in images}),
            views=VIEWS,
        )

    def overlay(self, image: SmearImage, reading: ImageReading) -> bytes:
        """The image as PNG with each cell's box in the colour of its answer; blocking.

        Raises ImageRefused when the image cannot be decoded.
        """
        return draw(decode(image).rgb, reading)

    def _read_image(self, image: SmearImage) -> ImageReading:
        reading = ImageReading(
            kind=ImageKind.REFUSED,
            sha256=hashlib.sha256(image.content).hexdigest(),
            content_type=None,
            width=None,
            height=None,
            name=image.name,
        )
        try:
            picture = decode(image)
        except ImageRefused as refused:
            return replace(reading, content_type=refused.content_type, refusal=refused.refusal)
        height, width = picture.rgb.shape[:2]
        reading = replace(reading, content_type=picture.content_type, width=width, height=height)
        return self._read_picture(picture, reading)

    def _read_picture(self, picture: Picture, reading: ImageReading) -> ImageReading:
        try:
            smear, scale = _PASSED.smear_of(reading.sha256, picture)
        except ImageRefused as refused:
            return replace(reading, refusal=refused.refusal)
        cells = self._read_cells(smear, scale)
        if smear.kind is ImageKind.CELL and cells[0].refusal is not None:
            return replace(reading, refusal=cells[0].refusal)
        return replace(reading, kind=smear.kind, cells=cells, signs=smear.signs)

    def _read_cells(self, smear: Smear, scale: float) -> tuple[CellReading, ...]:
        whole = [cell for cell in smear.cells if not cell.is_cut_off]
        pixels = [cell_pixels(cell.crop) for cell in whole]
        judged = iter(self.classifier.read(np.stack(pixels), smear.kind)[1] if pixels else ())
        cut_off = Judgement(CellAnswer.REFUSED, None, None, CUT_OFF)
        return tuple(
            _reading(cell, cut_off if cell.is_cut_off else next(judged), scale)
            for cell in smear.cells
        )


def check_image(image: SmearImage) -> Refusal | None:
    """Why an image would be refused before any cell is classified; None when it would be read.

    Blocking, needs no model: decoding and the smear gate alone.
    """
    try:
        _PASSED.smear_of(hashlib.sha256(image.content).hexdigest(), decode(image))
    except ImageRefused as refused:
        return refused.refusal
    return None


def _reading(cell: FieldCell, judgement: Judgement, scale: float) -> CellReading:
    box = cell.box
    return CellReading(
        box=Box(*(round(side * scale) for side in (box.x, box.y, box.width, box.height))),
        answer=judgement.answer,
        probability=judgement.probability,
        distance=judgement.distance,
        refusal=judgement.refusal,
    )
