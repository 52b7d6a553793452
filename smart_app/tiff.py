"""TIFF's directory of tags (TIFF 6.0, section 2): its size, its turn, and a copy without the rest.

EXIF data in JPEG and PNG are such a directory too. What says nothing about the pixels is taken out
of a picture, its bytes overwritten with zeros: names, dates, places, cameras, embedded previews.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

WIDTH, HEIGHT, TURN = 256, 257, 274
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
"""Bytes of a value by field type."""
OF_THE_PIXELS = frozenset(
    {
        *(254, 255, WIDTH, HEIGHT, 258, 259, 262, 263, 264, 265, 266, 273, TURN, 277, 278, 279),
        *(282, 283, 284, 292, 293, 296, 301, 317, 318, 319, 320, 322, 323, 324, 325, 338, 339),
        *(347, 529, 530, 531, 532, 34675),
    }
)
"""What decoding needs, resolution and colour profile; a list allows."""
DIRECTORIES = frozenset({330, 34665, 34853, 40965})
"""Tags that point to further directories: previews, EXIF, GPS, interoperability."""


@dataclass(frozen=True)
class Entry:
    """One tag: where its 12 bytes lie, and where its value does when it is longer than four."""

    at: int
    tag: int
    kind: int
    count: int
    value: int

    @property
    def length(self) -> int:
        """Bytes of the value."""
        return SIZES.get(self.kind, 1) * self.count


class NotTiff(ValueError):
    """The bytes are no TIFF directory."""


@dataclass(frozen=True)
class Directory:
    """The first directory: `following` is the offset of the next one, 0 when it is the last."""

    order: str
    start: int
    entries: tuple[Entry, ...]
    following: int

    def number(self, tag: int) -> int | None:
        """A tag's short or long value; None when it is not there."""
        found = next((entry for entry in self.entries if entry.tag == tag), None)
        if found is None:
            return None
        if found.kind != 3:
            return found.value
        # A short lies in the first two of the value's four bytes.
        return found.value >> 16 if self.order == ">" else found.value & 0xFFFF


def read_directory(content: bytes, start: int | None = None) -> Directory:
    """The first directory of a TIFF, or the one at `start`; NotTiff when there is none."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(content[:4])
    if order is None:
        raise NotTiff
    try:
        at = struct.unpack_from(order + "I", content, 4)[0] if start is None else start
        (count,) = struct.unpack_from(order + "H", content, at)
        entries = tuple(
            Entry(place, *struct.unpack_from(order + "HHII", content, place))
            for place in range(at + 2, at + 2 + 12 * count, 12)
        )
        (following,) = struct.unpack_from(order + "I", content, at + 2 + 12 * count)
    except struct.error as error:
        raise NotTiff from error
    return Directory(order, at, entries, following)


def turn_of(content: bytes) -> int:
    """The camera's turn, 1 (none) to 8; 1 for what is no such directory."""
    try:
        turn = read_directory(content).number(TURN) or 1
    except NotTiff:
        return 1
    return turn if 1 < turn < 9 else 1


def only_turn(turn: int) -> bytes:
    """A directory that says nothing but the turn."""
    return struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, TURN, 3, 1, turn, 0, 0)


def without_private(content: bytes) -> bytes:
    """The same picture without what is not of its pixels; NotTiff."""
    first = read_directory(content)
    made = bytearray(content)
    kept = [entry for entry in first.entries if entry.tag in OF_THE_PIXELS]
    for at, length in _private(content, first, depth=0):
        made[at : at + length] = bytes(max(0, min(length, len(made) - at)))
    table = b"".join(content[entry.at : entry.at + 12] for entry in kept)
    table = struct.pack(first.order + "H", len(kept)) + table + bytes(4)
    whole = 2 + 12 * len(first.entries) + 4
    made[first.start : first.start + whole] = table.ljust(whole, b"\0")
    return bytes(made)


def _private(content: bytes, found: Directory, *, depth: int) -> Iterator[tuple[int, int]]:
    """Where values lie that are not kept; of further directories everything."""
    for entry in found.entries:
        if depth == 0 and entry.tag in OF_THE_PIXELS:
            continue
        if entry.tag in DIRECTORIES and depth < 3 and entry.count == 1:
            try:
                below = read_directory(content, entry.value)
            except NotTiff:
                continue
            yield from _private(content, below, depth=depth + 1)
            yield below.start, 2 + 12 * len(below.entries) + 4
        elif entry.length > 4:
            yield entry.value, entry.length
