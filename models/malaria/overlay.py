"""A field again, each cell marked with its answer: by colour, by shape and, where it matters, by
its number in the gallery. The uploaded image itself is never drawn on.
"""

from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np

from models.malaria.preprocess import Pixels
from models.malaria.reading import Box, CellAnswer, CellReading

LONGEST_SIDE = 1200
"""Larger fields are reduced to this: it is looked at on a screen, and kept for each image."""
QUALITY = 85

COLOURS: Mapping[CellAnswer, tuple[int, int, int]] = {
    CellAnswer.PARASITE_LIKELY: (200, 30, 30),
    CellAnswer.INDETERMINATE: (230, 150, 0),
    CellAnswer.NOT_SEEN: (30, 90, 160),
    CellAnswer.REFUSED: (120, 120, 120),
}
"""RGB; each answer also has a shape of its own, so that colour alone never carries it."""
NUMBERED = (CellAnswer.PARASITE_LIKELY, CellAnswer.INDETERMINATE)
_WHITE = (255, 255, 255)

Corners = tuple[tuple[int, int], tuple[int, int]]


def draw_cells(rgb: Pixels, cells: Sequence[CellReading]) -> Pixels:
    """The field with a mark on each cell; a number is the cell's place in `cells`, from 1."""
    height, width = rgb.shape[:2]
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    framed = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8).copy()
    for number, cell in enumerate(cells, start=1):
        corners = _corners(cell.box, scale)
        SHAPES[cell.answer](framed, corners, COLOURS[cell.answer])
        if cell.answer in NUMBERED:
            _label(framed, corners[0], number, COLOURS[cell.answer])
    return framed


def as_jpeg(rgb: Pixels, quality: int = QUALITY) -> bytes:
    """RGB pixels as a JPEG; the same pixels give the same bytes."""
    colours = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    _, coded = cv2.imencode(".jpg", colours, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(coded, dtype=np.uint8).tobytes()


def _corners(box: Box, scale: float) -> Corners:
    ends = (box.x, box.y, box.x + box.width, box.y + box.height)
    left, top, right, bottom = (round(end * scale) for end in ends)
    return (left, top), (right, bottom)


def _box(on: Pixels, corners: Corners, colour: tuple[int, int, int]) -> None:
    """A thick rectangle: parasite likely."""
    cv2.rectangle(on, *corners, _WHITE, 4)
    cv2.rectangle(on, *corners, colour, 3)


def _brackets(on: Pixels, corners: Corners, colour: tuple[int, int, int]) -> None:
    """The four corners of a rectangle: indeterminate."""
    (left, top), (right, bottom) = corners
    across, down = max(3, (right - left) // 4), max(3, (bottom - top) // 4)
    for x, along in ((left, across), (right, -across)):
        for y, away in ((top, down), (bottom, -down)):
            cv2.line(on, (x, y), (x + along, y), colour, 2)
            cv2.line(on, (x, y), (x, y + away), colour, 2)


def _ring(on: Pixels, corners: Corners, colour: tuple[int, int, int]) -> None:
    """A thin ellipse: not seen in this cell."""
    (left, top), (right, bottom) = corners
    middle = ((left + right) // 2, (top + bottom) // 2)
    axes = (max(1, (right - left) // 2), max(1, (bottom - top) // 2))
    cv2.ellipse(on, middle, axes, 0, 0, 360, colour, 1, cv2.LINE_AA)


def _cross(on: Pixels, corners: Corners, colour: tuple[int, int, int]) -> None:
    """A small cross: refused, not counted."""
    (left, top), (right, bottom) = corners
    x, y = (left + right) // 2, (top + bottom) // 2
    arm = max(3, min(right - left, bottom - top) // 6)
    for tilt in (-1, 1):
        ends = ((x - arm, y - tilt * arm), (x + arm, y + tilt * arm))
        cv2.line(on, *ends, _WHITE, 3, cv2.LINE_AA)
        cv2.line(on, *ends, colour, 1, cv2.LINE_AA)


SHAPES: Mapping[CellAnswer, Callable[[Pixels, Corners, tuple[int, int, int]], None]] = {
    CellAnswer.PARASITE_LIKELY: _box,
    CellAnswer.INDETERMINATE: _brackets,
    CellAnswer.NOT_SEEN: _ring,
    CellAnswer.REFUSED: _cross,
}


def _label(on: Pixels, at: tuple[int, int], number: int, colour: tuple[int, int, int]) -> None:
    text, face, size = str(number), cv2.FONT_HERSHEY_SIMPLEX, 0.45
    (width, height), _ = cv2.getTextSize(text, face, size, 1)
    left = min(max(at[0], 0), on.shape[1] - width - 4)
    foot = max(at[1], height + 4)
    cv2.rectangle(on, (left, foot - height - 4), (left + width + 3, foot), colour, cv2.FILLED)
    cv2.putText(on, text, (left + 2, foot - 3), face, size, _WHITE, 1, cv2.LINE_AA)
