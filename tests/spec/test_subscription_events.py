"""Which changes are told: numbered, in order, none lost when a follower dies or has company."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from fhir_server.storage.port import VersionConflict
from fhir_server.subscriptions.notify import FOLLOWER, POSITION, QUIET_CHANGES, Follower
from tests.fhir_world import PATIENT, observation
from tests.subscription_world import Killed, Seen, Subscribed, subscribed, subscription, task


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Subscribed]:
    async with subscribed(tmp_path) as opened:
        yield opened


async def told(world: Subscribed) -> list[tuple[int, str, int]]:
    """Number, focus and version of each delivery that waits."""
    return [
        (each.value["number"], each.value["focus"], each.value["version"])
        for each in await world.waiting()
    ]


async def test_creates_and_updates_that_match_are_told_in_order(world: Subscribed) -> None:
    await world.subscribe()
    first, second = [await world.world.create(task()) for _ in range(2)]
    await world.world.put(f"/Task/{first}", task(id=first, description="again"))
    await world.follow()
    assert await told(world) == [
        (1, f"Task/{first}", 1),
        (2, f"Task/{second}", 1),
        (3, f"Task/{first}", 2),
    ]


NEAR_MISSES: dict[str, dict[str, Any]] = {
    "another status": {"status": "in-progress"},
    "another code": {"code": {"coding": [{"code": "analysed"}]}},
    "no code": {"code": {"text": "analyse"}},
}


@pytest.mark.parametrize("case", NEAR_MISSES)
async def test_a_near_miss_is_not_told(world: Subscribed, case: str) -> None:
    await world.subscribe()
    await world.world.create(task(**NEAR_MISSES[case]))
    await world.follow()
    assert await told(world) == []


async def test_other_types_and_deletions_are_not_told(world: Subscribed) -> None:
    await world.subscribe(criteria="Task?status:not=completed")
    await world.world.create(PATIENT)
    await world.world.create(observation())
    made = await world.world.create(task())
    await world.world.delete(f"/Task/{made}")
    await world.follow()
    assert await told(world) == [(1, f"Task/{made}", 1)]


async def test_an_update_that_comes_to_match_is_told(world: Subscribed) -> None:
    await world.subscribe()
    made = await world.world.create(task(status="draft"))
    await world.world.put(f"/Task/{made}", task(id=made))
    await world.follow()
    assert await told(world) == [(1, f"Task/{made}", 2)]


async def test_each_subscription_counts_for_itself(world: Subscribed) -> None:
    one = await world.subscribe()
    other = await world.subscribe(criteria="Task?status=requested,draft")
    await world.world.create(task(status="draft"))
    await world.world.create(task())
    await world.follow()
    numbers = [(each.value["subscription"], each.value["number"]) for each in await world.waiting()]
    assert sorted(numbers) == sorted([(one, 1), (other, 1), (other, 2)])


async def test_changed_criteria_count_from_the_change_on(world: Subscribed) -> None:
    id_ = await world.subscribe()
    changed = subscription(id=id_, status="active", criteria="Task?status=draft")
    await world.world.put(f"/Subscription/{id_}", changed)
    await world.world.create(task())
    draft = await world.world.create(task(status="draft"))
    await world.follow()
    assert await told(world) == [(1, f"Task/{draft}", 1)]


async def test_a_change_that_nobody_is_told_of_writes_nothing(world: Subscribed) -> None:
    await world.subscribe()
    for _ in range(20):
        await world.world.create(observation())
    seen = await world.follow()
    assert seen.units == 0


async def test_the_position_is_kept_now_and_then_all_the_same(world: Subscribed) -> None:
    await world.follow()
    assert await world.world.store.record(POSITION, FOLLOWER) is None
    entry = {"resource": observation(), "request": {"method": "POST", "url": "Observation"}}
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": [entry] * QUIET_CHANGES}
    await world.world.post("/", bundle)
    seen = await world.follow()
    assert seen.units == 1
    assert await world.world.store.record(POSITION, FOLLOWER) is not None


@pytest.mark.parametrize("is_after_commit", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", [1, 2, 3, 4])
async def test_a_follower_that_dies_loses_nothing(
    world: Subscribed, step: int, is_after_commit: bool
) -> None:
    """Its steps are the activation and one for each of three matches."""
    id_ = await world.world.create(subscription())
    tasks = [await world.world.create(task()) for _ in range(3)]
    with pytest.raises(Killed):
        await world.follow(dies_at=step, is_after_commit=is_after_commit)
    await world.follow()
    assert (await world.read(id_))["status"] == "active"
    assert await told(world) == [
        (number, f"Task/{made}", 1) for number, made in enumerate(tasks, start=1)
    ]


async def test_of_two_followers_one_wins_each_step(world: Subscribed) -> None:
    await world.subscribe()
    tasks = [await world.world.create(task()) for _ in range(10)]
    marker = f"Task/{tasks[-1]}"

    async def follow() -> None:
        for _ in range(2 * len(tasks)):
            # One that begins after the other's last step finds nothing more to follow.
            with suppress(VersionConflict, TimeoutError):
                follower = Follower(world.parts(Seen(world.world.store, marker)), lambda: None)
                async with asyncio.timeout(2):
                    await follower.follow()
            if len(await world.waiting()) == len(tasks):
                return

    await asyncio.gather(follow(), follow())
    assert await told(world) == [
        (number, f"Task/{made}", 1) for number, made in enumerate(tasks, start=1)
    ]
