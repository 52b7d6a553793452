"""A value read anew for each who asks, together with those who ask at the same time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Latest(Generic[T]):
    """Calls `read` as seldom as it can: who asks while a call is under way shares the next one
    with all who do, as what the first finds may be older than the question."""

    def __init__(self, read: Callable[[], Awaitable[T]]) -> None:
        self._read = read
        self._under_way: asyncio.Future[None] | None = None
        self._next: asyncio.Task[T] | None = None

    async def __call__(self) -> T:
        """The value as it was at some moment after this was called; the failure, if it can't be
        read."""
        if self._under_way is None:
            return await self._begun()
        if self._next is None:
            self._next = asyncio.ensure_future(self._after(self._under_way))
        return await asyncio.shield(self._next)

    async def _after(self, under_way: asyncio.Future[None]) -> T:
        await under_way
        self._next = None
        return await self._begun()

    async def _begun(self) -> T:
        under_way: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._under_way = under_way
        try:
            return await self._read()
        finally:
            if self._under_way is under_way:
                self._under_way = None
            under_way.set_result(None)
