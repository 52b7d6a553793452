"""Requests that arrive at a steady rate, whether or not those before are answered."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.shape.cases import Cases
from bench.shape.classes import CLASSES, Class, Stage
from bench.shape.visits import Browser


@dataclass
class Arrivals:
    """The load: `rate` requests a second of all classes, and cases of clinicians besides. What
    goes wrong in it (not in the service) ends it with an ExceptionGroup."""

    stage: Stage
    rate: float
    _is_over: bool = field(default=False, init=False)

    async def run(self) -> None:
        """Until `stop`; returns when all that was sent is answered or given up."""
        loop = asyncio.get_running_loop()
        names = list(CLASSES.values())
        shares = [each.share for each in names]
        began, sent = loop.time(), 0
        async with asyncio.TaskGroup() as group:
            while not self._is_over:
                due = began + sent / self.rate
                await asyncio.sleep(max(0.0, due - loop.time()))
                chosen: Class = self.stage.chance.choices(names, shares)[0]
                group.create_task(chosen.does(self.stage, due))
                sent += 1

    def stop(self) -> None:
        """Nothing more arrives."""
        self._is_over = True


async def rounds(cases: Cases, browsers: Sequence[Browser], seconds: float, first: int = 0) -> None:
    """One case of each clinician, spread over so many seconds; returns when all have ended.
    `first` is the number of the first case."""

    async def one(place: int, browser: Browser) -> None:
        await asyncio.sleep(place * seconds / len(browsers))
        await cases.one(browser, first + place)

    async with asyncio.TaskGroup() as group:
        for place, browser in enumerate(browsers):
            group.create_task(one(place, browser))
