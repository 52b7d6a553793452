"""Bytes to an upright RGB picture, or the check that they failed.

Size in bytes, the type by content, the declared type, frames and size in pixels are all checked
before a single pixel is decoded, so a small file cannot unfold into a large one. Only the picture
leaves: metadata (place, device, names) stays behind with the bytes.
"""

import io
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from models.malaria.preprocess import Pixels
from models.malaria.reading import Refusal, SmearImage

LARGEST_BYTES = 16 * 1024 * 1024
LARGEST_PIXELS = 40_000_000
"""More than any microscope or telephone camera in ordinary use sends."""
SMALLEST_SIDE = 24
LONGEST_TO_SHORTEST = 4.0

CONTENT_TYPES = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "PNG": "image/png",
    "TIFF": "image/tiff",
    "BMP": "image/bmp",
}
"""The types that are read, by Pillow's name of the format. Telephones write MPO: a JPEG photograph
followed by its depth or light map, which is left aside."""
SYNONYMS = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/x-ms-bmp": "image/bmp"}
UNDECLARED = (None, "", "application/octet-stream")
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
"""Eight bits a channel; sixteen-bit greys would be cut off without a word."""


class ImageRefused(Exception):
    """The image is not read; `refusal` says which check it failed and what to do."""

    def __init__(self, refusal: Refusal, content_type: str | None = None) -> None:
        super().__init__(refusal.text)
        self.refusal = refusal
        self.content_type = content_type


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded image: upright RGB pixels, and its type by content."""

    rgb: Pixels
    content_type: str


def decode(image: SmearImage) -> Picture:
    """Decode one image, blocking; raises ImageRefused naming the failed check."""
    _check_bytes(image.content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opened = _open(image.content)
        content_type = CONTENT_TYPES[opened.format or ""]
        try:
            _check_declared(image.content_type, content_type)
            _check_frames(opened)
            _check_shape(*opened.size)
            return Picture(_pixels(opened), content_type)
        except ImageRefused as refused:
            raise ImageRefused(refused.refusal, content_type) from None


def _refuse(check: str, text: str, advice: str) -> ImageRefused:
    return ImageRefused(Refusal(check, text, advice))


def _check_bytes(content: bytes) -> None:
    if not content:
        raise _refuse("size", "The file is empty.", "Choose the image again and send it once more.")
    if len(content) > LARGEST_BYTES:
        raise _refuse(
            "size",
            f"The file has {len(content) / 1e6:.1f} MB; {LARGEST_BYTES / 1e6:.1f} MB are read.",
            "Save the image as JPEG, or at a lower resolution, and send it again.",
        )


def _open(content: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(content), formats=("JPEG", "PNG", "TIFF", "BMP"))
    except Image.DecompressionBombError:
        raise _too_many_pixels("far more pixels than a camera gives") from None
    except UnidentifiedImageError:
        raise _refuse(
            "type",
            "By its content the file is not a JPEG, PNG, TIFF or BMP image.",
            "Send the photograph itself as JPEG or PNG, not a document, film or archive.",
        ) from None
    except Exception as problem:  # Pillow's readers raise many kinds on hostile files
        raise _corrupt(problem) from None


def _corrupt(problem: Exception) -> ImageRefused:
    return _refuse(
        "corrupt",
        f"The image is damaged and cannot be decoded ({type(problem).__name__}).",
        "Save or export the image again from its source and send that copy.",
    )


def _too_many_pixels(found: str) -> ImageRefused:
    return _refuse(
        "pixels",
        f"The image has {found}; {LARGEST_PIXELS / 1e6:.0f} million are read.",
        "Reduce the image to at most 6000 pixels on its longer side.",
    )


def _check_declared(declared: str | None, found: str) -> None:
    if declared in UNDECLARED:
        return
    named = str(declared).split(";")[0].strip().lower()
    if SYNONYMS.get(named, named) != found:
        raise _refuse(
            "content-type",
            f"The file was sent as {named} but its content is {found}.",
            f"Send it as {found}, or send the file that was meant.",
        )


def _check_frames(opened: Image.Image) -> None:
    """Refuse a second frame; only one step is taken, however many the file claims."""
    if opened.format == "MPO":
        return
    try:
        opened.seek(1)
    except EOFError:
        opened.seek(0)
        return
    except Exception as problem:  # a damaged second frame is damage all the same
        raise _corrupt(problem) from None
    raise _refuse(
        "animated",
        "The file holds more than one picture.",
        "Send each field or cell as a picture of its own.",
    )


def _check_shape(width: int, height: int) -> None:
    if width * height > LARGEST_PIXELS:
        raise _too_many_pixels(f"{width} × {height} pixels")
    if min(width, height) < SMALLEST_SIDE:
        raise _refuse(
            "dimensions",
            f"The image has {width} × {height} pixels; a cell needs {SMALLEST_SIDE} on a side.",
            "Send the picture at the camera's own resolution, not a thumbnail.",
        )
    if max(width, height) > LONGEST_TO_SHORTEST * min(width, height):
        raise _refuse(
            "dimensions",
            f"The image is a strip of {width} × {height} pixels, not a field or a cell.",
            "Send the whole field of view, not a cut-out strip or a panorama.",
        )


def _pixels(opened: Image.Image) -> Pixels:
    if opened.mode not in MODES:
        raise _refuse(
            "type",
            f"The image's pixel format ({opened.mode}) is not eight bits a channel.",
            "Export it as an ordinary 8-bit colour JPEG or PNG.",
        )
    try:
        opened.load()
        upright = ImageOps.exif_transpose(opened)
        if "A" in upright.getbands() or "transparency" in upright.info:
            upright = _on_black(upright)
        return np.asarray(upright.convert("RGB"), dtype=np.uint8).copy()
    except Exception as problem:  # a damaged or hostile file fails in many ways
        raise _corrupt(problem) from None


def _on_black(picture: Image.Image) -> Image.Image:
    """Cut-out cells come with a transparent surround; the NIH cells' is black."""
    layered = picture.convert("RGBA")
    ground = Image.new("RGBA", layered.size, (0, 0, 0, 255))
    return Image.alpha_composite(ground, layered)
