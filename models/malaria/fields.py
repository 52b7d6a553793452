"""Thin-film fields to single red cells: background evened, Otsu on green, touching cells split.

Red cells absorb green, so they are dark on the bright background in the green channel. Touching
cells are parted by a watershed between the peaks of the distance transform. Each cell is then cut
out the way the NIH cells were: its own mask, black outside.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from models.malaria.preprocess import Floats, Pixels
from models.malaria.reading import Box

LONGEST_SIDE = 1600
"""Larger fields are reduced to this before anything is measured."""
SMALLEST_RADIUS = 9.0
"""In pixels: smaller blobs are platelets, stain or dust, and too coarse to read."""
SOLID = 0.93
"""Share of its convex hull that a single round cell fills."""
BORDER = 2

BACKGROUND = 205.0
"""The light that the empty slide is brought to."""
ROUND = 0.6
"""Smallest 4π·area/perimeter² of a single cell."""

Labels = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class FieldCell:
    """One segmented cell: its box in the field, its own mask inside the box, and its crop."""

    box: Box
    mask: Pixels
    crop: Pixels
    """RGB in even light, black outside of the mask."""
    is_cut_off: bool
    """It touches the edge of the image."""


def reduce_size(rgb: Pixels) -> Pixels:
    """The field at its own size, or reduced to LONGEST_SIDE."""
    height, width = rgb.shape[:2]
    scale = LONGEST_SIDE / max(height, width)
    if scale >= 1:
        return rgb
    size = (round(width * scale), round(height * scale))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def background_light(rgb: Pixels) -> Floats:
    """The light of the empty slide at each pixel and channel, from the brightest surroundings."""
    small = cv2.resize(cv2.medianBlur(rgb, 5), (64, 48), interpolation=cv2.INTER_AREA)
    light = cv2.morphologyEx(small, cv2.MORPH_CLOSE, np.ones((25, 25), np.uint8))
    light = cv2.GaussianBlur(light, (0, 0), 8)
    full = cv2.resize(light, (rgb.shape[1], rgb.shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.maximum(np.asarray(full, dtype=np.float32), 1.0)


def even_light(rgb: Pixels) -> Pixels:
    """The field as if the empty slide were evenly BACKGROUND in all three channels."""
    even = rgb.astype(np.float32) * (BACKGROUND / background_light(rgb))
    return np.clip(even, 0, 255).astype(np.uint8)


def foreground(even: Pixels) -> Pixels:
    """255 where stained cells lie in an evened field, holes (the pale centre) filled.

    Of the thresholds that Otsu's method gives for two classes, for three (nuclei of white cells
    are a class of their own) and between the latter and the background, the one counts that
    leaves the most area in solid, single cells.
    """
    green = np.asarray(cv2.medianBlur(np.ascontiguousarray(even[:, :, 1]), 5), dtype=np.uint8)
    low, high = _three_classes(green)
    masks = [_filled(green < edge) for edge in {low, high, (high + round(BACKGROUND)) // 2}]
    return max(masks, key=lambda mask: sum(solid_areas(mask)))


def _three_classes(green: npt.NDArray[np.uint8]) -> tuple[int, int]:
    """Otsu's threshold for two classes, and the upper one of his two for three."""
    counts = np.bincount(green.ravel(), minlength=256).astype(np.float64)
    share = np.cumsum(counts) / counts.sum()
    moment = np.cumsum(counts * np.arange(256)) / counts.sum()
    low, high = np.meshgrid(np.arange(255), np.arange(255), indexing="ij")
    weights = (share[low], share[high] - share[low], 1.0 - share[high])
    sums = (moment[low], moment[high] - moment[low], moment[-1] - moment[high])
    parts = [m**2 / np.maximum(w, 1e-9) for w, m in zip(weights, sums, strict=True)]
    between = np.where(low <= high, sum(parts), -1.0)
    return int(np.argmax(np.diag(between))) + 1, int(np.argmax(between.max(axis=0))) + 1


def _filled(dark: npt.NDArray[np.bool_]) -> Pixels:
    """The mask without specks, its small holes closed."""
    mask = np.where(dark, 255, 0).astype(np.uint8)
    mask = np.asarray(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)), np.uint8)
    outlines, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    areas = [cv2.contourArea(outline) for outline in outlines]
    links = [] if tree is None else tree[0].tolist()
    inner = [link[3] >= 0 for link in links]
    outer = [area for area, is_hole in zip(areas, inner, strict=True) if not is_hole]
    typical = _weighted_median(outer)
    for outline, area, is_hole in zip(outlines, areas, inner, strict=True):
        if is_hole and area < 0.6 * typical:
            cv2.drawContours(mask, [outline], -1, 255, cv2.FILLED)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    return np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, kernel), dtype=np.uint8)


def solid_areas(mask: Pixels) -> list[float]:
    """The areas of the blobs that are single cells by their shape."""
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    areas = []
    for outline in outlines:
        area = cv2.contourArea(outline)
        length = cv2.arcLength(outline, closed=True)
        is_large = area >= np.pi * SMALLEST_RADIUS**2
        is_round = 4 * np.pi * area > ROUND * length**2
        if is_large and is_round and area > SOLID * cv2.contourArea(cv2.convexHull(outline)):
            areas.append(float(area))
    return areas


def _weighted_median(areas: list[float]) -> float:
    """The area of the blob in which the middle pixel lies: specks do not pull it down."""
    if not areas:
        return 0.0
    ordered = np.sort(np.asarray(areas))
    return float(ordered[np.searchsorted(np.cumsum(ordered), ordered.sum() / 2)])


def typical_radius(mask: Pixels) -> float:
    """The radius of the single cells of a field in pixels; 0 when there are none."""
    return float(np.sqrt(_weighted_median(solid_areas(mask)) / np.pi))


def split(mask: Pixels, radius: float) -> Labels:
    """Number the cells of a mask from 1; touching cells are parted where the mask is narrow.

    Every peak of the distance transform stands for one disc; a pixel goes to the disc whose rim
    it is nearest to, which parts discs of different size along the chord where they meet.
    """
    distance = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    smooth = cv2.GaussianBlur(distance, (0, 0), max(radius * 0.1, 0.8))
    reach = max(3, round(radius * 0.9)) | 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    peaks = (smooth >= cv2.dilate(smooth, disc) - 1e-3) & (smooth > 0.45 * radius)
    _, _, _, seeds = cv2.connectedComponentsWithStats(peaks.astype(np.uint8))
    count, blobs, boxes, _ = cv2.connectedComponentsWithStats(mask)
    labels = np.zeros(mask.shape, dtype=np.int32)
    owners = [int(blobs[round(y), round(x)]) for x, y in seeds[1:]]
    used = 0
    for blob in range(1, count):
        own = [tuple(seeds[1 + i]) for i, owner in enumerate(owners) if owner == blob]
        discs = _distinct([(x, y, float(smooth[round(y), round(x)])) for x, y in own])
        x, y, w, h = (int(value) for value in boxes[blob][:4])
        inside = blobs[y : y + h, x : x + w] == blob
        rows, columns = np.nonzero(inside)
        rims = [np.hypot(columns + x - cx, rows + y - cy) - r for cx, cy, r in discs]
        nearest = np.argmin(rims, axis=0) if len(rims) > 1 else 0
        labels[rows + y, columns + x] = used + 1 + nearest
        used += max(len(discs), 1)
    return labels


def _distinct(discs: list[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    """Largest first; a disc whose centre lies well inside of a larger one is the same cell."""
    kept: list[tuple[float, float, float]] = []
    for x, y, r in sorted(discs, key=lambda disc: -disc[2]):
        if all(np.hypot(x - ox, y - oy) > 0.75 * max(r, other) for ox, oy, other in kept):
            kept.append((x, y, r))
    return kept


def cut_cells(rgb: Pixels) -> Iterator[FieldCell]:
    """Every red cell of a field, from top to bottom; blobs far from a cell's size are left out."""
    even = even_light(rgb)
    mask = foreground(even)
    radius = typical_radius(mask)
    if radius == 0.0:
        return
    labels = split(mask, radius)
    height, width = mask.shape
    for number, box, area in _boxes(labels):
        if not 0.3 * np.pi * radius**2 <= area <= 3.2 * np.pi * radius**2:
            continue
        window = (slice(box.y, box.y + box.height), slice(box.x, box.x + box.width))
        own = np.where(labels[window] == number, 255, 0).astype(np.uint8)
        crop = cv2.bitwise_and(even[window], even[window], mask=own)
        right, bottom = width - BORDER, height - BORDER
        starts_cut = box.x <= BORDER or box.y <= BORDER
        ends_cut = box.x + box.width >= right or box.y + box.height >= bottom
        yield FieldCell(box, own, np.asarray(crop, dtype=np.uint8), starts_cut or ends_cut)


def _boxes(labels: Labels) -> list[tuple[int, Box, int]]:
    """Number, box and area of each label, from top to bottom."""
    rows, columns = np.nonzero(labels)
    numbers = labels[rows, columns]
    count = int(numbers.max(initial=0)) + 1
    left, top = np.full(count, labels.shape[1]), np.full(count, labels.shape[0])
    right, bottom = np.zeros(count, np.int64), np.zeros(count, np.int64)
    np.minimum.at(left, numbers, columns)
    np.minimum.at(top, numbers, rows)
    np.maximum.at(right, numbers, columns)
    np.maximum.at(bottom, numbers, rows)
    areas = np.bincount(numbers, minlength=count)
    found = [
        (
            n,
            Box(
                int(left[n]), int(top[n]), int(right[n] - left[n]) + 1, int(bottom[n] - top[n]) + 1
            ),
            int(areas[n]),
        )
        for n in range(1, count)
        if areas[n]
    ]
    return sorted(found, key=lambda one: (one[1].y, one[1].x))
