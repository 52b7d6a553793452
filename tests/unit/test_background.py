"""Work behind the requests: begun, finished in order, and missed when it ends by itself."""

import asyncio
import time

import pytest

from deploy import background
from deploy.background import Background, Work, WorkEnded


class Worker:
    """Has something under way that takes a moment to finish."""

    def __init__(self, seconds: float) -> None:
        self.stopping = asyncio.Event()
        self.finished = False
        self.seconds = seconds

    async def run(self) -> None:
        await self.stopping.wait()
        await asyncio.sleep(self.seconds)
        self.finished = True


async def forever() -> None:
    await asyncio.Event().wait()


async def test_work_that_can_be_stopped_finishes_what_it_has_begun() -> None:
    worker = Worker(0.05)
    both = Background([Work(forever), Work(worker.run, worker.stopping.set)])
    async with both.running():
        await both.check()
    assert worker.finished


async def test_work_that_takes_too_long_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "FINISH_SECONDS", 0.05)
    worker, began = Worker(60), time.monotonic()
    async with Background([Work(worker.run, worker.stopping.set)]).running():
        pass
    assert not worker.finished
    assert time.monotonic() - began < 30


async def test_a_process_whose_work_has_ended_is_not_ready() -> None:
    async def fails() -> None:
        raise RuntimeError("out of order")

    broken = Background([Work(forever), Work(fails)])
    async with broken.running():
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with pytest.raises(WorkEnded):
            await broken.check()
