"""Rows into sealed parts and out of them again. A part is compressed, then sealed; at any time one
of them is in memory."""

import asyncio
import hashlib
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator

from fhir_server.backup.manifest import Part, Sealed, part_name
from fhir_server.backup.problems import Altered
from fhir_server.backup.rows import Row, decoded, encoded, name_of
from fhir_server.backup.seals import PartSeal
from fhir_server.backup.target import Target

PART_BYTES = 8 * 1024 * 1024
"""A part is closed when its rows have so many bytes, before they are compressed."""
_LEVEL = 3
_ROWS_AT_ONCE = 2000


class PartWriter:
    """Writes the parts of one backup, one after the other."""

    def __init__(self, target: Target, seal: PartSeal) -> None:
        self._target = target
        self._seal = seal
        self._waiting = bytearray()
        self.parts: list[Part] = []
        self.counts: Counter[str] = Counter()

    async def add(self, row: Row) -> None:
        """Put the row into the part that is open."""
        self._waiting += encoded(row)
        self.counts[name_of(row)] += 1
        if len(self._waiting) >= PART_BYTES:
            await self.end()

    async def end(self) -> None:
        """Close the part that is open, if there is anything in it."""
        if not self._waiting:
            return
        content, self._waiting = bytes(self._waiting), bytearray()
        number = len(self.parts)
        part, sealed = await asyncio.to_thread(self._sealed, number, content)
        await self._target.put(part_name(self._seal.backup, number), sealed)
        self.parts.append(part)

    def _sealed(self, number: int, content: bytes) -> tuple[Part, bytes]:
        sealed = self._seal.seal(number, zlib.compress(content, _LEVEL))
        return Part(len(sealed), hashlib.sha256(sealed).hexdigest()), sealed


async def read_rows(target: Target, found: Sealed) -> AsyncIterator[list[Row]]:
    """The rows of a backup in their order, some at a time. Altered where a part is not what was
    made, or is not there."""
    backup = found.manifest.backup
    for number, part in enumerate(found.manifest.parts):
        name = part_name(backup, number)
        try:
            sealed = await target.get(name)
        except KeyError:
            raise Altered(f"{name} is missing") from None
        try:
            content = await asyncio.to_thread(_opened, found.seal, number, part, sealed)
            for rows in _some(decoded(content)):
                yield rows
        except Altered as problem:
            raise Altered(f"{name}: {problem}") from None


def _opened(seal: PartSeal, number: int, part: Part, sealed: bytes) -> bytes:
    if len(sealed) != part.bytes:
        raise Altered(f"it has {len(sealed)} bytes and not {part.bytes}")
    if hashlib.sha256(sealed).hexdigest() != part.sha256:
        raise Altered("it was altered, or moved there")
    return zlib.decompress(seal.open(number, sealed))


def _some(rows: Iterator[Row]) -> Iterator[list[Row]]:
    found: list[Row] = []
    for row in rows:
        found.append(row)
        if len(found) == _ROWS_AT_ONCE:
            yield found
            found = []
    if found:
        yield found
