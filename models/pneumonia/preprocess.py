"""From a picture to what the network sees, in training and serving alike (MedMNIST's own way: the
square in the middle, shrunk to 28x28 grey)."""

import cv2
import numpy as np
import numpy.typing as npt

VERSION = "medmnist28-gray-1"
SIDE = 28

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


def chest_pixels(rgb: Pixels) -> Pixels:
    """An RGB picture to the 28x28 grey one."""
    height, width = rgb.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    grey = cv2.cvtColor(rgb[top : top + side, left : left + side], cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def network_input(images: Pixels) -> Floats:
    """(n, 28, 28) grey to (n, 28, 28, 1) in 0..1."""
    return images[..., None].astype(np.float32) / np.float32(255.0)
