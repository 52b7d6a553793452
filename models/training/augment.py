"""Random changes of a training cell: turns, mirror, shift, scale, light, stain, blur and noise."""

import cv2
import numpy as np

from models.malaria.preprocess import SIDE, Floats, Pixels

CENTRE = (SIDE - 1) / 2.0


def augment(cells: Pixels, chance: np.random.Generator) -> Floats:
    """Each grey cell changed at random; black outside of the cell stays black. (n, 50, 50, 1)."""
    return np.stack([_one(cell, chance) for cell in cells])[..., None] / np.float32(255.0)


def _one(cell: Pixels, chance: np.random.Generator) -> Floats:
    moved = _move(cell, chance)
    lit = _light(moved, chance)
    if chance.random() < 0.1:
        blurred = cv2.GaussianBlur(lit, (0, 0), float(chance.uniform(0.4, 0.8)))
        lit = np.asarray(blurred, dtype=np.float32)
    if chance.random() < 0.1:
        noise = chance.normal(0.0, chance.uniform(1.0, 4.0), lit.shape)
        lit = np.where(lit > 0, np.clip(lit + noise, 0, 255), 0).astype(np.float32)
    return np.asarray(lit, dtype=np.float32)


def _move(cell: Pixels, chance: np.random.Generator) -> Floats:
    turned = np.rot90(cell, int(chance.integers(4)))
    if chance.random() < 0.5:
        turned = turned[:, ::-1]
    across, down = chance.uniform(0.95, 1.05, 2)
    shift = chance.uniform(-3.0, 3.0, 2)
    matrix = np.array(
        [
            [across, 0.0, CENTRE - across * CENTRE + shift[0]],
            [0.0, down, CENTRE - down * CENTRE + shift[1]],
        ]
    )
    source = np.ascontiguousarray(turned, dtype=np.float32)
    return np.asarray(cv2.warpAffine(source, matrix, (SIDE, SIDE)), dtype=np.float32)


def _light(cell: Floats, chance: np.random.Generator) -> Floats:
    """Brightness and contrast of the cell alone, around its own mean."""
    inside = cell > 8
    if not inside.any():
        return cell
    mean = float(cell[inside].mean())
    contrast, light = chance.uniform(0.85, 1.18), chance.uniform(-18.0, 18.0)
    changed = np.clip((cell - mean) * contrast + mean + light, 1.0, 255.0)
    return np.where(inside, changed, cell).astype(np.float32)
