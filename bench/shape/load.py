"""`medsage bench load`: how much the production shape bears.

Options: `rate` requests a second (1000), `seconds` (60), `sessions` of the app (500), `clinicians`
(100), each with one case, `seed` (1). Requests arrive whether or not those before are answered,
and each counts from the moment when it was due. nginx with TLS, two servers, two workers, the
app, Redis and MongoDB (its stand-in) run as processes on this machine, beside the load.
"""

import asyncio
import os
import platform
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import uvloop

from bench.running import free_port
from bench.shape.arrivals import Arrivals, rounds
from bench.shape.cases import Cases
from bench.shape.staging import Cast, cast_of, staged
from bench.shape.wire import Door
from deploy.processes.plan import ROOT
from deploy.processes.programs import environment
from deploy.processes.shape import Shape, running_shape


def run(options: Mapping[str, str]) -> dict[str, Any]:
    """Percentiles and failures by class; ValueError for options that there are not."""
    if unknown := {*options} - {"rate", "seconds", "sessions", "clinicians", "seed"}:
        raise ValueError(f"not an option of this benchmark: {', '.join(sorted(unknown))}")
    rate, seconds = float(options.get("rate", "1000")), float(options.get("seconds", "60"))
    with tempfile.TemporaryDirectory(prefix="medsage-load-") as name:
        shape = Shape.plan(Path(name) / "shape", mongodb=None, redis=None, port=free_port())
        with running_shape(shape):
            found = uvloop.run(_measured(shape, cast_of(options), rate, seconds))
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}"
    return {"bench": "load", "machine": machine, "rate_per_second": rate, **found}


async def _measured(shape: Shape, cast: Cast, rate: float, seconds: float) -> dict[str, Any]:
    own = environment(shape.written, shape.written.slot("server-1"), ROOT)
    async with staged(Door(shape.base_url, shape.ca_file), own, cast) as set_:
        tallies = set_.stage.asking.tallies
        cases = Cases(set_.stage.asking, set_.stage.ledger)
        arrivals, loop = Arrivals(set_.stage, rate), asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.TaskGroup() as group:
            load = group.create_task(arrivals.run())
            group.create_task(rounds(cases, set_.submitting, seconds * 0.8))
            await asyncio.sleep(seconds)
            in_time = tallies.answered()
            arrivals.stop()
            await load
            answered = loop.time() - began
        return {
            "seconds": seconds,
            "seconds_until_all_were_answered": round(answered, 1),
            "answered_well_per_second": round(in_time / seconds, 1),
            "sign_ins": set_.sign_ins,
            "availability": tallies.availability(),
            "classes": tallies.by_class(),
            "cases": cases.figures(),
        }
