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

from models.malaria.preprocess import Pixels
from models.malaria.reading import Box

LONGEST_SIDE = 1600
"""Larger fields are reduced to this before anything is measured."""
SMALLEST_RADIUS = 9.0
"""In pixels: smaller blobs are platelets, stain or dust, and too coarse to read."""
SOLID = 0.93
"""Share of its convex hull that a single round cell fills."""
BORDER = 2

Labels = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class FieldCell:
    """One segmented cell: its box in the field, its own mask inside the box, and its crop."""

    box: Box
    mask: Pixels
    crop: Pixels
    """RGB, black outside of the mask."""
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


def even_green(rgb: Pixels) -> Pixels:
    """The green channel with uneven light divided out; background near 255."""
    green = cv2.medianBlur(np.ascontiguousarray(rgb[:, :, 1]), 5)
    small = cv2.resize(green, (64, 48), interpolation=cv2.INTER_AREA)
    light = cv2.morphologyEx(small, cv2.MORPH_CLOSE, np.ones((25, 25), np.uint8))
    light = cv2.GaussianBlur(light, (0, 0), 8)
    full = cv2.resize(light, (green.shape[1], green.shape[0]), interpolation=cv2.INTER_CUBIC)
    even = green.astype(np.float32) * (245.0 / np.maximum(full.astype(np.float32), 1.0))
    return np.clip(even, 0, 255).astype(np.uint8)


def foreground(rgb: Pixels) -> Pixels:
    """255 where stained cells lie: Otsu, holes (the pale centre) filled, specks removed."""
    even = even_green(rgb)
    dark = np.where(even < _background_edge(even), 255, 0).astype(np.uint8)
    dark = cv2.morphologyEx(dark, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    outlines, tree = cv2.findContours(dark, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if tree is None:
        return np.asarray(dark, dtype=np.uint8)
    outer = [o for o, links in zip(outlines, tree[0], strict=True) if links[3] < 0]
    areas = [cv2.contourArea(o) for o in outer]
    typical = float(np.median([a for a in areas if a > np.pi * SMALLEST_RADIUS**2] or [0.0]))
    for outline, links in zip(outlines, tree[0], strict=True):
        if links[3] >= 0 and cv2.contourArea(outline) < 0.5 * typical:
            cv2.drawContours(dark, [outline], -1, 255, cv2.FILLED)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    return np.asarray(cv2.morphologyEx(dark, cv2.MORPH_OPEN, kernel), dtype=np.uint8)


def _background_edge(even: Pixels) -> int:
    """The upper of Otsu's two thresholds for three classes: nuclei, red cells and background.

    One threshold would part the nuclei of white cells from everything else where they are large.
    """
    counts = np.bincount(even.ravel(), minlength=256).astype(np.float64)
    share = np.cumsum(counts) / counts.sum()
    moment = np.cumsum(counts * np.arange(256)) / counts.sum()
    low, high = np.meshgrid(np.arange(255), np.arange(255), indexing="ij")
    weights = (share[low], share[high] - share[low], 1.0 - share[high])
    sums = (moment[low], moment[high] - moment[low], moment[-1] - moment[high])
    between = sum(m**2 / np.maximum(w, 1e-9) for w, m in zip(weights, sums, strict=True))
    between = np.where(low < high, between, -1.0)
    return int(np.argmax(between.max(axis=0))) + 1


def typical_radius(mask: Pixels) -> float:
    """The radius of the single cells of a field in pixels; 0 when there are none."""
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    radii = []
    for outline in outlines:
        area = cv2.contourArea(outline)
        hull = cv2.contourArea(cv2.convexHull(outline))
        radius = float(np.sqrt(area / np.pi))
        if radius >= SMALLEST_RADIUS and area >= SOLID * hull:
            radii.append(radius)
    return float(np.median(radii)) if radii else 0.0


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
    mask = foreground(rgb)
    radius = typical_radius(mask)
    if radius == 0.0:
        return
    labels = split(mask, radius)
    height, width = mask.shape
    count = int(labels.max())
    boxes = _boxes(labels, count)
    for number, (x, y, w, h, area) in boxes:
        if not 0.3 * np.pi * radius**2 <= area <= 3.2 * np.pi * radius**2:
            continue
        own = np.where(labels[y : y + h, x : x + w] == number, 255, 0).astype(np.uint8)
        crop = cv2.bitwise_and(rgb[y : y + h, x : x + w], rgb[y : y + h, x : x + w], mask=own)
        cut_off = x <= BORDER or y <= BORDER or x + w >= width - BORDER or y + h >= height - BORDER
        yield FieldCell(Box(x, y, w, h), own, np.asarray(crop, dtype=np.uint8), cut_off)


def _boxes(labels: Labels, count: int) -> list[tuple[int, tuple[int, int, int, int, int]]]:
    found = []
    for number in range(1, count + 1):
        ys, xs = np.nonzero(labels == number)
        if len(xs):
            x, y = int(xs.min()), int(ys.min())
            size = (int(xs.max()) - x + 1, int(ys.max()) - y + 1)
            found.append((number, (x, y, size[0], size[1], len(xs))))
    return sorted(found, key=lambda one: (one[1][1], one[1][0]))
