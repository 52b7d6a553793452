"""Fields of a thin film, drawn: red cells with a pale centre on an evenly lit slide."""

import cv2
import numpy as np

SLIDE = (218, 214, 216)
RIM, CENTRE = (190, 142, 158), (206, 176, 186)


def field(
    *, cells: int = 40, side: int = 600, radius: int = 22, slide: tuple[int, int, int] = SLIDE
) -> np.ndarray:
    """An RGB field of cells on a jittered grid, with the fine grain of a camera."""
    chance = np.random.default_rng(7)
    drawn = np.zeros((side, side, 3), np.uint8) + np.array(slide, np.uint8)
    across = int(np.ceil(np.sqrt(cells)))
    step = side / across
    for number in range(cells):
        corner = np.array([number % across, number // across])
        x, y = ((corner + 0.5) * step + chance.uniform(-0.12, 0.12, 2) * step).astype(int)
        size = int(radius * chance.uniform(0.92, 1.08))
        cv2.circle(drawn, (int(x), int(y)), size, RIM, cv2.FILLED, cv2.LINE_AA)
        cv2.circle(drawn, (int(x), int(y)), size // 3, CENTRE, cv2.FILLED, cv2.LINE_AA)
    soft = cv2.GaussianBlur(drawn, (0, 0), 0.8).astype(float)
    return np.clip(soft + chance.normal(0, 1.0, soft.shape), 0, 255).astype(np.uint8)


def lit(rgb: np.ndarray, factor: float) -> np.ndarray:
    """The same under more or less light."""
    return np.clip(rgb * factor, 0, 255).astype(np.uint8)


def blurred(rgb: np.ndarray, sigma: float) -> np.ndarray:
    """The same out of focus."""
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), sigma))


def faded(rgb: np.ndarray, share: float) -> np.ndarray:
    """The same with this share of the cells' difference from the slide."""
    slide = np.array(SLIDE, float)
    return np.clip(slide + (rgb - slide) * share, 0, 255).astype(np.uint8)


def greyed(rgb: np.ndarray, share: float) -> np.ndarray:
    """The same with this share of its colour."""
    grey = rgb.mean(axis=2, keepdims=True)
    return np.clip(grey + (rgb - grey) * share, 0, 255).astype(np.uint8)
