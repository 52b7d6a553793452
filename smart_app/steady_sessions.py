"""Sessions in Redis while Redis may be gone: fail closed, quickly, and in words.

Who a browser belongs to can't be guessed, so a page that can't look it up is refused with 503 and
what to do. When Redis refuses, nothing is asked again for RETRY_SECONDS. An answer that is late
refuses its own page alone: a busy process is late with answers too, and others must not pay for it.
When Redis is back, sessions go on with what it kept.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as Late

from smart_app.problems import Problem
from smart_app.sessions import SessionStore

RETRY_SECONDS = 1.0
AWAY = "sessions-away"

T = TypeVar("T")
_log = logging.getLogger("medsage.app")


class SteadySessions:
    """The `SessionStore` of Redis; Problem("sessions-away") while it can't be asked."""

    def __init__(self, shared: SessionStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._shared = shared
        self._clock = clock
        self._gone_until = float("-inf")

    async def get(self, key: str) -> bytes | None:
        return await self._asked(lambda: self._shared.get(key))

    async def put(self, key: str, value: bytes, seconds: int) -> None:
        await self._asked(lambda: self._shared.put(key, value, seconds))

    async def take(self, key: str) -> bytes | None:
        return await self._asked(lambda: self._shared.take(key))

    async def claim(self, key: str, seconds: int) -> bool:
        return await self._asked(lambda: self._shared.claim(key, seconds))

    async def delete(self, key: str) -> None:
        await self._asked(lambda: self._shared.delete(key))

    async def _asked(self, ask: Callable[[], Awaitable[T]]) -> T:
        if self._clock() < self._gone_until:
            raise Problem(AWAY)
        try:
            found = await ask()
        except (Late, TimeoutError) as failure:
            raise Problem(AWAY) from failure
        except (RedisError, OSError) as failure:
            if self._gone_until == float("-inf"):
                _log.error("Redis is gone (%s): pages are refused", type(failure).__name__)
            self._gone_until = self._clock() + RETRY_SECONDS
            raise Problem(AWAY) from failure
        if self._gone_until != float("-inf"):
            _log.warning("Redis is back: pages are answered again")
            self._gone_until = float("-inf")
        return found
