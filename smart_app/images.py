"""What an uploaded file is, judged by its bytes alone, and its copy without private metadata.

Only the outline of the formats is read here: the worker decodes, and decides on the content.
"""

import re
import struct
import zlib
from dataclasses import dataclass

from smart_app.tiff import (
    HEIGHT,
    WIDTH,
    NotTiff,
    only_turn,
    read_directory,
    turn_of,
    without_private,
)

MOST_PIXELS = 120_000_000
PNG = b"\x89PNG\r\n\x1a\n"
# Chunks that may hold free text, names or places; and those that make an animation.
PNG_PRIVATE = frozenset({b"eXIf", b"tEXt", b"iTXt", b"zTXt", b"tIME"})
PNG_ANIMATED = frozenset({b"acTL", b"fcTL", b"fdAT"})
JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Applications' own segments and comments; JFIF (0xE0) and Adobe's (0xEE) tell how to decode.
JPEG_PRIVATE = frozenset(range(0xE0, 0xF0)) - {0xE0, 0xEE} | {0xFE}
SCAN, END, EXIF = 0xDA, 0xD9, 0xE1
NEXT_MARKER = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")
"""After the pixels of a scan: what is neither stuffing nor a restart."""


class NotAnImage(Exception):
    """The file can't be taken; `reason` is a key of the upload page's texts."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class ReadableImage:
    """A still image of a known kind, without EXIF, GPS, comments and other private metadata; of
    EXIF the camera's turn stays, so that the picture is shown and read upright."""

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
        elif kind == b"eXIf" and (turn := turn_of(content[at + 8 : end - 4])) > 1:
            kept.append(_chunk(kind, only_turn(turn)))
        ended, at = kind == b"IEND", end
    if not ended:
        raise NotAnImage("corrupt")
    return ReadableImage(b"".join(kept), "image/png", width, height)


def _chunk(kind: bytes, body: bytes) -> bytes:
    check = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)


def _jpeg(content: bytes) -> ReadableImage:
    """The segments that decoding needs, to the end of the first picture: what telephones write
    behind it (depth maps, a film with sound) stays behind."""
    kept = [b"\xff\xd8"]
    at, width, height = 2, 0, 0
    while True:
        marker, end = _segment(content, at)
        if marker == END:
            break
        if marker in JPEG_FRAMES and end - at >= 9:
            height, width = struct.unpack_from(">HH", content, at + 5)
        if marker == SCAN:
            following = NEXT_MARKER.search(content, end)
            if following is None:
                raise NotAnImage("corrupt")
            end = following.start()
        kept.append(_without_private(marker, content[at:end]))
        at = end
    if width == 0:
        raise NotAnImage("corrupt")
    return ReadableImage(b"".join([*kept, b"\xff\xd9"]), "image/jpeg", width, height)


def _segment(content: bytes, at: int) -> tuple[int, int]:
    """The marker at this place and the end of its segment."""
    while content[at : at + 2] == b"\xff\xff":
        at += 1
    if at + 2 > len(content) or content[at] != 0xFF:
        raise NotAnImage("corrupt")
    marker = content[at + 1]
    if marker == END:
        return marker, at + 2
    end = at + 2 + int.from_bytes(content[at + 2 : at + 4])
    if end < at + 4 or end > len(content):
        raise NotAnImage("corrupt")
    return marker, end


def _without_private(marker: int, segment: bytes) -> bytes:
    """The segment; of an application's own, only what decoding needs, of EXIF the turn alone."""
    head = segment.lstrip(b"\xff")[3:]
    if marker == EXIF and head.startswith(b"Exif\0\0"):
        turn = turn_of(head[6:])
        own = b"Exif\0\0" + only_turn(turn)
        length = (len(own) + 2).to_bytes(2)
        return b"\xff\xe1" + length + own if turn > 1 else b""
    is_private = marker in JPEG_PRIVATE and not head.startswith(b"ICC_PROFILE\0")
    return b"" if is_private else segment


def _tiff(content: bytes) -> ReadableImage:
    try:
        found = read_directory(content)
        cleaned = without_private(content)
    except NotTiff as error:
        raise NotAnImage("corrupt") from error
    if found.following:
        raise NotAnImage("several")
    size = (found.number(WIDTH) or 0, found.number(HEIGHT) or 0)
    return ReadableImage(cleaned, "image/tiff", *size)
