"""Rest-hook delivery: empty POSTs in order, at least once, again after failures, given up in the
end, and taken up where they stopped."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from fhir_server.subscriptions.deliver import Deliverer, Pace
from fhir_server.subscriptions.notify import Follower
from tests.subscription_world import (
    Killed,
    Subscribed,
    eventually,
    subscribed,
    subscription,
    task,
)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Subscribed]:
    async with subscribed(tmp_path) as opened:
        yield opened


async def events(world: Subscribed, count: int = 1, **changes: object) -> str:
    """A Subscription with so many events that wait."""
    id_ = await world.subscribe(**changes)
    for _ in range(count):
        await world.world.create(task())
    await world.follow()
    assert len(await world.waiting()) == count
    return id_


def later(world: Subscribed, seconds: float) -> None:
    world.world.clock.now += timedelta(seconds=seconds)


async def test_a_notification_is_an_empty_post_with_the_headers_asked_for(
    world: Subscribed,
) -> None:
    id_ = await events(world, channel={"header": ["X-Token: a b", "X-Empty:"]})
    assert await world.deliver() == 1
    (request,) = world.hook.requests
    assert (request.method, str(request.url)) == ("POST", "http://hook.example/told")
    assert request.content == b""
    assert request.headers["x-token"] == "a b"
    assert request.headers["x-empty"] == ""
    assert world.hook.told == [(id_, 1)]
    assert await world.waiting() == []


async def test_events_go_out_in_order_and_once(world: Subscribed) -> None:
    await events(world, 5)
    assert await world.deliver() == 5
    assert await world.deliver() == 0
    assert world.hook.numbers == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "failure", [500, 404, 301, httpx.ConnectError("refused"), httpx.ReadTimeout("slow")]
)
async def test_a_failure_is_tried_again_after_growing_waits(
    world: Subscribed, failure: int | Exception
) -> None:
    await events(world, 2)
    world.hook.answer = failure
    for wait in (0.5, 1.0, 2.0, 4.0):
        before = len(world.hook.requests)
        await world.deliver()
        assert len(world.hook.requests) == before + 1
        later(world, wait * 0.9)
        await world.deliver()
        assert len(world.hook.requests) == before + 1
        later(world, wait * 0.1)
    world.hook.answer = 200
    assert await world.deliver() == 2
    assert world.hook.numbers == [1, 2]


async def test_the_waits_grow_no_longer_than_agreed(world: Subscribed) -> None:
    world.pace = Pace(longest_wait_seconds=60)
    await events(world)
    world.hook.answer = 503
    for _ in range(12):
        await world.deliver()
        later(world, 60)
    assert len(world.hook.requests) == 12


async def test_what_can_not_be_delivered_sets_error_with_the_reason(world: Subscribed) -> None:
    world.pace = Pace(give_up_seconds=3600)
    id_ = await events(world, 2)
    world.hook.answer = 503
    await world.deliver()
    later(world, 3599)
    await world.deliver()
    assert (await world.read(id_))["status"] == "active"
    later(world, 900)
    await world.deliver()
    found = await world.read(id_)
    assert found["status"] == "error"
    assert found["error"] == "event 1 could not be delivered: HTTP 503"
    attempts = len(world.hook.requests)
    later(world, 3600)
    await world.deliver()
    assert len(world.hook.requests) == attempts


async def test_asking_again_resumes_where_it_stopped(world: Subscribed) -> None:
    world.pace = Pace(give_up_seconds=3600)
    id_ = await events(world, 3)
    world.hook.answer = 503
    await world.deliver()
    later(world, 4000)
    await world.deliver()
    await world.follow()
    await world.world.put(f"/Subscription/{id_}", subscription(id=id_))
    await world.follow()
    await world.deliver()
    assert (await world.read(id_))["status"] == "active", "its time begins anew"
    world.hook.answer = 200
    later(world, 1)
    await world.world.create(task())
    await world.follow()
    assert await world.deliver() == 4
    assert world.hook.numbers == [1, 2, 3, 4]
    assert (await world.read(id_))["status"] == "active"


async def test_switched_off_it_waits(world: Subscribed) -> None:
    id_ = await events(world, 1)
    await world.world.put(f"/Subscription/{id_}", subscription(id=id_, status="off"))
    assert await world.deliver() == 0
    assert len(await world.waiting()) == 1


async def test_a_deleted_subscription_drops_what_waits(world: Subscribed) -> None:
    id_ = await events(world, 3)
    other = await world.subscribe()
    await world.world.delete(f"/Subscription/{id_}")
    await world.world.create(task())
    await world.follow()
    assert await world.deliver() == 1
    assert world.hook.told == [(other, 1)]
    assert await world.waiting() == []


@pytest.mark.parametrize("is_after_commit", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", [1, 2, 3])
async def test_a_deliverer_that_dies_may_repeat_but_loses_nothing(
    world: Subscribed, step: int, is_after_commit: bool
) -> None:
    await events(world, 3)
    with pytest.raises(Killed):
        await world.deliver(dies_at=step, is_after_commit=is_after_commit)
    await world.deliver()
    again = [] if is_after_commit else [step]
    assert world.hook.numbers == sorted([1, 2, 3, *again])
    assert await world.waiting() == []


async def test_a_slow_endpoint_delays_no_other(world: Subscribed) -> None:
    slow = await events(world, channel={"endpoint": "http://hook.example/slow"})
    quick = await world.subscribe()
    for _ in range(2):
        await world.world.create(task())
    await world.follow()
    world.hook.hangs = "/slow"
    deliverer = Deliverer(
        world.parts(), lambda _: world.http, Pace(attempt_seconds=3600, idle_seconds=0.05)
    )
    running = asyncio.create_task(deliverer.run())
    await eventually(lambda: (quick, 2) in world.hook.told)
    running.cancel()
    assert slow not in {id_ for id_, _ in world.hook.told}


async def test_an_endpoint_that_never_answers_is_left_in_time(world: Subscribed) -> None:
    world.pace = Pace(attempt_seconds=0.05)
    await events(world, channel={"endpoint": "http://hook.example/slow"})
    world.hook.hangs = "/slow"
    assert await world.deliver() == 0
    (waiting,) = await world.waiting()
    assert waiting.value["attempts"] == 1


async def test_follower_and_deliverer_together_tell_at_once(world: Subscribed) -> None:
    deliverer = Deliverer(world.parts(), lambda _: world.http, Pace(idle_seconds=3600))
    follower = Follower(world.parts(), deliverer.wake)
    running = [asyncio.create_task(each.run()) for each in (follower, deliverer)]
    id_ = await world.world.create(subscription())

    async def is_active() -> bool:
        return bool((await world.read(id_))["status"] == "active")

    await eventually(is_active)
    for _ in range(3):
        await world.world.create(task())
    await eventually(lambda: world.hook.numbers == [1, 2, 3])
    for each in running:
        each.cancel()
