"""What a part holds: rows, each of one kind, one behind the other (MessagePack)."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from fhir_server.storage.port import Key, Record, Stored
from fhir_server.storage.snapshot import Version

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(milliseconds=1)
_LENGTH_BYTES = 4


class VersionRow(msgspec.Struct, tag="version", tag_field="row", array_like=True, frozen=True):
    """A version of a resource; `body` is its exact JSON."""

    place: int
    type: str
    id: str
    version: int
    updated: int
    method: str
    body: bytes

    def version_of(self) -> Version:
        """As the store has it."""
        stored = Stored(
            Key(self.type, self.id), self.version, _moment(self.updated), self.body, self.method
        )
        return Version(self.place, stored)


class RecordRow(msgspec.Struct, tag="record", tag_field="row", array_like=True, frozen=True):
    """A record; `value` is JSON."""

    kind: str
    id: str
    value: bytes
    revision: int
    expires: int | None

    def record_of(self) -> Record:
        """As the store has it."""
        ends = None if self.expires is None else _moment(self.expires)
        return Record(self.kind, self.id, json.loads(self.value), self.revision, ends)


class JournalRow(msgspec.Struct, tag="journal", tag_field="row", array_like=True, frozen=True):
    """An audit record that waits for the sealer."""

    entry: bytes


class FileRow(msgspec.Struct, tag="file", tag_field="row", array_like=True, frozen=True):
    """A file of the folder beside the store: its path there, its mode, what is in it."""

    path: str
    mode: int
    content: bytes


Row = VersionRow | RecordRow | JournalRow | FileRow
_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Row)
_encoder = msgspec.msgpack.Encoder()
NAMES = ("version", "record", "journal", "file")


def name_of(row: Row) -> str:
    """What its kind is counted under, one of NAMES."""
    return str(type(row).__struct_config__.tag)


def version_row(version: Version) -> VersionRow:
    """The row of a version."""
    place, stored = version
    updated = _milliseconds(stored.updated)
    return VersionRow(place, *stored.key, stored.version, updated, stored.method, stored.body)


def record_row(record: Record) -> RecordRow:
    """The row of a record."""
    ends = None if record.expires is None else _milliseconds(record.expires)
    value = json.dumps(record.value).encode()
    return RecordRow(record.kind, record.id, value, record.revision, ends)


def encoded(row: Row) -> bytes:
    """A row as it stands in a part."""
    content = _encoder.encode(row)
    return len(content).to_bytes(_LENGTH_BYTES, "big") + content


def decoded(content: bytes) -> Iterator[Row]:
    """The rows of a part; ValueError when it is none."""
    view, place = memoryview(content), 0
    while place < len(view):
        start = place + _LENGTH_BYTES
        place = start + int.from_bytes(view[place:start], "big")
        if place > len(view):
            raise ValueError("a row is cut short")
        yield _decoder.decode(view[start:place])


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _TICK


def _moment(milliseconds: int) -> datetime:
    return _EPOCH + milliseconds * _TICK
