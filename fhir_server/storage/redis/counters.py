"""Hits per key in windows of time, shared by all processes that use the same Redis."""

from typing import TYPE_CHECKING

from fhir_server.security.rate_limit import Count

if TYPE_CHECKING:
    from redis.asyncio import Redis

_PREFIX = "medsage:hits:"


class RedisCounters:
    """The `Counters` of an installation; Redis ends the windows by its own clock."""

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis

    async def hit(self, key: str, window_seconds: int) -> Count:
        """Count one hit. The three commands are one step, so no window is left without an end."""
        name = _PREFIX + key
        async with self._redis.pipeline(transaction=True) as step:
            step.set(name, 0, px=window_seconds * 1000, nx=True)
            step.incr(name)
            step.pttl(name)
            _, hits, left_milliseconds = await step.execute()
        return Count(int(hits), max(1, round(int(left_milliseconds) / 1000)))

    async def clear(self, key: str) -> None:
        """Forget the key's hits."""
        await self._redis.delete(_PREFIX + key)
