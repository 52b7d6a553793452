"""The image again, each cell framed in the colour of its answer."""

import cv2
import numpy as np

from models.malaria.preprocess import Pixels
from models.malaria.reading import CellAnswer, ImageReading

COLOURS = {
    CellAnswer.PARASITE_LIKELY: (200, 30, 30),
    CellAnswer.INDETERMINATE: (230, 150, 0),
    CellAnswer.NOT_SEEN: (30, 90, 160),
    CellAnswer.REFUSED: (120, 120, 120),
}
"""RGB; the frames also differ in width, so that colour alone never carries the answer."""
WIDTHS = {CellAnswer.PARASITE_LIKELY: 3, CellAnswer.INDETERMINATE: 2}


def draw(rgb: Pixels, reading: ImageReading) -> bytes:
    """An RGB image and its reading to a PNG with frames."""
    framed = rgb.copy()
    unit = max(1, round(max(rgb.shape[:2]) / 1000))
    for cell in reading.cells:
        corner = (cell.box.x, cell.box.y)
        opposite = (cell.box.x + cell.box.width, cell.box.y + cell.box.height)
        width = unit * WIDTHS.get(cell.answer, 1)
        cv2.rectangle(framed, corner, opposite, COLOURS[cell.answer], width)
    _, coded = cv2.imencode(".png", cv2.cvtColor(framed, cv2.COLOR_RGB2BGR))
    return np.asarray(coded, dtype=np.uint8).tobytes()
