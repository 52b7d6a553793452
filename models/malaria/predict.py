"""Images of one Task in, one SmearPrediction out: decode, gate, segment, classify, pool.

    model = MalariaModel.load()                      # checks all hashes; raises WeightsMismatch
    prediction = await model.predict([SmearImage(content=..., content_type="image/png")])

An image that cannot be read is answered with its refusal, never with an exception.
"""

import asyncio
import hashlib
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock

import numpy as np

from models.card import ModelCard
from models.malaria.album import Album
from models.malaria.calibration import WEIGHTS, WeightsMismatch, malaria_card
from models.malaria.classify import VIEWS, Classifier, Judgement
from models.malaria.decode import ImageRefused, Picture, decode
from models.malaria.fields import FieldCell, reduce_size
from models.malaria.gate import Smear, inspect
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
from models.malaria.repeated import Pictures

__all__ = [
    "Box",
    "CellAnswer",
    "CellReading",
    "Checked",
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
    "inspect_image",
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
        known, album, before = self.classifier.calibration, Album(self.classifier), Pictures()
        images = tuple(self._read_image(n, image, album, before) for n, image in enumerate(given))
        kinds = {image.kind for image in images}
        rules = Rules(
            floor_cell=known.floor_cell,
            floor_field=known.floor_field,
            sensitivity=known.told(kinds),
            cells=known.cells,
        )
        counted = pool(images, rules)
        return SmearPrediction(
            images=images,
            pool=counted,
            model=known.version,
            thresholds=known.thresholds(kinds),
            views=VIEWS,
            drawings=album.finished(counted.answer),
            undrawn=album.undrawn,
            bands=known.bands,
        )

    def _read_image(
        self, number: int, image: SmearImage, album: Album, before: Pictures
    ) -> ImageReading:
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
        try:
            smear, scale = _PASSED.smear_of(reading.sha256, picture)
        except ImageRefused as refused:
            return replace(reading, refusal=refused.refusal)
        cells: tuple[CellReading, ...] = ()
        refusal = before.repeated(picture.rgb)
        if refusal is None:
            cells = self._read_cells(smear, scale)
            refusal = _nothing_read(smear.kind, cells)
        if refusal is not None:
            return replace(reading, refusal=refusal)
        before.add(number, picture.rgb)
        album.add(number, smear.kind, picture.rgb, list(zip(cells, smear.cells, strict=True)))
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


@dataclass(frozen=True, slots=True)
class Checked:
    """What the gate says about an image before any cell is classified."""

    refusal: Refusal | None
    """Why it would be refused; None when it would be read."""
    kind: ImageKind
    cells: int
    """Whole cells found in it: nearly as many as will be read, for the model still refuses some
    (white cells, platelets)."""


def inspect_image(image: SmearImage) -> Checked:
    """Decoding, the smear gate and the count of cells, without the model. Blocking."""
    try:
        digest = hashlib.sha256(image.content).hexdigest()
        smear, _ = _PASSED.smear_of(digest, decode(image))
    except ImageRefused as refused:
        return Checked(refused.refusal, ImageKind.REFUSED, 0)
    return Checked(None, smear.kind, sum(not cell.is_cut_off for cell in smear.cells))


def check_image(image: SmearImage) -> Refusal | None:
    """Why an image would be refused before any cell is classified; None when it would be read.
    Blocking."""
    return inspect_image(image).refusal


def _nothing_read(kind: ImageKind, cells: tuple[CellReading, ...]) -> Refusal | None:
    """Why an image is refused whose cells are: that of its one cell, or of most of a field's."""
    refusals = [cell.refusal for cell in cells if cell.refusal is not None]
    if len(refusals) < len(cells):
        return None
    if kind is ImageKind.CELL:
        return refusals[0]
    whole = Counter(refusal for refusal in refusals if refusal is not CUT_OFF)
    often, count = whole.most_common(1)[0]
    return Refusal(
        "no-cell-read",
        f"None of the {len(cells)} cells found could be read; of {count} the reason is: "
        f"{often.text}",
        "Check focus, light and stain, and take another part of the film.",
    )


def _reading(cell: FieldCell, judgement: Judgement, scale: float) -> CellReading:
    box = cell.box
    return CellReading(
        box=Box(*(round(side * scale) for side in (box.x, box.y, box.width, box.height))),
        answer=judgement.answer,
        probability=judgement.probability,
        distance=judgement.distance,
        refusal=judgement.refusal,
    )
