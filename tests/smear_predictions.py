"""Predictions made by hand, and a smear model that gives them, for tests of what follows."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from models.card import ModelCard
from models.malaria.bands import Band
from models.malaria.reading import (
    Box,
    CellAnswer,
    CellReading,
    Drawing,
    ImageKind,
    ImageReading,
    ModelVersion,
    Pool,
    Refusal,
    SmearAnswer,
    SmearImage,
    SmearPrediction,
    Thresholds,
    ViewKind,
)

VERSION = ModelVersion("malaria-cell", "1.2.3", "a" * 64, "b" * 64, "c" * 64, "nih50-1")
CELL_LIMITS = Thresholds(
    kind=ImageKind.CELL, low=0.2, high=0.8, distance=40.0, reject=0.5, cells=500
)
FIELD_LIMITS = replace(CELL_LIMITS, kind=ImageKind.FIELD, high=0.99, distance=30.0)
BLURRED = Refusal("focus", "The image is out of focus.", "Focus and take it again.")
REFUSED_CELL = {
    "answer": CellAnswer.REFUSED,
    "probability": None,
    "refusal": Refusal("cut-off", "It is cut off.", "Nothing."),
}
CARD = ModelCard(
    id="malaria-cell",
    name="Malaria cell model",
    version="1.2.3",
    summary="Reads red cells.",
    intended_use="Thin films.",
    users="Clinicians.",
    not_for=("Diagnosis",),
    training_data="NIH.",
    consent="IRB 12972.",
    licence="Apache-2.0",
    contact="MedSAGE project",
    limits=("One hospital",),
)


def field_of(cells: int, positive: int, answer: SmearAnswer) -> SmearPrediction:
    """One field with that many cells, and that answer about the smear."""
    readings = tuple(
        CellReading(
            Box(0, 0, 50, 50),
            CellAnswer.PARASITE_LIKELY if number < positive else CellAnswer.NOT_SEEN,
            0.97 if number < positive else 0.01,
            12.0,
        )
        for number in range(cells)
    )
    image = ImageReading(ImageKind.FIELD, "d" * 64, "image/png", 900, 700, readings)
    pool = Pool(
        answer=answer,
        text=f"Model read {cells} cells and found parasites likely in {positive}.",
        images=1,
        images_refused=0,
        cells=cells,
        cells_refused=0,
        positive=positive,
        indeterminate=0,
        share=positive / cells,
        share_low=0.0,
        share_high=0.1,
        floor=0.03,
        detection_limit=0.05,
        cells_needed=max(0, 500 - cells),
    )
    return SmearPrediction((image,), pool, VERSION, (FIELD_LIMITS,), views=8)


def one_cell(answer: CellAnswer, probability: float) -> SmearPrediction:
    """One single-cell image."""
    cell = CellReading(Box(0, 0, 120, 120), answer, probability, 12.0)
    image = ImageReading(ImageKind.CELL, "e" * 64, "image/png", 120, 120, (cell,))
    positive = int(answer is CellAnswer.PARASITE_LIKELY)
    pool = Pool(
        answer=SmearAnswer.INSUFFICIENT,
        text="One cell was read; that is no smear.",
        images=1,
        images_refused=0,
        cells=1,
        cells_refused=0,
        positive=positive,
        indeterminate=0,
        share=float(positive),
        share_low=0.0,
        share_high=1.0,
        floor=0.03,
        detection_limit=None,
        cells_needed=499,
    )
    return SmearPrediction((image,), pool, VERSION, (CELL_LIMITS,), views=8)


def drawn() -> SmearPrediction:
    """A suspected field with three cells, all that is drawn of it, and bands of like scores."""
    suspected = field_of(600, 40, SmearAnswer.SUSPECTED)
    likely, unseen = suspected.images[0].cells[0], suspected.images[0].cells[-1]
    cells = (likely, unseen, replace(unseen, **REFUSED_CELL))
    pictures = {kind: f"a picture: {kind}".encode() for kind in ViewKind}
    return replace(
        suspected,
        drawings=tuple(
            Drawing(0, kind, content, 192, 64, cells if kind is ViewKind.GALLERY else ())
            for kind, content in pictures.items()
        ),
        bands=(Band(0.0, 0.2, 900, 9), Band(0.9, 1.0, 412, 400)),
    )


def refused(count: int = 1) -> SmearPrediction:
    """That many images, none of them readable."""
    image = ImageReading(ImageKind.REFUSED, "f" * 64, "image/png", 90, 90, refusal=BLURRED)
    pool = Pool(
        answer=SmearAnswer.REFUSED,
        text="No image could be read.",
        images=count,
        images_refused=count,
        cells=0,
        cells_refused=0,
        positive=0,
        indeterminate=0,
        share=None,
        share_low=None,
        share_high=None,
        floor=0.03,
        detection_limit=None,
        cells_needed=500,
    )
    return SmearPrediction((image,) * count, pool, VERSION, (), views=8)


@dataclass
class ScriptedSmearModel:
    """Answers with `prediction`, or raises `failure`; keeps what it was given."""

    prediction: SmearPrediction
    failure: Exception | None = None
    card: ModelCard = CARD
    seen: list[SmearImage] = field(default_factory=list)

    async def predict(self, images: Sequence[SmearImage], /) -> SmearPrediction:
        self.seen.extend(images)
        if self.failure is not None:
            raise self.failure
        return self.prediction
