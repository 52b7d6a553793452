"""THE table of faults: what is done to the shape while it is under load."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.shape.disk import Disk
from deploy.processes import reserve
from deploy.processes.part import Part
from deploy.processes.plan import ROOT
from deploy.processes.shape import Shape
from deploy.processes.supervisor import Supervisor

READY_SECONDS = 120.0
_SUPERVISED_SECONDS = 0.5
_CLOCK = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
_JUMP_SECONDS = 120
"""More than the minute of skew that signed times are allowed."""
_PAUSED_SECONDS, _GOES_SECONDS = 0.2, 0.1
_HUNG_SECONDS = 3.0
_GIVEN_UP = b"WT_PANIC"
_GIVES_UP_SECONDS = 1.0
_LOOK_SECONDS = 0.1
_FULL_SECONDS = 8.0


@dataclass(frozen=True)
class Site:
    """The shape, the disk that all of it lies on (None when it is the machine's own), and for
    how many seconds what lasts lasts."""

    shape: Shape
    disk: Disk | None
    seconds: float

    def part(self, name: str) -> Part:
        """The part of this name."""
        return self.shape.parts[name]


async def keep_up(shape: Shape) -> None:
    """Start again what has died and give up the room kept back, as whoever supervises does."""
    supervisor = Supervisor(shape, _tell)
    with reserve.watched(shape.written.folder, _tell):
        while True:
            await asyncio.to_thread(supervisor.look)
            await asyncio.sleep(_SUPERVISED_SECONDS)


def _tell(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)


async def not_ready(shape: Shape) -> list[str]:
    """Wait until every part is ready; the names of those that are not in time."""
    end = asyncio.get_running_loop().time() + READY_SECONDS
    while missing := [p.name for p in shape.parts.values() if await asyncio.to_thread(p.problem)]:
        if asyncio.get_running_loop().time() > end:
            break
        await asyncio.sleep(_SUPERVISED_SECONDS)
    return missing


def _killed(name: str) -> "Does":
    async def does(site: Site) -> None:
        await asyncio.to_thread(site.part(name).kill)

    return does


async def _restarted(site: Site) -> None:
    await asyncio.to_thread(site.shape.rolling_restart)


async def _full(site: Site) -> None:
    """All parts have the same disk: store, logs, sessions, backups."""
    assert site.disk is not None
    ending = asyncio.create_task(_ended_when_given_up(site.part("mongodb")))
    try:
        await site.disk.fill()
        await asyncio.sleep(_FULL_SECONDS)
        site.disk.empty()
        await asyncio.sleep(_GIVES_UP_SECONDS)
    finally:
        ending.cancel()


async def _ended_when_given_up(mongodb: Part) -> None:
    """MongoDB ends itself when its engine has given up; the stand-in stays and answers nothing but
    errors, and is ended here."""
    read = mongodb.log.stat().st_size
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        with mongodb.log.open("rb") as log:
            log.seek(read)
            written = log.read()
        if _GIVEN_UP in written:
            read += len(written)
            await asyncio.to_thread(mongodb.kill)


async def _slow(site: Site) -> None:
    """The store stands still two thirds of the time, then once for some seconds, as on a disk
    that is overloaded or hangs. It is stopped by signals: a proxy before it would be slow for
    other reasons, as it had to read every message beside the load."""
    mongodb = site.part("mongodb")
    loop = asyncio.get_running_loop()
    end = loop.time() + site.seconds
    while loop.time() < end:
        await _paused(mongodb, _PAUSED_SECONDS)
        await asyncio.sleep(_GOES_SECONDS)
    await _paused(mongodb, _HUNG_SECONDS)


async def _paused(part: Part, seconds: float) -> None:
    pid = part.pid
    if pid is None:
        return
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        os.kill(pid, signal.SIGCONT)


async def _jumped(site: Site) -> None:
    """The clocks of one server and one worker go ahead, then behind, then right again, while the
    processes run."""
    file = site.shape.written.folder / "clock"
    _set_clock(file, 0)
    parts = [site.part("server-2"), site.part("worker-2")]
    faked = {
        "LD_PRELOAD": str(_CLOCK),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_CACHE_DURATION": "1",
    }
    await _replaced(site.shape, parts, faked)
    for ahead in (_JUMP_SECONDS, -_JUMP_SECONDS, 0):
        _set_clock(file, ahead)
        await asyncio.sleep(site.seconds / 3)
    await _replaced(site.shape, parts, {})


def _set_clock(file: Path, ahead: int) -> None:
    draft = file.with_name(".clock")
    draft.write_text(f"{ahead:+d}")
    draft.replace(file)


async def _replaced(shape: Shape, parts: list[Part], environment: Mapping[str, str]) -> None:
    """Other processes in their places, started with these variables."""
    for part in parts:
        os.environ.update(environment)
        try:
            await asyncio.to_thread(part.replace, ROOT, shape.reload_door)
        finally:
            for name in environment:
                del os.environ[name]


Does = Callable[[Site], Awaitable[None]]


@dataclass(frozen=True)
class Fault:
    """`does` makes it, and returns when it is over; `missing` says what this machine lacks for
    it, or None."""

    does: Does
    missing: Callable[[], str | None] = lambda: None


def _no_clock() -> str | None:
    return None if _CLOCK.is_file() else f"no {_CLOCK} (Debian's package faketime)"


FAULTS: Mapping[str, Fault] = {
    "kill-store": Fault(_killed("mongodb")),
    "full-disk": Fault(_full),
    "kill-server": Fault(_killed("server-1")),
    "kill-worker": Fault(_killed("worker-1")),
    "kill-redis": Fault(_killed("redis")),
    "rolling-restart": Fault(_restarted),
    "slow-store": Fault(_slow),
    "clock-jump": Fault(_jumped, _no_clock),
}
"""In this order: what may start the store again comes first. The stand-in for MongoDB reads much of
what it holds with its first answers, and the load makes it hold more with each phase."""
