"""Who may ask MongoDB after a connection was lost: one goes ahead, the others wait or are told."""

import asyncio

import pytest
from pymongo.errors import AutoReconnect, ServerSelectionTimeoutError

from fhir_server.storage.mongo.reachable import ASK_SECONDS, Gate
from fhir_server.storage.port import StoreAway


class Server:
    """Answers when it is let, or fails as it is told; counts what it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.failure: Exception | None = None
        self.answers = asyncio.Event()
        self.now = 0.0

    async def ask(self) -> None:
        self.asked += 1
        await self.answers.wait()
        if self.failure is not None:
            raise self.failure


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def gate(server: Server) -> Gate:
    return Gate(server.ask, lambda: server.now)


async def test_nothing_is_asked_ahead_while_no_connection_was_lost(
    server: Server, gate: Gate
) -> None:
    await gate.enter()
    assert server.asked == 0


async def test_of_a_hundred_one_question_goes_ahead_and_all_go_on_when_it_is_answered(
    server: Server, gate: Gate
) -> None:
    gate.lost()
    entering = [asyncio.create_task(gate.enter()) for _ in range(100)]
    await asyncio.sleep(0)
    assert not any(each.done() for each in entering)
    server.answers.set()
    await asyncio.gather(*entering)
    await gate.enter()
    assert server.asked == 1


async def test_a_connection_that_ends_again_is_no_failure_of_those_who_wait(
    server: Server, gate: Gate
) -> None:
    gate.lost()
    server.answers.set()
    server.failure = AutoReconnect("cut")

    async def mend() -> None:
        while server.asked < 2:
            await asyncio.sleep(0)
        server.failure = None

    await asyncio.gather(gate.enter(), gate.enter(), mend())
    assert not gate.is_closed


async def test_when_one_after_the_other_ends_all_who_wait_are_told_and_the_next_asks_again(
    server: Server, gate: Gate
) -> None:
    gate.lost()
    server.answers.set()
    server.failure = AutoReconnect("cut")
    waited = await asyncio.gather(gate.enter(), gate.enter(), return_exceptions=True)
    assert [type(each) for each in waited] == [AutoReconnect, AutoReconnect]
    server.failure = None
    await gate.enter()
    assert not gate.is_closed


async def test_while_the_server_is_gone_one_in_a_second_waits_for_it_and_all_others_are_told(
    server: Server, gate: Gate
) -> None:
    gate.lost()
    server.answers.set()
    server.failure = ServerSelectionTimeoutError("nobody")
    with pytest.raises(ServerSelectionTimeoutError):
        await gate.enter()
    assert gate.is_closed
    with pytest.raises(StoreAway):
        await gate.enter()
    server.now += ASK_SECONDS
    server.failure = None
    server.answers.clear()
    first = asyncio.create_task(gate.enter())
    await asyncio.sleep(0)
    with pytest.raises(StoreAway):
        await gate.enter()
    server.answers.set()
    await first
    await gate.enter()
    assert (server.asked, gate.is_closed) == (2, False)


async def test_who_goes_away_while_waiting_takes_the_question_from_nobody(
    server: Server, gate: Gate
) -> None:
    gate.lost()
    impatient, patient = (asyncio.create_task(gate.enter()) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.sleep(0)
    server.answers.set()
    await patient
    assert server.asked == 1
