"""The values of a malaria reading: what went in, what was seen in each image, what it adds up to.

Nothing here needs numpy or OpenCV, so reports and pages can use these types alone.
"""

from dataclasses import dataclass
from enum import StrEnum

from models.malaria.bands import Band


class CellAnswer(StrEnum):
    """What is said about one red cell; never more than about this cell's picture."""

    PARASITE_LIKELY = "parasite-likely"
    INDETERMINATE = "indeterminate"
    NOT_SEEN = "not-seen"
    REFUSED = "refused"


class SmearAnswer(StrEnum):
    """What is said about all images of one Task together; there is no "negative"."""

    SUSPECTED = "parasites-suspected"
    NONE_FOUND = "none-found"
    INDETERMINATE = "indeterminate"
    INSUFFICIENT = "insufficient"
    REFUSED = "refused"


class ImageKind(StrEnum):
    """What an image was taken for."""

    CELL = "cell"
    FIELD = "field"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class SmearImage:
    """One uploaded image: its bytes and the content type that its sender declared, if any."""

    content: bytes
    content_type: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something was not read: the check that failed, what was found, and what to do."""

    check: str
    """Stable code of the check: `size`, `pixels`, `type`, `content-type`, `corrupt`, `animated`,
    `dimensions`, `blank`, `exposure`, `overexposed`, `contrast`, `focus`, `stain`, `not-a-smear`,
    `no-cells`, `repeated`, `no-cell-read`; for one cell also `cut-off`, `cell-shape`,
    `not-a-red-cell`, `unlike-training`."""
    text: str
    """What was found, for the reader of the report."""
    advice: str
    """What the sender can do about it."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the upright image, from its top left corner."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class CellReading:
    """One red cell: where it lies, its calibrated probability, and the answer."""

    box: Box
    answer: CellAnswer
    probability: float | None
    """Calibrated probability that the cell holds a parasite; None when the cell was refused."""
    distance: float | None
    """Mahalanobis distance from the training cells; None when refused before classification."""
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class ImageSigns:
    """What was measured of a field as a picture; what drift of a site's images is seen by."""

    brightness: float
    """Of the empty slide, in its darkest channel, 0 to 255."""
    contrast: float
    """Between cells and empty slide, 0 to 255."""
    stain: float
    """Optical density of the stained parts in green."""
    sharpness: float
    """Of the cells' rims, at a fixed cell size and contrast."""


@dataclass(frozen=True, slots=True)
class ImageReading:
    """One image: what it was taken for, every cell in it, or why it was refused."""

    kind: ImageKind
    sha256: str
    """Of the bytes as received."""
    content_type: str | None
    """By content; None when the bytes are no image that is read here."""
    width: int | None
    height: int | None
    cells: tuple[CellReading, ...] = ()
    refusal: Refusal | None = None
    name: str | None = None
    signs: ImageSigns | None = None
    """Of a field; None for a single cell, and for what was refused."""

    def count(self, answer: CellAnswer) -> int:
        """How many cells of this image got that answer."""
        return sum(cell.answer is answer for cell in self.cells)


class ViewKind(StrEnum):
    """What is drawn of an image that was read; each a code of CodeSystem finding."""

    FRAMED = "cells-framed"
    GALLERY = "cell-gallery"
    REACTION = "model-reaction"


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture made of an image that was read: JPEG bytes, and the cells it shows in order."""

    image: int
    """Which image of the Task, from 0."""
    kind: ViewKind
    content: bytes
    width: int
    height: int
    cells: tuple[CellReading, ...] = ()
    """Of a gallery: one for each tile, row by row."""


@dataclass(frozen=True, slots=True)
class Pool:
    """All images of one Task counted together. `cells` are those read; refused ones are apart."""

    answer: SmearAnswer
    text: str
    """What the answer rests on, in one or two sentences that follow it in a report; names N and
    never says negative."""
    images: int
    images_refused: int
    cells: int
    cells_refused: int
    positive: int
    """Cells answered parasite-likely."""
    indeterminate: int
    share: float | None
    """positive / cells; None without cells."""
    share_low: float | None
    share_high: float | None
    """95 % Wilson interval of the share."""
    floor: float
    """The model's own false-positive share that the interval was compared with."""
    detection_limit: float | None
    """The smallest true share of infected cells that would have been told from the floor with
    this many cells in 95 of 100 smears; None when no share could be."""
    cells_needed: int
    """How many more cells an answer needs; 0 when there are enough."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What the cells of one kind of image were judged by. On the calibrated probability: below
    `low` not seen, from `high` on parasite likely."""

    kind: ImageKind
    low: float
    high: float
    distance: float
    """Largest Mahalanobis distance that is still read."""
    reject: float
    """Largest probability of "not a red cell" that is still read."""
    cells: int
    """Fewest cells for *none found* or *indeterminate* about a smear."""


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """Which model answered: enough to find its weights and its card again."""

    id: str
    version: str
    sha256: str
    """Of the LiteRT file that computed the answer."""
    calibration_sha256: str
    data_sha256: str
    """Of the data that it was trained on."""
    preprocessing: str


@dataclass(frozen=True, slots=True)
class SmearPrediction:
    """Everything that a report needs about the images of one Task."""

    images: tuple[ImageReading, ...]
    pool: Pool
    model: ModelVersion
    thresholds: tuple[Thresholds, ...]
    """For each kind of image of which cells were judged; none when all were refused."""
    views: int
    """Turned and mirrored views averaged for each cell."""
    drawings: tuple[Drawing, ...] = ()
    """By image: fields with cells framed, galleries, and reactions where parasites are
    suspected; what could not be kept for want of room is told by `undrawn`."""
    undrawn: int = 0
    """Images that were read and not drawn."""
    bands: tuple[Band, ...] = ()
    """How validation cells turned out, by score; empty when the calibration does not say."""

    @property
    def is_refused(self) -> bool:
        """No image could be read."""
        return self.pool.answer is SmearAnswer.REFUSED

    @property
    def cell_alone(self) -> CellReading | None:
        """The one cell when the Task held just one readable single-cell image, else None."""
        read = [image for image in self.images if image.kind is not ImageKind.REFUSED]
        if len(read) == 1 and read[0].kind is ImageKind.CELL:
            return read[0].cells[0]
        return None
