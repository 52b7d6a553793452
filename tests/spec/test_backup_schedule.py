"""Backups that are made by themselves, and what Prometheus is told about them."""

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from deploy.standalone import RefusedStart
from fhir_server.backup import schedule as schedules
from fhir_server.backup.catalogue import Moment, catalogue, chosen
from fhir_server.backup.create import Source, create
from fhir_server.backup.manifest import Manifest
from fhir_server.backup.prune import Retention, to_go
from fhir_server.backup.schedule import BackupMetrics, Plan, Schedule
from fhir_server.backup.seals import SealKeys
from fhir_server.backup.target import FolderTarget
from fhir_server.storage.master_keys import master_keys
from fhir_server.storage.port import Draft
from fhir_server.storage.sqlite.store import SqliteStore
from tests.composed_world import whole
from tests.stores import MASTER, Clock, put, version

HOUR = 3600
PLAN = Plan(timedelta(hours=1), timedelta(days=1), Retention(least=2, days=1))


class Ward:
    """A store, a folder for backups, a clock; `noted` are the backups in the audit trail."""

    def __init__(self, folder: Path, plan: Plan = PLAN) -> None:
        self.clock = Clock()
        self.store = SqliteStore.open(folder / "store.sqlite", self.clock)
        self.folder = folder / "backups"
        self.registry = CollectorRegistry()
        self.noted: list[str] = []
        self.plan = plan
        self.schedule = self.another()

    def another(self, registry: CollectorRegistry | None = None) -> Schedule:
        async def note(manifest: Manifest) -> None:
            self.noted.append(manifest.backup)

        return Schedule(
            Source(self.store, lambda: (), "http://localhost", self.clock),
            FolderTarget(self.folder),
            SealKeys(master_keys([MASTER])),
            self.plan,
            BackupMetrics(registry or self.registry, self.plan.every),
            note,
        )

    def metric(self, name: str) -> float | None:
        return self.registry.get_sample_value(f"medsage_backup_{name}")

    async def kinds(self) -> list[str]:
        found = await catalogue(self.schedule.target, self.schedule.keys)
        return ["full" if each.manifest.parent is None else "more" for each in found.by_time()]


@pytest.fixture
async def ward(tmp_path: Path) -> AsyncIterator[Ward]:
    made = Ward(tmp_path)
    await put(made.store, Draft(version("Patient/1")))
    yield made
    await made.store.close()


async def test_one_is_made_each_interval_and_a_full_one_each_day(ward: Ward) -> None:
    assert await ward.schedule.step() == HOUR
    assert await ward.schedule.step() == HOUR
    ward.clock.advance(HOUR - 60)
    assert await ward.schedule.step() == 60
    ward.clock.advance(60)
    assert await ward.schedule.step() == HOUR
    assert await ward.kinds() == ["full", "more"]
    ward.clock.advance(24 * HOUR)
    await ward.schedule.step()
    assert await ward.kinds() == ["full", "more", "full"]
    assert len(ward.noted) == 3


async def test_older_ones_go_when_nothing_that_is_kept_goes_on_from_them(ward: Ward) -> None:
    for _ in range(5):
        await ward.schedule.step()
        ward.clock.advance(25 * HOUR)
    assert await ward.kinds() == ["full", "full"]


async def test_the_metrics_tell_age_size_time_and_interval(ward: Ward) -> None:
    await ward.schedule.step()
    assert ward.metric("last_success_timestamp_seconds") == ward.clock().timestamp()
    found = await catalogue(ward.schedule.target, ward.schedule.keys)
    assert ward.metric("last_bytes") == found.newest().manifest.bytes > 0
    assert ward.metric("last_seconds") is not None
    assert ward.metric("interval_seconds") == HOUR
    # A worker that starts later knows of it too.
    registry = CollectorRegistry()
    ward.clock.advance(60)
    await ward.another(registry).step()
    name = "medsage_backup_last_success_timestamp_seconds"
    assert registry.get_sample_value(name) == ward.clock().timestamp() - 60


async def test_one_that_somebody_else_makes_meanwhile_is_known_soon(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedules, "LOOK_SECONDS", 0.01)
    running = asyncio.create_task(ward.schedule.run())
    while not ward.noted:
        await asyncio.sleep(0.01)
    ward.clock.advance(HOUR / 2)
    await create(ward.schedule.source, ward.schedule.target, ward.schedule.keys)
    async with asyncio.timeout(10):
        while ward.metric("last_success_timestamp_seconds") != ward.clock().timestamp():
            await asyncio.sleep(0.01)
    running.cancel()
    assert len(ward.noted) == 1


async def test_one_whose_parent_is_gone_is_no_good_one_and_another_is_made(ward: Ward) -> None:
    await ward.schedule.step()
    ward.clock.advance(HOUR)
    await ward.schedule.step()
    (full,) = (each for each in ward.folder.iterdir() if each.name.startswith(ward.noted[0]))
    shutil.rmtree(full)
    ward.clock.advance(60)
    assert await ward.schedule.step() == HOUR
    assert await ward.kinds() == ["more", "full"]


async def test_one_that_has_lost_a_part_is_no_good_one_either(ward: Ward) -> None:
    await ward.schedule.step()
    next(ward.folder.glob("*/part-000000")).unlink()
    ward.clock.advance(60)
    assert await ward.schedule.step() == HOUR
    assert sorted(await ward.kinds()) == ["full", "full"]


async def test_where_the_clock_was_put_back_the_newest_is_the_one_made_last(ward: Ward) -> None:
    await ward.schedule.step()
    first = ward.clock()
    ward.clock.advance(-5 * HOUR)
    await put(ward.store, Draft(version("Patient/2")))
    assert await ward.schedule.step() == HOUR, "not in six hours"
    assert ward.metric("last_success_timestamp_seconds") == ward.clock().timestamp()
    ward.clock.advance(HOUR)
    await put(ward.store, Draft(version("Patient/3")))
    await ward.schedule.step()
    found = await catalogue(ward.schedule.target, ward.schedule.keys)
    assert [each.manifest.cut.place for each in found.by_time()] == [1, 2, 3]
    assert found.chain(found.newest()) == found.by_time()
    earlier = Moment(time=first - timedelta(hours=4, minutes=30))
    assert chosen(found, None, earlier).manifest.cut.place == 3
    assert to_go(found, Retention(least=1, days=0), ward.clock()) == []


async def test_a_backup_that_is_cancelled_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is being written at that moment does not come after it was taken away."""
    target, writing, go_on = FolderTarget(tmp_path), threading.Event(), threading.Event()

    def slow(handle: int) -> None:
        writing.set()
        go_on.wait(10)

    async def made() -> None:
        try:
            await target.put("a/part-000000", b"x")
        finally:
            await target.delete("a/part-000000")

    monkeypatch.setattr("os.fsync", slow)
    making = asyncio.create_task(made())
    await asyncio.to_thread(writing.wait, 10)
    making.cancel()
    asyncio.get_running_loop().call_later(0.05, go_on.set)
    with pytest.raises(asyncio.CancelledError):
        await making
    await asyncio.sleep(0.1)
    assert await target.names() == []


async def test_of_two_workers_one_makes_it(ward: Ward) -> None:
    other = ward.another(CollectorRegistry())
    await asyncio.gather(ward.schedule.step(), other.step())
    assert await ward.kinds() == ["full"]


async def test_a_failure_is_counted_and_tried_again(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedules, "RETRY_SECONDS", 0.01)
    ward.folder.write_text("a file stands in the way")
    running = asyncio.create_task(ward.schedule.run())
    while not ward.metric("failures_total"):
        await asyncio.sleep(0.01)
    ward.folder.unlink()
    while not ward.noted:
        await asyncio.sleep(0.01)
    running.cancel()
    assert await ward.kinds() == ["full"]


async def test_a_start_without_the_key_of_its_backups_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedStart, match="MEDSAGE_BACKUP_KEY_FILE"):
        async with whole(tmp_path, backup_target=str(tmp_path / "backups")):
            pass
