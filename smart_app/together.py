"""Reads that a page asks for in the same moment go to the server as one batch (R4 RESTful API,
"batch/transaction"): a request for each would cost the app more than all else of a page.

A read that nobody joins goes as itself. Each gets the answer that it would get alone: what one is
refused leaves the others.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

Resource = dict[str, Any]
Answers = Sequence[Resource | BaseException]


@dataclass(frozen=True)
class Read:
    """What is asked for, relative to the server's base, and its answer to come."""

    url: str
    answer: asyncio.Future[Resource]


class Together:
    """`alone` answers one read; `batch` several, each with a resource or its failure. None of it
    means that they have to be asked alone."""

    def __init__(
        self,
        alone: Callable[[str], Awaitable[Resource]],
        batch: Callable[[Sequence[str]], Awaitable[Answers | None]],
    ) -> None:
        self._alone = alone
        self._batch = batch
        self._waiting: list[Read] = []

    async def get(self, url: str) -> Resource:
        """The answer; raises what the read alone would, or what the batch did."""
        read = Read(url, asyncio.get_running_loop().create_future())
        self._waiting.append(read)
        if len(self._waiting) == 1:
            # The first asks for all. Who is called beside it, or by one beside it, has said what
            # it wants after two turns of the loop.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            reads, self._waiting = self._waiting, []
            await self._settle(reads)
        return await read.answer

    async def _settle(self, reads: Sequence[Read]) -> None:
        urls = [each.url for each in reads]
        try:
            for read, found in zip(reads, await self._answers(urls), strict=True):
                _give(read, found)
        finally:
            for read in reads:
                read.answer.cancel()  # when this was cancelled itself; what is settled stays so

    async def _answers(self, urls: Sequence[str]) -> Answers:
        try:
            found = await self._batch(urls) if len(urls) > 1 else None
        except Exception as failure:  # everybody's, told to each
            return [failure] * len(urls)
        if found is not None:
            return found
        return await asyncio.gather(*map(self._alone, urls), return_exceptions=True)


def _give(read: Read, found: Resource | BaseException) -> None:
    if read.answer.done():  # who asked for it has gone
        return
    if isinstance(found, BaseException):
        read.answer.set_exception(found)
    else:
        read.answer.set_result(found)
