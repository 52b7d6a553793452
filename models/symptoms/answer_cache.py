"""Answers of a language model by the hash of what was asked: bounded, and forgotten in time."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol


class AnswerCache(Protocol):
    """Keeps accepted answers as they came. A key is the hash of model, prompt and input, so a
    changed prompt or model finds nothing old."""

    def get(self, key: str) -> str | None:
        """The answer, or None when there is none or it is too old."""
        ...

    def put(self, key: str, answer: str) -> None:
        """Keeps an answer; the one not used for longest makes room."""
        ...


class MemoryCache:
    """The cache of one process. It is lost with it, and holds no more than `most` answers for
    `seconds` each."""

    def __init__(
        self, clock: Callable[[], float], *, most: int = 256, seconds: float = 3600.0
    ) -> None:
        self._clock = clock
        self._most = most
        self._seconds = seconds
        self._kept: OrderedDict[str, tuple[float, str]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: str) -> str | None:
        kept = self._kept.get(key)
        if kept is None:
            return None
        since, answer = kept
        if self._clock() - since >= self._seconds:
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return answer

    def put(self, key: str, answer: str) -> None:
        self._kept[key] = (self._clock(), answer)
        self._kept.move_to_end(key)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
