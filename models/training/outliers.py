"""Pictures that are no red cells, and red cells of another hospital, for the training side.

From the BCCD archive: white cells and platelets cut out by ellipses and by their own masks, and
red cells (presumed free of malaria) by the segmentation that serving uses. Made here: textures,
letters, gradients and pieces of fields in the masks of real cells, so that the black surround
alone never marks a red cell.
"""

import tarfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from models.malaria.fields import cut_cells
from models.malaria.preprocess import SIDE, Pixels, cell_pixels
from models.malaria.reading import Box

RED_OVERLAP = 0.7
"""Smallest overlap (intersection over union) of a segmented cell with a labelled red cell."""


@dataclass(frozen=True, slots=True)
class Field:
    """One BCCD field: RGB pixels and its labelled boxes (`RBC`, `WBC`, `Platelets`)."""

    name: str
    rgb: Pixels
    boxes: tuple[tuple[str, Box], ...]


def read_bccd(archive: Path, split: str) -> Iterator[Field]:
    """The fields of one split (`train`, `val`, `test`) in the archive's own order of names."""
    with tarfile.open(archive) as tar:
        names = _member(tar, f"BCCD/ImageSets/Main/{split}.txt").decode().split()
        for name in sorted(names):
            rgb = read_rgb(_member(tar, f"BCCD/JPEGImages/{name}.jpg"))
            boxes = _boxes(_member(tar, f"BCCD/Annotations/{name}.xml"))
            yield Field(name, rgb, boxes)


def read_rgb(coded: bytes) -> Pixels:
    """An image of a trusted archive to RGB; raises ValueError when it is none."""
    image = cv2.imdecode(np.frombuffer(coded, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError("not an image")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    if file is None:
        raise ValueError(f"{name} is not a file in the archive")
    return file.read()


def _boxes(annotation: bytes) -> tuple[tuple[str, Box], ...]:
    found = []
    for item in ElementTree.fromstring(annotation).iter("object"):  # noqa: S314  own data set
        left, top, right, bottom = (
            int(item.findtext(f"bndbox/{side}", "0")) for side in ("xmin", "ymin", "xmax", "ymax")
        )
        if right - left > 4 and bottom - top > 4:
            box = Box(max(left, 0), max(top, 0), right - left, bottom - top)
            found.append((item.findtext("name", ""), box))
    return tuple(found)


def strangers(field: Field) -> list[Pixels]:
    """White cells and platelets of a field, each under an ellipse, 50x50 grey."""
    return [
        cell_pixels(_ellipse_crop(field.rgb, box, grow))
        for kind, box in field.boxes
        if kind in ("WBC", "Platelets")
        for grow in (0.85, 1.0, 1.15)
    ]


def masked_strangers(field: Field) -> list[Pixels]:
    """White cells and platelets as the segmentation cuts them out of the field."""
    boxes = [box for kind, box in field.boxes if kind in ("WBC", "Platelets")]
    return [
        cell_pixels(cell.crop)
        for cell in cut_cells(field.rgb)
        if any(_share_of(cell.box, box) > 0.6 for box in boxes)
    ]


def red_cells(field: Field) -> list[Pixels]:
    """Whole red cells of a field as serving would see them."""
    boxes = [box for kind, box in field.boxes if kind == "RBC"]
    return [
        cell_pixels(cell.crop)
        for cell in cut_cells(field.rgb)
        if not cell.is_cut_off and any(_overlap(cell.box, box) > RED_OVERLAP for box in boxes)
    ]


def _ellipse_crop(rgb: Pixels, box: Box, grow: float) -> Pixels:
    height, width = rgb.shape[:2]
    centre = (box.x + box.width / 2, box.y + box.height / 2)
    half = (box.width * grow / 2, box.height * grow / 2)
    left, top = max(int(centre[0] - half[0]), 0), max(int(centre[1] - half[1]), 0)
    right = min(int(centre[0] + half[0]) + 1, width)
    bottom = min(int(centre[1] + half[1]) + 1, height)
    crop = rgb[top:bottom, left:right]
    mask = np.zeros(crop.shape[:2], np.uint8)
    middle = (crop.shape[1] // 2, crop.shape[0] // 2)
    axes = (max(crop.shape[1] // 2, 1), max(crop.shape[0] // 2, 1))
    cv2.ellipse(mask, middle, axes, 0, 0, 360, 255, cv2.FILLED)
    return np.asarray(cv2.bitwise_and(crop, crop, mask=mask), dtype=np.uint8)


def _intersection(one: Box, other: Box) -> int:
    width = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    height = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    return max(width, 0) * max(height, 0)


def _overlap(one: Box, other: Box) -> float:
    shared = _intersection(one, other)
    return shared / (one.width * one.height + other.width * other.height - shared)


def _share_of(one: Box, other: Box) -> float:
    """The share of the first box that lies in the second."""
    return _intersection(one, other) / (one.width * one.height)


def masked_junk(
    masks: Pixels, fields: list[Pixels], count: int, chance: np.random.Generator
) -> Pixels:
    """`count` pictures of anything but a cell, each in the mask of a real cell from `masks`."""
    made = []
    for number in range(count):
        cell = masks[int(chance.integers(len(masks)))]
        match number % 6:
            case 0 | 1:
                content = _patch(fields, chance)
            case 2:
                content = _clouds(chance)
            case 3:
                content = _letters(chance)
            case 4:
                content = _waves(chance)
            case _:
                content = 255 - cell
        made.append(np.where(cell > 0, np.maximum(content, 1), 0).astype(np.uint8))
    return np.stack(made)


def _patch(fields: list[Pixels], chance: np.random.Generator) -> Pixels:
    """Several cells, or parts of them with background, at any size."""
    rgb = fields[int(chance.integers(len(fields)))]
    side = int(chance.integers(120, 420))
    top = int(chance.integers(rgb.shape[0] - side + 1))
    left = int(chance.integers(rgb.shape[1] - side + 1))
    return cell_pixels(np.ascontiguousarray(rgb[top : top + side, left : left + side]))


def _clouds(chance: np.random.Generator) -> Pixels:
    """Smooth noise of a random grain, stretched to a random contrast."""
    grain = float(chance.choice([0.01, 0.7, 1.5, 3.0, 6.0]))
    noise = chance.normal(0, 1, (SIDE, SIDE)).astype(np.float32)
    if grain > 0.1:
        noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), grain), dtype=np.float32)
    noise = noise / max(float(noise.std()), 1e-6)
    return _grey(chance.uniform(60, 200) + noise * chance.uniform(15, 60))


def _letters(chance: np.random.Generator) -> Pixels:
    ground, ink = (int(value) for value in chance.integers(20, 255, 2))
    page = np.full((SIDE, SIDE), ground, np.uint8)
    for line in range(int(chance.integers(2, 6))):
        text = "".join(chr(int(c)) for c in chance.integers(65, 91, 8))
        place = (int(chance.integers(-8, 6)), 10 + 11 * line)
        cv2.putText(page, text, place, cv2.FONT_HERSHEY_PLAIN, float(chance.uniform(0.6, 1.2)), ink)
    return page


def _waves(chance: np.random.Generator) -> Pixels:
    """Stripes, checks and plain gradients."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    angle, pitch = chance.uniform(0, np.pi), chance.uniform(0.3, 12)
    wave = np.sin(2 * np.pi * pitch * (np.cos(angle) * rows + np.sin(angle) * columns))
    if chance.random() < 0.4:
        wave = np.sign(wave)
    return _grey(chance.uniform(70, 190) + wave * chance.uniform(20, 70))


def _grey(values: npt.NDArray[np.floating]) -> Pixels:
    return np.asarray(np.clip(values, 1, 255), dtype=np.uint8)
