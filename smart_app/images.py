"""What an uploaded file is, judged by its bytes alone, and its copy without private metadata.

Only the outline of the formats is read here: the worker decodes, and decides on the content.
"""

import struct
import zlib
from dataclasses import dataclass

MOST_PIXELS = 120_000_000
PNG = b"\x89PNG\r\n\x1a\n"
# Chunks that may hold free text, names or places; and those that make an animation.
PNG_PRIVATE = frozenset({b"eXIf", b"tEXt", b"iTXt", b"zTXt", b"tIME"})
PNG_ANIMATED = frozenset({b"acTL", b"fcTL", b"fdAT"})
JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
JPEG_PRIVATE = frozenset({0xE1, 0xED, 0xFE})


class NotAnImage(Exception):
    """The file can't be taken; `reason` is a key of the upload page's texts."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class ReadableImage:
    """A still image of a known kind, without EXIF, GPS, comments and other private metadata."""

    content: bytes
    content_type: str
    width: int
    height: int


def read_image(content: bytes) -> ReadableImage:
    """Identify and clean an upload; NotAnImage says why not."""
    if not content:
        raise NotAnImage("empty")
    if content.startswith(PNG):
        image = _png(content)
    elif content.startswith(b"\xff\xd8\xff"):
        image = _jpeg(content)
    elif content[4:12] in {b"ftypheic", b"ftypheix", b"ftypmif1", b"ftyphevc"}:
        raise NotAnImage("heic")
    elif content[:4] in {b"II*\0", b"MM\0*"}:
        image = _tiff(content)
    elif content.startswith((b"GIF8", b"BM")) or content[8:12] == b"WEBP":
        raise NotAnImage("other-format")
    else:
        raise NotAnImage("not-an-image")
    if image.width < 1 or image.height < 1:
        raise NotAnImage("corrupt")
    if image.width * image.height > MOST_PIXELS:
        raise NotAnImage("too-many-pixels")
    return image


def _png(content: bytes) -> ReadableImage:
    kept = [PNG]
    at, width, height, ended = len(PNG), 0, 0, False
    while at + 12 <= len(content) and not ended:
        (length,) = struct.unpack_from(">I", content, at)
        kind, end = content[at + 4 : at + 8], at + 12 + length
        if end > len(content):
            raise NotAnImage("corrupt")
        if zlib.crc32(content[at + 4 : end - 4]) != int.from_bytes(content[end - 4 : end]):
            raise NotAnImage("corrupt")
        if kind in PNG_ANIMATED:
            raise NotAnImage("animated")
        if kind == b"IHDR":
            width, height = struct.unpack_from(">II", content, at + 8)
        if kind not in PNG_PRIVATE:
            kept.append(content[at:end])
        ended, at = kind == b"IEND", end
    if not ended:
        raise NotAnImage("corrupt")
    return ReadableImage(b"".join(kept), "image/png", width, height)


def _jpeg(content: bytes) -> ReadableImage:
    kept = [b"\xff\xd8"]
    at, width, height = 2, 0, 0
    while at + 4 <= len(content):
        if content[at] != 0xFF:
            raise NotAnImage("corrupt")
        marker = content[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0xDA:
            break
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4])
        if end > len(content):
            raise NotAnImage("corrupt")
        if marker in JPEG_FRAMES and end - at >= 9:
            height, width = struct.unpack_from(">HH", content, at + 5)
        if marker not in JPEG_PRIVATE:
            kept.append(content[at:end])
        at = end
    if width == 0 or content.rfind(b"\xff\xd9") < at:
        raise NotAnImage("corrupt")
    return ReadableImage(b"".join([*kept, content[at:]]), "image/jpeg", width, height)


def _tiff(content: bytes) -> ReadableImage:
    order = "<" if content[:2] == b"II" else ">"
    try:
        (start,) = struct.unpack_from(order + "I", content, 4)
        (count,) = struct.unpack_from(order + "H", content, start)
        sizes = dict[int, int]()
        for index in range(count):
            tag, kind = struct.unpack_from(order + "HH", content, start + 2 + 12 * index)
            if tag in {256, 257}:
                form = "H" if kind == 3 else "I"
                (sizes[tag],) = struct.unpack_from(order + form, content, start + 10 + 12 * index)
    except struct.error as error:
        raise NotAnImage("corrupt") from error
    return ReadableImage(content, "image/tiff", sizes.get(256, 0), sizes.get(257, 0))
