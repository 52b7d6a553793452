"""`medsage bench proof-availability`: the production shape under load, with every fault in turn.

Options: `rate` requests a second (60), `seconds` of each fault's phase (60), `sessions` of the
app (500), `clinicians` (100), each with a case in each phase, `faults` (all of `FAULTS`,
comma-separated), `seed` (1), `logs`, a folder that the parts' logs are copied to.

nginx with TLS, two servers, two workers, the app, Redis and MongoDB (its stand-in) run as
processes; what dies is started again, as whoever supervises does. With `full-disk` among the
faults all of them lie on a small disk of their own. `passed` is the verdict: nothing acknowledged
is lost or doubled, every Task that was accepted ended once, with one report, every session is
there, the trail is complete, and 99.9 % of the requests were answered well, with one retry of
those that may be sent twice.
"""

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from bench.kill.checks import Findings, check_results, settled, stored_on
from bench.kill.trail import check_trail
from bench.running import free_port
from bench.shape.arrivals import Arrivals, rounds
from bench.shape.cases import Cases
from bench.shape.checks import (
    check_availability,
    check_tasks,
    check_writes,
    lost_sessions,
    seen,
)
from bench.shape.disk import Disk, mounted
from bench.shape.ending import orderly
from bench.shape.faults import FAULTS, Site, keep_up, not_ready
from bench.shape.staging import Cast, Set, cast_of, staged
from bench.shape.wire import Door
from deploy.processes.part import NotReady
from deploy.processes.plan import ROOT
from deploy.processes.programs import environment
from deploy.processes.shape import Shape, running_shape

SETTINGS = {"MEDSAGE_TASK_LEASE_SECONDS": "20"}
"""A worker's Tasks are taken over after so long, in place of a minute, so that phases are short."""
OPTIONS = {"rate", "seconds", "sessions", "clinicians", "faults", "seed", "logs"}
DISK = "full-disk"
_DISK_MEGABYTES = 16_384
_END_SECONDS = 600.0


@dataclass(frozen=True)
class Plan:
    """What is to be run."""

    rate: float
    seconds: float
    cast: Cast
    faults: Sequence[str]
    logs: Path | None = None


def run(options: Mapping[str, str]) -> dict[str, Any]:
    """The proof as the options ask for it; ValueError for options that are unknown or unusable,
    and for faults that this machine can't make."""
    plan = _plan(options)
    with (
        orderly(),
        tempfile.TemporaryDirectory(prefix="medsage-availability-") as name,
        _disk(plan, Path(name)) as (folder, disk),
    ):
        shape = Shape.plan(
            folder / "shape", mongodb=None, redis=None, port=free_port(), settings=SETTINGS
        )
        try:
            with running_shape(shape):
                return uvloop.run(proved(plan, shape, disk))
        finally:
            if plan.logs is not None:
                shutil.copytree(shape.written.folder / "logs", plan.logs, dirs_exist_ok=True)


def _plan(options: Mapping[str, str]) -> Plan:
    if unknown := {*options} - OPTIONS:
        raise ValueError(f"not an option of this proof: {', '.join(sorted(unknown))}")
    faults = options.get("faults", ",".join(FAULTS)).split(",")
    if strange := [each for each in faults if each not in FAULTS]:
        raise ValueError(f"faults are of {', '.join(FAULTS)}, not {', '.join(strange)}")
    if missing := [text for each in faults if (text := FAULTS[each].missing()) is not None]:
        raise ValueError("; ".join(missing))
    return Plan(
        float(options.get("rate", "60")),
        float(options.get("seconds", "60")),
        cast_of(options),
        faults,
        Path(options["logs"]) if "logs" in options else None,
    )


@contextmanager
def _disk(plan: Plan, folder: Path) -> Iterator[tuple[Path, Disk | None]]:
    """The folder of the shape, on a disk of its own when that is to be full."""
    if DISK not in plan.faults:
        yield folder, None
        return
    with mounted(folder / "image", folder / "disk", _DISK_MEGABYTES) as disk:
        yield disk.folder, disk


async def proved(plan: Plan, shape: Shape, disk: Disk | None) -> dict[str, Any]:
    """Every fault of the plan on the running shape, then the checks; the shape is stopped but
    for its store when they are done."""
    began, found = time.monotonic(), Findings()
    own = environment(shape.written, shape.written.slot("server-1"), ROOT)
    supervisor = asyncio.create_task(keep_up(shape))
    async with staged(Door(shape.base_url, shape.ca_file), own, plan.cast) as set_:
        _say(f"{set_.sign_ins['sessions']} sessions are open")
        site = Site(shape, disk, plan.seconds / 3)
        cases = await _stormed(plan, site, set_, found)
        await settled(set_.fhir, _END_SECONDS, 1.0)
        await _checked(set_, found)
    supervisor.cancel()
    await asyncio.to_thread(_stop_roles, shape)
    await check_trail(own, shape.base_url, set_.stage.ledger.versions, found)
    return {
        "proof": "availability",
        "rate_per_second": plan.rate,
        "seconds_of_a_phase": plan.seconds,
        "sessions": set_.sign_ins,
        "faults_made": list(plan.faults),
        "seconds": round(time.monotonic() - began, 1),
        "classes": set_.stage.asking.tallies.by_class(),
        "cases": cases.figures(),
    } | found.as_json()


async def _stormed(plan: Plan, site: Site, set_: Set, found: Findings) -> Cases:
    """The load from the first to the last phase, with a fault in each."""
    stage, cases = set_.stage, Cases(set_.stage.asking, set_.stage.ledger)
    arrivals = Arrivals(stage, plan.rate)
    async with asyncio.TaskGroup() as group:
        load = group.create_task(arrivals.run())
        for number, name in enumerate(plan.faults):
            stage.asking.tallies.phase = name
            _say(f"{name} …")
            clinicians, end = set_.submitting, time.monotonic() + plan.seconds
            first = number * len(clinicians)
            group.create_task(rounds(cases, clinicians, plan.seconds * 0.8, first))
            await asyncio.sleep(plan.seconds / 6)
            try:
                await FAULTS[name].does(site)
            except NotReady as problem:
                found.fault("parts that did not get ready", f"{name}: {problem}")
            await asyncio.sleep(max(0.0, end - time.monotonic()))
            if missing := await not_ready(site.shape):
                found.fault("parts that did not get ready", f"{name}: {', '.join(missing)}")
            if lost := await lost_sessions(stage.browsers):
                found.fault("lost sessions", f"{name}: {dict(lost)}")
            _say(f"{name}: {stage.asking.tallies.availability(name)}")
            for kind, figures in stage.asking.tallies.failures(name).items():
                _say(f"  {kind}: {figures}")
        stage.asking.tallies.phase = "afterwards"
        arrivals.stop()
        await load
    return cases


async def _checked(set_: Set, found: Findings) -> None:
    stage = set_.stage
    check_writes(stage.ledger, await seen(set_.fhir, stage.ledger), found)
    stored = await stored_on(set_.fhir)
    check_tasks(stage.ledger, stored, found)
    check_results(stored, found)
    check_availability(stage.asking.tallies, found)


def _stop_roles(shape: Shape) -> None:
    """Everything but the store ends, so that nobody writes while the trail is read."""
    for part in reversed(shape.parts.values()):
        if part.role != "mongodb":
            part.stop()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
