"""Time and ids of a running process; everything below is handed them."""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

_IDS_AT_ONCE = 64
_SIZE = 16
_entropy: list[bytes] = []


PACE = 0.5
"""How fast time goes here while the machine's clock is behind what was told already."""


class SteadyClock:
    """The machine's clock, which never goes backwards here: what is written later has no earlier
    time, and nothing that has expired is good again. Where the machine's is put back, time goes on
    at PACE until the machine's has caught up."""

    def __init__(
        self,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        # One value, so that threads see both parts of the same moment.
        self._last = (datetime.min.replace(tzinfo=UTC), monotonic())

    def __call__(self) -> datetime:
        ticks = self._monotonic()
        last, then = self._last
        now = max(self._wall(), last + timedelta(seconds=(ticks - then) * PACE))
        self._last = (now, ticks)
        return now

    def begin_at(self, moment: datetime) -> None:
        """Go on from a moment that others have told already."""
        self._last = (max(moment, self._last[0]), self._monotonic())


utc_now = SteadyClock()
"""The clock."""


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
