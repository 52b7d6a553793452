"""The cells of one image side by side, the likeliest parasite first, and where the model reacted.

Both are sheets of equal tiles, COLUMNS in a row: tile n is the n-th cell in the order of
`in_order`, so one list of readings describes a sheet. Reactions are shown of cells answered
parasite-likely alone, which are the first tiles; what abstains has none.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from fhir_server.fhir.drawings import COLUMNS, TILE
from models.malaria.fields import FieldCell
from models.malaria.preprocess import Pixels
from models.malaria.reading import CellAnswer, CellReading

Pair = tuple[CellReading, FieldCell]


def in_order(cells: Sequence[Pair]) -> list[Pair]:
    """By falling probability; refused cells, which have none, last, as they lie in the image."""
    return sorted(
        cells,
        key=lambda pair: (pair[0].probability is None, -(pair[0].probability or 0.0)),
    )


def sheet(tiles: Sequence[Pixels]) -> Pixels:
    """Tiles (TILE x TILE RGB), row by row, on black; at least one."""
    rows = -(-len(tiles) // COLUMNS)
    columns = min(len(tiles), COLUMNS)
    laid = np.zeros((rows * TILE, columns * TILE, 3), np.uint8)
    for number, tile in enumerate(tiles):
        y, x = number // COLUMNS * TILE, number % COLUMNS * TILE
        laid[y : y + TILE, x : x + TILE] = tile
    return laid


def cell_tile(cell: FieldCell) -> Pixels:
    """The crop in the middle of a tile, its proportions kept."""
    return _framed(cell.crop)


def reaction_tile(cell: FieldCell, reaction: np.ndarray) -> Pixels:
    """The crop in grey under the class-activation map: yellow where the logit was raised most.

    The map's few places are smoothed; what lowered the logit is not shown.
    """
    height, width = cell.crop.shape[:2]
    raised = np.maximum(reaction, 0.0).astype(np.float32)
    raised /= max(float(raised.max()), 1e-6)
    smooth = np.asarray(cv2.resize(raised, (width, height), interpolation=cv2.INTER_LINEAR))
    levels = np.clip(255 * smooth, 0, 255).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_CIVIDIS), cv2.COLOR_BGR2RGB)
    grey = cv2.cvtColor(cv2.cvtColor(cell.crop, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    mixed = cv2.addWeighted(grey, 0.55, colours, 0.45, 0)
    return _framed(np.asarray(cv2.bitwise_and(mixed, mixed, mask=cell.mask), dtype=np.uint8))


def is_likely(reading: CellReading) -> bool:
    """Whether a reaction may be shown of it."""
    return reading.answer is CellAnswer.PARASITE_LIKELY


def _framed(crop: Pixels) -> Pixels:
    height, width = crop.shape[:2]
    scale = TILE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = cv2.resize(crop, size, interpolation=how)
    y, x = (TILE - size[1]) // 2, (TILE - size[0]) // 2
    tile = np.zeros((TILE, TILE, 3), np.uint8)
    tile[y : y + size[1], x : x + size[0]] = small
    return tile
