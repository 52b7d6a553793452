"""What a process does besides answering: begun with it, asked to finish at its end.

Work never ends by itself. If some does, the process says at `/health/ready` that it is not ready,
so that whoever runs it starts it again.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

FINISH_SECONDS = 6.0
"""How long work may take to finish what it has begun."""
CANCEL_SECONDS = 3.0
_log = structlog.get_logger("medsage.deploy")


@dataclass(frozen=True)
class Work:
    """`run` goes on until it is cancelled. Work that is worth finishing has a `stop`, after which
    `run` returns by itself as soon as it can."""

    run: Callable[[], Awaitable[None]]
    stop: Callable[[], None] | None = None


class WorkEnded(Exception):
    """Some work is not running any more."""


class Background:
    """The work of one process."""

    def __init__(self, work: Sequence[Work]) -> None:
        self._work = work
        self._tasks: list[asyncio.Future[None]] = []
        self._is_ending = False

    async def check(self) -> None:
        """WorkEnded unless everything is running."""
        if any(task.done() for task in self._tasks):
            raise WorkEnded

    def stop(self) -> None:
        """Nothing new is begun; what is worth finishing is finished meanwhile."""
        self._is_ending = True
        for work, task in zip(self._work, self._tasks, strict=False):
            if work.stop is not None and not task.done():
                work.stop()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Runs the work for as long as this is open; finishes it in bounded time."""
        self._tasks = [asyncio.ensure_future(each.run()) for each in self._work]
        for task in self._tasks:
            task.add_done_callback(self._ended)
        try:
            yield
        finally:
            self.stop()
            await self._finish()

    async def _finish(self) -> None:
        both = zip(self._work, self._tasks, strict=True)
        finishing = [task for work, task in both if work.stop is not None and not task.done()]
        if finishing:
            await asyncio.wait(finishing, timeout=FINISH_SECONDS)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CANCEL_SECONDS)

    def _ended(self, task: asyncio.Future[None]) -> None:
        failure = None if task.cancelled() else task.exception()
        if not self._is_ending or failure is not None:
            name = type(failure).__name__ if failure else None
            _log.error("background work ended", error=name)
