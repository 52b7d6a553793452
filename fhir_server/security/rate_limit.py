"""Counting what must not happen too often: the port, and its twin for a single process."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Count:
    """How often a key was hit in its window, and the seconds until the window ends."""

    hits: int
    resets_in_seconds: int


class Counters(Protocol):
    """Hits per key in fixed windows of time."""

    async def hit(self, key: str, window_seconds: int) -> Count:
        """Count one hit; the window of a key starts with its first hit."""

    async def clear(self, key: str) -> None:
        """Forget the key's hits."""


class MemoryCounters:
    """Counters of one process; keys whose window has ended are dropped as others come."""

    def __init__(self, clock: Callable[[], datetime], capacity: int = 100_000) -> None:
        self._clock = clock
        self._capacity = capacity
        self._windows: dict[str, tuple[int, float]] = {}

    async def hit(self, key: str, window_seconds: int) -> Count:
        """Count one hit; when `capacity` keys are alive, the one that ends first is dropped."""
        now = self._clock().timestamp()
        hits, ends = self._windows.get(key, (0, 0.0))
        if ends <= now:
            self._make_room(now)
            hits, ends = 0, now + window_seconds
        self._windows[key] = (hits + 1, ends)
        return Count(hits + 1, max(1, round(ends - now)))

    async def clear(self, key: str) -> None:
        """Forget the key's hits."""
        self._windows.pop(key, None)

    def _make_room(self, now: float) -> None:
        if len(self._windows) < self._capacity:
            return
        self._windows = {key: window for key, window in self._windows.items() if window[1] > now}
        if len(self._windows) >= self._capacity:
            self._windows.pop(min(self._windows, key=lambda key: self._windows[key][1]))
