"""Counters that go on when Redis is gone: each process counts for itself until Redis is back.

Limits are then those of each process and not of all together, and what was counted before is
forgotten: more is let through for a while, and nobody is locked out.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redis.exceptions import RedisError

from fhir_server.security.rate_limit import Count, Counters

RETRY_SECONDS = 5.0
"""Redis is not asked again for so long after it failed: each question may take its time-out."""

T = TypeVar("T")
_log = logging.getLogger(__name__)


class SteadyCounters:
    """The `Counters` of Redis, and of this process while it can't be asked."""

    def __init__(
        self, shared: Counters, own: Counters, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._shared = shared
        self._own = own
        self._clock = clock
        self._gone_until = float("-inf")

    async def hit(self, key: str, window_seconds: int) -> Count:
        """Count one hit, in Redis where it answers."""
        found = await self._asked(lambda: self._shared.hit(key, window_seconds))
        return await self._own.hit(key, window_seconds) if found is None else found

    async def clear(self, key: str) -> None:
        """Forget the key's hits, here too: Redis may have been gone meanwhile."""
        await self._own.clear(key)
        await self._asked(lambda: self._shared.clear(key))

    async def _asked(self, ask: Callable[[], Awaitable[T]]) -> T | None:
        """What Redis says; None when it can't be asked."""
        if self._clock() < self._gone_until:
            return None
        try:
            found = await ask()
        except (RedisError, OSError) as failure:
            if self._gone_until == float("-inf"):
                _log.error("Redis is gone (%s): each process counts alone", type(failure).__name__)
            self._gone_until = self._clock() + RETRY_SECONDS
            return None
        if self._gone_until != float("-inf"):
            _log.warning("Redis is back: hits are counted together again")
            self._gone_until = float("-inf")
        return found
