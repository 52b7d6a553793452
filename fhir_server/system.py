"""Time and ids of a running process; everything below is handed them."""

import os
from datetime import UTC, datetime

_IDS_AT_ONCE = 64
_SIZE = 16
_entropy: list[bytes] = []


def utc_now() -> datetime:
    """The clock."""
    return datetime.now(UTC)


def new_id() -> str:
    """A random id, as an R4 id and as a UUID of version 4."""
    text = _random().hex()
    # The variant's two bits are 10, and the rest of its digit is random.
    variant = "89ab"[int(text[16], 16) & 3]
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"


def _random() -> bytes:
    """Random bytes for one id, asked of the system for many at a time."""
    try:
        return _entropy.pop()
    except IndexError:
        many = os.urandom(_IDS_AT_ONCE * _SIZE)
        # Taken away at one end and added at the same: no two threads get the same bytes.
        _entropy.extend(many[at : at + _SIZE] for at in range(_SIZE, len(many), _SIZE))
        return many[:_SIZE]
