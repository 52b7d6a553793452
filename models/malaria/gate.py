"""Is this a smear? A single cell, a field, or a refusal that names the check and what to do.

The limits were set on thin-film fields of two sources (Chula, BCCD) and on photographs, text,
radiographs and histology, of which none passes; see docs/models/malaria.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from models.malaria.decode import ImageRefused
from models.malaria.fields import (
    BACKGROUND,
    FieldCell,
    cut_cells,
    even_light,
    foreground,
    solid_areas,
    typical_radius,
)
from models.malaria.preprocess import Pixels
from models.malaria.reading import Box, ImageKind, ImageSigns, Refusal

DARK = 12
"""Below this in all channels a pixel is black surround."""
LEAST_SPREAD = 3.0
UNEVEN_BACKGROUND = 14.0
MOST_FOREGROUND = 0.75
LEAST_SOLID_SHARE = 0.03
GREEN_OVER_RED = 1.15
BLUE_OVER_GREEN = 1.3
MOST_DENSITY = 1.3
DARKEST_BACKGROUND = 45.0
BURNT = 254
"""From here on a channel says no more how bright it was."""
MOST_BURNT_RED = 0.97
LEAST_STAINED = 0.002
LEAST_RED = 0.05
"""Smallest optical density of stained cells in red where the empty slide is burnt out."""
LEAST_CONTRAST = 18.0
LEAST_SHARPNESS = 1.5
EYEPIECE_SIDE = 300
EYEPIECE_CELLS = 5
CELL_FILLS = 0.15
TIGHT = 0.9
"""A cell that spans this much of its image is taken as it was cut out."""


@dataclass(frozen=True, slots=True)
class Smear:
    """What passed the gate: a cell or a field, with the cells that were cut out of it."""

    kind: ImageKind
    cells: tuple[FieldCell, ...]
    signs: ImageSigns | None = None
    """Of a field."""


@dataclass(frozen=True, slots=True)
class FieldSigns:
    """What is measured of a supposed field before it is believed."""

    radius: float
    solid_share: float
    foreground: float
    uneven: float
    """Standard deviation of the empty slide after its light was evened."""
    light: float
    """Its darkest channel before."""
    density: tuple[float, float, float]
    """Optical density of the stained parts in red, green and blue."""
    contrast: float
    sharpness: float
    """Variance of the Laplacian at the cells' rims, at a fixed cell size and contrast."""


def inspect(rgb: Pixels) -> Smear:
    """Find out what an RGB picture shows; raises ImageRefused when it is not a smear."""
    if float(rgb.std(axis=(0, 1)).max()) < LEAST_SPREAD:
        raise _refused("blank")
    if _is_burnt_out(rgb):
        raise _refused("overexposed")
    surround = np.asarray(rgb.max(axis=2) <= DARK)
    if _has_dark_corners(surround):
        return _in_the_dark(rgb, surround)
    return _field(rgb, (0, 0))


def _is_burnt_out(rgb: Pixels) -> bool:
    """Red is white nearly everywhere, while green still shows stained cells."""
    burnt = rgb[:, :, 0] >= BURNT
    stained = burnt & (rgb[:, :, 1] < BURNT - 9)
    return bool(burnt.mean() >= MOST_BURNT_RED and stained.mean() >= LEAST_STAINED)


def _has_dark_corners(surround: np.ndarray) -> bool:
    side = max(2, min(surround.shape) // 25)
    ends = (slice(0, side), slice(-side, None))
    return sum(bool(surround[down, across].mean() > 0.8) for down in ends for across in ends) >= 3


def _in_the_dark(rgb: Pixels, surround: np.ndarray) -> Smear:
    """A cell cut out on black, or the round view through an eyepiece."""
    lit = np.where(surround, 0, 255).astype(np.uint8)
    count, blobs, boxes, _ = cv2.connectedComponentsWithStats(lit)
    if count < 2:
        raise _refused("blank")
    largest = 1 + int(np.argmax(boxes[1:, cv2.CC_STAT_AREA]))
    x, y, width, height, area = (int(value) for value in boxes[largest])
    if min(width, height) >= EYEPIECE_SIDE:
        inset = (round(width * 0.15), round(height * 0.15))
        view = rgb[y + inset[1] : y + height - inset[1], x + inset[0] : x + width - inset[0]]
        if sum(1 for _ in cut_cells(view)) >= EYEPIECE_CELLS:
            return _field(np.ascontiguousarray(view), (x + inset[0], y + inset[1]))
    if area < 0.9 * int((lit > 0).sum()) or not 0.35 < area / (width * height) < 0.97:
        raise _refused("not-a-smear")
    own = np.where(blobs == largest, 255, 0).astype(np.uint8)
    _check_cell_colour(rgb[own > 0])
    box = Box(x, y, width, height)
    if width >= TIGHT * rgb.shape[1] and height >= TIGHT * rgb.shape[0]:
        box = Box(0, 0, rgb.shape[1], rgb.shape[0])
    window = (slice(box.y, box.y + box.height), slice(box.x, box.x + box.width))
    crop = np.ascontiguousarray(rgb[window])
    return Smear(ImageKind.CELL, (FieldCell(box, own[window], crop, is_cut_off=False),))


def _check_cell_colour(inside: Pixels) -> None:
    red, green, _ = (float(value) for value in np.median(inside, axis=0))
    if green > 1.05 * red + 2:
        raise _refused("stain")


def _field(rgb: Pixels, corner: tuple[int, int]) -> Smear:
    signs = field_signs(rgb)
    check_field(signs, rgb)
    cells = tuple(_moved(cell, corner) for cell in cut_cells(rgb))
    whole = [cell for cell in cells if not cell.is_cut_off]
    if not whole:
        raise _refused("no-cells")
    fill = max(int((cell.mask > 0).sum()) for cell in whole) / (rgb.shape[0] * rgb.shape[1])
    if len(cells) <= 2 and len(whole) == 1 and fill >= CELL_FILLS:
        return Smear(ImageKind.CELL, tuple(whole))
    return Smear(ImageKind.FIELD, cells, _image_signs(signs))


def _image_signs(signs: FieldSigns | None) -> ImageSigns | None:
    if signs is None:
        return None
    return ImageSigns(signs.light, signs.contrast, signs.density[1], signs.sharpness)


def _moved(cell: FieldCell, corner: tuple[int, int]) -> FieldCell:
    box = Box(cell.box.x + corner[0], cell.box.y + corner[1], cell.box.width, cell.box.height)
    return FieldCell(box, cell.mask, cell.crop, cell.is_cut_off)


def field_signs(rgb: Pixels) -> FieldSigns | None:
    """Measure a supposed field; None when nothing in it is shaped like a cell."""
    even = even_light(rgb)
    mask = foreground(even)
    radius = typical_radius(mask)
    if radius == 0.0:
        return None
    like_cells = [a for a in solid_areas(mask) if 0.4 < a / (np.pi * radius**2) < 2.0]
    empty = cv2.dilate(mask, np.ones((9, 9), np.uint8)) == 0
    inner = cv2.erode(mask, np.ones((5, 5), np.uint8)) > 0
    if empty.sum() < 50 or inner.sum() < 50:
        return None
    stained = np.maximum(np.median(even[inner], axis=0), 1.0)
    red, green, blue = (float(value) for value in -np.log(stained / BACKGROUND))
    return FieldSigns(
        radius=radius,
        solid_share=sum(like_cells) / float((mask > 0).sum()),
        foreground=float((mask > 0).mean()),
        uneven=float(even[empty].std(axis=0).mean()),
        light=float(np.median(rgb[empty], axis=0).min()),
        density=(red, green, blue),
        contrast=float(BACKGROUND - stained[1]),
        sharpness=_sharpness(even, mask, radius, float(BACKGROUND - stained[1])),
    )


def _sharpness(even: Pixels, mask: Pixels, radius: float, contrast: float) -> float:
    scale = 20.0 / radius
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    green = cv2.resize(even[:, :, 1], None, fx=scale, fy=scale, interpolation=how)
    size = (green.shape[1], green.shape[0])
    cells = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
    rims = cv2.morphologyEx(cells, cv2.MORPH_GRADIENT, np.ones((7, 7), np.uint8)) > 0
    smooth = cv2.GaussianBlur(green.astype(np.float32), (0, 0), 1)
    bends = np.asarray(cv2.Laplacian(smooth, cv2.CV_32F))[rims]
    return float(1000.0 * bends.var() / max(contrast, 1.0) ** 2) if bends.size else 0.0


def check_field(signs: FieldSigns | None, rgb: Pixels) -> None:
    """Raise ImageRefused with the first check that a supposed field fails."""
    if signs is None:
        raise _refused("focus" if _is_blurred(rgb) else "not-a-smear")
    red, green, blue = signs.density
    failed = {
        "overexposed": signs.light >= BURNT and red < LEAST_RED,
        "not-a-smear": signs.uneven > UNEVEN_BACKGROUND
        or signs.foreground > MOST_FOREGROUND
        or signs.solid_share < LEAST_SOLID_SHARE
        or green > MOST_DENSITY,
        "stain": green < GREEN_OVER_RED * red or blue > BLUE_OVER_GREEN * green,
        "exposure": signs.light < DARKEST_BACKGROUND,
        "contrast": signs.contrast < LEAST_CONTRAST,
        "focus": signs.sharpness < LEAST_SHARPNESS,
    }
    for check, has_failed in failed.items():
        if has_failed:
            raise _refused(check)


def _is_blurred(rgb: Pixels) -> bool:
    """No edge anywhere that a quarter of the size would not show as well."""
    green = np.ascontiguousarray(rgb[:, :, 1], dtype=np.float32)
    spread = max(float(green.std()), 1.0)
    return float(np.abs(np.asarray(cv2.Laplacian(green, cv2.CV_32F))).max()) < 0.25 * spread


REASONS: Mapping[str, tuple[str, str]] = {
    "blank": (
        "The image is blank: all of it has nearly the same colour.",
        "Check that the lamp is on, the slide in the light path and the picture not burnt out; "
        "take it again.",
    ),
    "not-a-smear": (
        "The image does not look like a stained thin blood film or a single cell cut from one.",
        "Photograph a thin-film field through the microscope's oil-immersion objective, or send "
        "one cell on a black background.",
    ),
    "no-cells": (
        "No whole red cell was found in the field.",
        "Choose a part of the film where single red cells lie side by side.",
    ),
    "stain": (
        "The colours are not those of a Giemsa-type stain (or the picture is grey).",
        "Send the camera's colour picture; check the stain and its pH of 7.2.",
    ),
    "exposure": (
        "The field is too dark.",
        "Raise the lamp or the exposure until the empty slide is nearly white.",
    ),
    "overexposed": (
        "The field is too bright: the cells are burnt out.",
        "Dim the lamp or shorten the exposure until the empty slide is just below white.",
    ),
    "contrast": (
        "The cells hardly differ from the background.",
        "Lower the exposure, close the condenser a little, or stain longer.",
    ),
    "focus": (
        "The image is out of focus.",
        "Focus on the rims of the red cells, hold the camera still, and take the picture again.",
    ),
}

"""What was found and what to do about it, by check."""


def _refused(check: str) -> ImageRefused:
    text, advice = REASONS[check]
    return ImageRefused(Refusal(check, text, advice))
