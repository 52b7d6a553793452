"""The one way from a colour crop to what the network sees; training and serving both use it.

The contract was recovered from the NIH set itself: squeeze to 50x50 with OpenCV's area
interpolation (the aspect ratio is not kept), then OpenCV's grey. Outside of the cell is black.
"""

import cv2
import numpy as np
import numpy.typing as npt

VERSION = "nih50-area-gray-1"
SIDE = 50

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


def cell_pixels(rgb: Pixels) -> Pixels:
    """An RGB crop of one cell, black outside of it, to the 50x50 grey picture of the contract."""
    small = cv2.resize(rgb, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def network_input(cells: Pixels) -> Floats:
    """Grey cells (n, 50, 50) to the network's (n, 50, 50, 1) in 0..1."""
    return cells[..., None].astype(np.float32) / np.float32(255.0)


def views(cells: Floats) -> Floats:
    """The eight turns and mirror images of each cell: (n, h, w, 1) to (8, n, h, w, 1)."""
    mirrored = cells[:, :, ::-1]
    turned = [np.rot90(one, k, axes=(1, 2)) for one in (cells, mirrored) for k in range(4)]
    return np.ascontiguousarray(np.stack(turned), dtype=np.float32)
