"""`medsage bench proof-kill`: `kill -9` at random points loses nothing and leaves nothing half.

Options: `submissions` (200), `store` (sqlite, mongodb), `roles` (all: one process; split: server
and worker), `kills` (one for each ten submissions), `seed` (1). MongoDB is the replica set of
`MEDSAGE_MONGODB_URI`, or a server started for the run. Two thirds of the kills fall into the
submissions, the rest into the analyses that are left after them. `passed` is the verdict.
"""

import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bench.kill.checks import Findings, check_results, check_writes, settled, stored_on
from bench.kill.clients import Clients
from bench.kill.processes import LEASE_SECONDS, Installation, RoleProcess, installation
from bench.kill.trail import check_trail
from deploy.demo.loading import demo_fhir
from fhir_server.system import new_id

ROLES: Mapping[str, Sequence[str]] = {"all": ("all",), "split": ("server", "worker")}
STORES = ("sqlite", "mongodb")
_END_SECONDS = 600.0
_LONGEST_MOMENT = 1.0
"""A kill comes up to so many seconds after its turn, so that it hits anything that goes on."""


@dataclass(frozen=True)
class Plan:
    """What is to be run."""

    submissions: int = 200
    kills: int = 20
    store: str = "sqlite"
    roles: str = "all"
    seed: int = 1


def run(options: Mapping[str, str]) -> dict[str, Any]:
    """The proof as the options ask for it; ValueError for options that are unknown or unusable."""
    plan = _plan(options)
    with tempfile.TemporaryDirectory(prefix="medsage-kill-") as name, _mongodb(plan, name) as uri:
        return asyncio.run(prove(plan, Path(name) / "service", uri))


def _plan(options: Mapping[str, str]) -> Plan:
    unknown = options.keys() - {"submissions", "kills", "store", "roles", "seed"}
    if unknown:
        raise ValueError(f"no option {', '.join(sorted(unknown))}")
    submissions = int(options.get("submissions", "200"))
    plan = Plan(
        submissions=submissions,
        kills=int(options.get("kills", str(max(submissions // 10, 3)))),
        store=options.get("store", "sqlite"),
        roles=options.get("roles", "all"),
        seed=int(options.get("seed", "1")),
    )
    if plan.store not in STORES or plan.roles not in ROLES:
        raise ValueError(f"store is one of {', '.join(STORES)}; roles one of {', '.join(ROLES)}")
    return plan


@contextmanager
def _mongodb(plan: Plan, folder: str) -> Iterator[str | None]:
    """The URI of the MongoDB to use; None for the embedded store."""
    given = os.environ.get("MEDSAGE_MONGODB_URI")
    if plan.store == "sqlite" or given:
        yield given if plan.store == "mongodb" else None
        return
    from deploy.dev_mongodb import find, running

    with running(find(os.environ), Path(folder) / "mongodb") as (uri, _):
        yield uri


async def prove(plan: Plan, folder: Path, uri: str | None) -> dict[str, Any]:
    """Run the plan with its files in `folder`, on the MongoDB at `uri` if one is given."""
    began = time.monotonic()
    mongodb = None if uri is None else (uri, f"kill_{new_id().replace('-', '')}")
    service = installation(folder, ROLES[plan.roles], mongodb)
    found = Findings()
    async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
        try:
            await _started(service.services)
            clients = await _storm(plan, service, http)
            await settled(demo_fhir(http, service.origin), _END_SECONDS, LEASE_SECONDS / 6)
            stored = await stored_on(demo_fhir(http, service.origin))
            await check_writes(demo_fhir(http, service.origin), clients.sent, stored, found)
            check_results(stored, found)
        finally:
            codes = [each.stop() for each in reversed(service.services) if each.process]
    if any(codes):
        found.fault("processes that did not end in order", codes)
    acknowledged = [version for each in clients.sent for version in each.versions]
    await check_trail(service.store, service.origin, acknowledged, found)
    return _head(plan, service, time.monotonic() - began) | found.as_json()


def _head(plan: Plan, service: Installation, seconds: float) -> dict[str, Any]:
    return {
        "proof": "kill",
        "store": plan.store,
        "roles": plan.roles,
        "seed": plan.seed,
        "kills": {each.role: each.kills for each in service.services},
        "seconds": round(seconds, 1),
    }


async def _started(services: Sequence[RoleProcess]) -> None:
    """One after the other: the worker needs the server's tokens to begin."""
    for each in services:
        each.start()
        await each.ready()


async def _storm(plan: Plan, service: Installation, http: httpx.AsyncClient) -> Clients:
    """The submissions, and the kills at their turns."""
    chance = random.Random(plan.seed)
    clients = Clients(http, service.origin, plan.submissions)
    early = max(plan.kills * 2 // 3, 1)
    turns = sorted(chance.sample(range(plan.submissions), min(early, plan.submissions)))
    async with asyncio.TaskGroup() as group:
        group.create_task(clients.run())
        for turn in turns:
            await clients.reached(turn)
            await _kill(service, chance)
    for _ in range(plan.kills - len(turns)):
        await _kill(service, chance)
    return clients


async def _kill(service: Installation, chance: random.Random) -> None:
    """Kill one process, or all of them, at some moment; start them again."""
    await asyncio.sleep(chance.uniform(0, _LONGEST_MOMENT))
    wanted = chance.choice([*((each,) for each in service.services), tuple(service.services)])
    for each in wanted:
        each.kill()
    for each in wanted:
        each.start()
    for each in wanted:
        await each.ready()
    names = " and ".join(each.role for each in wanted)
    print(f"killed and started again: {names}", file=sys.stderr, flush=True)
