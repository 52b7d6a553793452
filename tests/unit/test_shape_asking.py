"""How the load asks: what is sent again, what counts as failed, and from when time counts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bench.shape.asking import Asking, Request
from bench.shape.tally import Tallies
from bench.shape.wire import Answer, Caller, Door, NoAnswer, request

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: 1\r\nX-A: 2\r\n\r\nhi"
BUSY = b"HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"
CUT = b""


@asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[tuple[Door, list[bytes]]]:
    """A server that gives these answers in turn (CUT: hangs up), and what it was asked."""
    asked: list[bytes] = []
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while left:
            try:
                asked.append(await reader.readuntil(b"\r\n\r\n"))
            except asyncio.IncompleteReadError:
                break
            answer = left.pop(0)
            if answer == CUT:
                break
            writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield Door(f"http://localhost:{server.sockets[0].getsockname()[1]}"), asked


def asked_of(door: Door) -> tuple[Caller, Request]:
    return Caller(door, 3), Request("read", request(door, "GET", "/x", {"Accept": "*/*"}))


async def test_an_answer_has_its_headers_and_the_connection_is_kept() -> None:
    async with answering(OK, OK) as (door, asked):
        caller = Caller(door, 3)
        sent = request(door, "GET", "/x", {})
        first = await caller.ask(sent, 5)
        await caller.ask(sent, 5)
        assert first == Answer(200, {"content-length": ["2"], "x-a": ["1", "2"]}, b"hi")
        assert len(asked) == 2
        caller.close()


@pytest.mark.parametrize(("first", "status"), [(BUSY, 503), (CUT, 0)])
async def test_what_was_not_answered_well_is_asked_once_more(first: bytes, status: int) -> None:
    tallies = Tallies()
    async with answering(first, OK) as (door, _):
        caller, wanted = asked_of(door)
        answer = await Asking(tallies).ask(caller, wanted, asyncio.get_running_loop().time() - 9)
        caller.close()
    assert answer is not None
    assert answer.body == b"hi"
    tally = tallies.of("read")
    assert (tally.asked, tally.failed_first, tally.failed) == (1, 1, 0)
    assert tally.statuses == {status: 1}
    assert tally.seconds[0] > 9, "the time before it was sent counts"


async def test_what_is_not_answered_well_twice_has_failed_and_both_answers_are_noted() -> None:
    tallies = Tallies()
    async with answering(CUT, BUSY, OK) as (door, asked):
        caller, wanted = asked_of(door)
        assert await Asking(tallies).ask(caller, wanted, 0.0) is None
        caller.close()
    assert len(asked) == 2
    tally = tallies.of("read")
    assert (tally.failed, tally.statuses, tally.again) == (1, {0: 1}, {503: 1})
    assert tally.seconds == []


async def test_after_a_connection_that_was_cut_another_is_opened() -> None:
    async with answering(CUT, OK) as (door, _):
        caller, wanted = asked_of(door)
        with pytest.raises(NoAnswer):
            await caller.ask(wanted.content, 5)
        assert (await caller.ask(wanted.content, 5)).body == b"hi"
        caller.close()


async def test_who_is_refused_a_connection_has_no_answer() -> None:
    async with answering() as (door, _):
        pass
    with pytest.raises(NoAnswer, match="refused"):
        await Caller(door, 0).ask(b"", 5)


async def test_a_late_answer_is_none_and_its_connection_is_given_up() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\n", OK) as (door, _):
        caller, wanted = asked_of(door)
        with pytest.raises(NoAnswer, match="late"):
            await caller.ask(wanted.content, 0.05)
        assert (await caller.ask(wanted.content, 5)).body == b"hi"
        caller.close()
