"""Reads that are shared, and never older than the question."""

import asyncio

import pytest

from fhir_server.security.latest import Latest


class Source:
    """A value that takes a while to be read; what is read is what it was when that began."""

    def __init__(self) -> None:
        self.value = 0
        self.reads = 0
        self.fails = False

    async def read(self) -> int:
        self.reads += 1
        found = self.value
        await asyncio.sleep(0.005)
        if self.fails:
            raise OSError("gone")
        return found


async def test_many_at_once_share_two_reads() -> None:
    source = Source()
    latest = Latest(source.read)
    assert await asyncio.gather(*(latest() for _ in range(50))) == [0] * 50
    assert source.reads == 2


async def test_what_changed_before_the_question_is_in_the_answer() -> None:
    source = Source()
    latest = Latest(source.read)

    async def changing(number: int) -> bool:
        await asyncio.sleep(number * 0.0007)
        source.value = number
        return await latest() >= number

    assert all(await asyncio.gather(*(changing(number) for number in range(1, 60))))
    assert source.reads < 59


async def test_each_alone_reads_for_itself() -> None:
    source = Source()
    latest = Latest(source.read)
    for expected in (1, 2, 3):
        source.value = expected
        assert await latest() == expected
    assert source.reads == 3


async def test_a_failure_is_everybodys_and_passes() -> None:
    source = Source()
    latest = Latest(source.read)
    source.fails = True
    answers = await asyncio.gather(*(latest() for _ in range(3)), return_exceptions=True)
    assert all(isinstance(each, OSError) for each in answers)
    source.fails = False
    assert await latest() == 0


async def test_one_who_gives_up_does_not_take_the_others_along() -> None:
    source = Source()
    latest = Latest(source.read)
    first, second, third = (asyncio.ensure_future(latest()) for _ in range(3))
    await asyncio.sleep(0)
    second.cancel()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await third == 0
    assert await latest() == 0
