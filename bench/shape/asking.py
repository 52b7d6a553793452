"""Asking and measuring: each request counts from the moment when it was due, and is sent once more
when it was not answered well."""

import asyncio
from collections.abc import Set
from dataclasses import dataclass

from bench.shape.tally import Tallies, Tally
from bench.shape.wire import Answer, Caller, NoAnswer

ANSWER_SECONDS = 30.0
"""What a caller waits for an answer."""
_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 5.0
_SAID = 300
OK = frozenset({200})


@dataclass(frozen=True, slots=True)
class Request:
    """A request of a class (`kind`) as it goes over the wire, and the statuses that answer it
    well. Sent twice, it must act once: it reads, or names its own repetition."""

    kind: str
    content: bytes
    good: Set[int] = OK


@dataclass(frozen=True)
class Asking:
    """Asks as somebody who tries once more after a second, or when the answer said to."""

    tallies: Tallies

    async def ask(self, caller: Caller, request: Request, due: float) -> Answer | None:
        """The good answer to a request that was due at this time of the event loop; None when
        there was none."""
        tally = self.tallies.of(request.kind)
        tally.asked += 1
        answer = await _attempt(caller, request)
        tally.statuses[answer.status if answer else 0] += 1
        if not _is_good(answer, request):
            tally.failed_first += 1
            _note(tally, answer)
            await asyncio.sleep(_pause(answer))
            answer = await _attempt(caller, request)
        if not _is_good(answer, request):
            tally.failed += 1
            tally.again[answer.status if answer else 0] += 1
            _note(tally, answer)
            return None
        tally.seconds.append(asyncio.get_running_loop().time() - due)
        return answer


def _note(tally: Tally, answer: Answer | None) -> None:
    """What the first bad answer of a status said."""
    if answer is not None:
        tally.said.setdefault(answer.status, answer.body[:_SAID].decode("utf-8", "replace"))


def _is_good(answer: Answer | None, request: Request) -> bool:
    return answer is not None and answer.status in request.good


async def _attempt(caller: Caller, request: Request) -> Answer | None:
    try:
        return await caller.ask(request.content, ANSWER_SECONDS)
    except NoAnswer:
        return None


def _pause(answer: Answer | None) -> float:
    said = answer.header("retry-after") if answer else ""
    return min(float(said), _LONGEST_PAUSE_SECONDS) if said.isdigit() else _PAUSE_SECONDS
