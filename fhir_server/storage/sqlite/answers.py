"""Answers of the store's threads, brought back to the event loops that wait for them."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

Outcome = tuple[Any, Exception | None]
"""A result, or what was raised instead."""
Answer = tuple[asyncio.Future[Any], Outcome]


class StoreClosed(Exception):
    """The store was closed before it was asked; nothing was read or written."""


def outcome_of(function: Callable[..., Any], *arguments: Any) -> Outcome:
    """What a call gives or raises."""
    try:
        return function(*arguments), None
    except Exception as failure:
        return None, failure


def deliver(answers: Sequence[Answer]) -> None:
    """Give each waiting future its outcome; each loop is woken once, however many wait on it."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Answer]] = {}
    for answer in answers:
        by_loop.setdefault(answer[0].get_loop(), []).append(answer)
    for loop, own in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve, own)


def _resolve(answers: Iterable[Answer]) -> None:
    for future, (result, failure) in answers:
        if future.done():  # whoever waited has gone
            continue
        if failure is None:
            future.set_result(result)
        else:
            future.set_exception(failure)
