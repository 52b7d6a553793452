"""Who may ask MongoDB after a connection was lost: one goes ahead, the others wait or are told."""

import asyncio

import pytest
from pymongo.errors import (
    AutoReconnect,
    NotPrimaryError,
    OperationFailure,
    ServerSelectionTimeoutError,
)

from fhir_server.storage.mongo import reachable as module
from fhir_server.storage.mongo.reachable import ASK_SECONDS, Gate, reachable, reachable_once
from fhir_server.storage.port import StoreAway, StoreUnavailable


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


class Store:
    """What asks through the gate; each question takes the next of `failures`, if there is one."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.failures: list[Exception] = []
        self.asked = 0

    async def _ask(self) -> str:
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)
        return "found"

    read = reachable(_ask)
    write = reachable_once(_ask)


async def test_who_reads_outlasts_connections_that_end_one_after_the_other(
    server: Server, gate: Gate
) -> None:
    server.answers.set()
    store = Store(gate)
    store.failures = [AutoReconnect("cut"), NotPrimaryError("no more"), AutoReconnect("cut")]
    assert await store.read() == "found"
    assert (store.asked, server.asked) == (4, 3), "each time one question goes ahead"


async def test_who_waits_outlasts_a_question_ahead_whose_connection_ends(
    server: Server, gate: Gate
) -> None:
    gate.lost()
    server.answers.set()
    server.failure = AutoReconnect("cut")
    reading = [asyncio.create_task(Store(gate).read()) for _ in range(3)]
    while server.asked < 2:
        await asyncio.sleep(0.01)
    server.failure = None
    assert await asyncio.gather(*reading) == ["found"] * 3


async def test_patience_has_an_end(
    server: Server, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.2)
    server.answers.set()
    store = Store(gate)
    store.failures = [AutoReconnect("cut")] * 100
    with pytest.raises(StoreUnavailable):
        await store.read()
    assert 2 < store.asked < 100


async def test_what_may_have_been_done_is_not_asked_again_and_what_was_not_begun_is(
    server: Server, gate: Gate
) -> None:
    server.answers.set()
    store = Store(gate)
    store.failures = [AutoReconnect("cut")]
    with pytest.raises(StoreUnavailable):
        await store.write()
    assert store.asked == 1
    server.failure = AutoReconnect("cut")
    writing = asyncio.create_task(store.write())
    while server.asked < 2:
        await asyncio.sleep(0.01)
    server.failure = None
    assert await writing == "found"


async def test_who_found_no_server_or_is_refused_is_told_at_once(
    server: Server, gate: Gate
) -> None:
    server.answers.set()
    store = Store(gate)
    store.failures = [ServerSelectionTimeoutError("nobody"), OperationFailure("wrong", 2)]
    with pytest.raises(StoreUnavailable):
        await store.read()
    with pytest.raises(OperationFailure):
        await store.read()
    assert store.asked == 2


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
