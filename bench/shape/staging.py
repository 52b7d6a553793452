"""Setting the stage: people enrolled, records written, tokens fetched, browsers signed in."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Any

import httpx

from bench.client import percentile
from bench.shape import people
from bench.shape.asking import Asking
from bench.shape.classes import APART_SECONDS, Clinic, Stage, keep_tokens
from bench.shape.ledger import Ledger, patient_id
from bench.shape.tally import Tallies
from bench.shape.visits import Browser
from bench.shape.wire import Caller, Door
from models.fhir_client import FhirClient

_SIGN_INS_AT_ONCE = 8
_LINES = 20


@dataclass(frozen=True)
class Cast:
    """How many there are of whom: sessions are spread over the clinicians."""

    sessions: int = 500
    clinicians: int = 100
    seed: int = 1


def cast_of(options: Mapping[str, str]) -> Cast:
    """The cast that the options of a benchmark ask for."""
    return Cast(
        int(options.get("sessions", "500")),
        int(options.get("clinicians", "100")),
        int(options.get("seed", "1")),
    )


@dataclass(frozen=True)
class Set:
    """The stage, the service as a client that asks about what was written, and how the browsers
    signed in."""

    stage: Stage
    fhir: FhirClient
    sign_ins: Mapping[str, Any]

    @property
    def submitting(self) -> Sequence[Browser]:
        """One browser of each clinician."""
        return list({each.user: each for each in self.stage.browsers}.values())


@asynccontextmanager
async def staged(door: Door, environment: Mapping[str, str], cast: Cast) -> AsyncIterator[Set]:
    """A stage on the service behind the door, whose store the settings in `environment` name."""
    asyncio.get_running_loop().set_exception_handler(_told)
    key = await people.enrol(environment, cast.clinicians)
    verify: Any = door.tls or False
    async with httpx.AsyncClient(verify=verify, trust_env=False, timeout=60) as http:
        fhir = people.fhir(http, door, key)
        await people.fill(fhir, cast.clinicians)
        clinics = [
            Clinic(Caller(door, number, _LINES), people.tokens(http, door, key, number))
            for number in range(people.CLINICS)
        ]
        browsers = [
            Browser(
                Caller(door, people.CLINICS + number, 2), people.clinician(number % cast.clinicians)
            )
            for number in range(cast.sessions)
        ]
        for clinic in clinics:
            await clinic.renew()
            await asyncio.sleep(APART_SECONDS)
        renewal = asyncio.create_task(keep_tokens(clinics))
        sign_ins = await _signed_in(browsers)
        stage = Stage(
            Asking(Tallies()), Ledger(), clinics, browsers, count(), Random(cast.seed), deque()
        )
        try:
            yield Set(stage, fhir, sign_ins)
        finally:
            renewal.cancel()
            for caller in (*(c.caller for c in clinics), *(b.caller for b in browsers)):
                caller.close()


def _told(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """uvloop tells of each TLS connection that is given up while it is being written to: those
    are counted as requests without an answer already."""
    if context.get("message") != "Fatal error on SSL protocol":
        loop.default_exception_handler(context)


async def _signed_in(browsers: Sequence[Browser]) -> dict[str, Any]:
    """Sign all in, a few at once, and open a chart in each."""
    slots, seconds, began = asyncio.Semaphore(_SIGN_INS_AT_ONCE), list[float](), time.monotonic()

    async def one(number: int, browser: Browser) -> None:
        async with slots:
            start = time.monotonic()
            await browser.sign_in()
            seconds.append(time.monotonic() - start)
            await browser.open_chart(patient_id(number % people.PATIENTS))

    async with asyncio.TaskGroup() as group:
        for number, browser in enumerate(browsers):
            group.create_task(one(number, browser))
    ordered = sorted(seconds)
    return {
        "sessions": len(ordered),
        "p50_ms": round(percentile(ordered, 50) * 1000),
        "p95_ms": round(percentile(ordered, 95) * 1000),
        "per_second_with_a_chart_each": round(len(ordered) / (time.monotonic() - began), 1),
    }
