"""The pictures and the loaded model that the tests here share."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.malaria.predict import MalariaModel, SmearImage

ROOT = Path(__file__).parents[3]
DEMO = ROOT / "deploy" / "demo" / "images"
SAMPLES = ROOT / "tests" / "samples" / "malaria"


@pytest.fixture(scope="session")
def model() -> MalariaModel:
    return MalariaModel.load()


@pytest.fixture(scope="session")
def picture() -> Callable[[str], bytes]:
    """The bytes of a demo image or sample by its file name."""

    def read(name: str) -> bytes:
        return next(p for p in (DEMO / name, SAMPLES / name) if p.exists()).read_bytes()

    return read


@pytest.fixture(scope="session")
def rgb(picture: Callable[[str], bytes]) -> Callable[[str], np.ndarray]:
    """The RGB pixels of a demo image or sample."""

    def read(name: str) -> np.ndarray:
        return np.asarray(Image.open(BytesIO(picture(name))).convert("RGB"))

    return read


def coded(pixels: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    """Pixels as the bytes of an image file."""
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture(scope="session")
def as_image() -> Callable[..., SmearImage]:
    """Pixels to an uploaded image."""

    def build(pixels: np.ndarray, kind: str = "PNG", **options: object) -> SmearImage:
        return SmearImage(coded(pixels, kind, **options), f"image/{kind.lower()}")

    return build
