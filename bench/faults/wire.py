"""Messages of MongoDB's wire protocol, as far as a proxy must understand them (OP_MSG)."""

import asyncio
import struct
from dataclasses import dataclass
from typing import Any

import bson

_HEADER = struct.Struct("<iiii")
_OP_MSG = 2013
_FLAGS = 4
_BODY = b"\x00"


@dataclass(frozen=True)
class Message:
    """One message: its number, the number that it answers, and all of its bytes."""

    number: int
    answers: int
    opcode: int
    content: bytes

    def document(self) -> dict[str, Any]:
        """The command or reply; empty for what is no OP_MSG. What travels beside it (document
        sequences) is left out."""
        place = _HEADER.size + _FLAGS
        if self.opcode != _OP_MSG or self.content[place : place + 1] != _BODY:
            return {}
        length = int.from_bytes(self.content[place + 1 : place + 5], "little")
        found: dict[str, Any] = bson.decode(self.content[place + 1 : place + 1 + length])
        return found


async def received(reader: asyncio.StreamReader) -> Message | None:
    """The next message; None at the end of the connection."""
    try:
        head = await reader.readexactly(_HEADER.size)
        length, number, answers, opcode = _HEADER.unpack(head)
        rest = await reader.readexactly(length - _HEADER.size)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return Message(number, answers, opcode, head + rest)


def reply(to: int, document: dict[str, Any]) -> bytes:
    """An OP_MSG with this document that answers the message `to`."""
    body = bytes(_FLAGS) + _BODY + bson.encode(document)
    return _HEADER.pack(_HEADER.size + len(body), 0, to, _OP_MSG) + body
